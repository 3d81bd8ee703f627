-- A row of the outbox lives for a moment: compressing it costs more processor time than all its writing, and saves
-- nothing that is kept. (17 % of PostgreSQL's time while a backlog was worked off.)
ALTER TABLE outbox ALTER COLUMN records SET STORAGE EXTERNAL;
