//! The cycle: Kafka to PostgreSQL to Kafka, each message once.
