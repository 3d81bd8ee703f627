//! `dlq export`: letters as JSON lines, the form in which they can be corrected and given back to `redrive --edit-file`.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value as Json, json};

use super::Desk;
use super::letter::Letter;
use crate::Outcome;
use crate::avro::hex;

pub(super) async fn print(desk: &mut Desk, letters: Vec<Letter>) -> Result<Outcome> {
    let mut out = std::io::stdout().lock();
    for letter in letters.iter().filter(|letter| letter.is_open()) {
        writeln!(out, "{}", line(desk, letter).await)?;
    }
    Ok(Outcome::Done)
}

/// Everything about a letter: `record` and `value` where it can be decoded, `undecodable` and `value_hex` where not.
pub(super) async fn line(desk: &mut Desk, letter: &Letter) -> Json {
    let stored = &letter.stored;
    let text = |bytes: &Vec<u8>| match std::str::from_utf8(bytes) {
        Ok(text) => Json::from(text),
        Err(_) => json!({"hex": hex(bytes)}),
    };
    let headers: Map<String, Json> = stored
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_ref().map_or(Json::Null, text)))
        .collect();
    let mut line = json!({
        "letter": letter.id().to_string(),
        "died_at": stored.at,
        "reason": letter.reason(),
        "message": letter.message(),
        "replays": letter.replays(),
        "origin": letter.origin().ok(),
        "key": stored.key.as_ref().map(text),
        "headers": headers,
    });
    match desk.schemas.decode(stored.value.as_deref()).await {
        Ok(decoded) => {
            line["record"] = json!(decoded.record);
            line["schema_id"] = json!(decoded.schema_id);
            line["value"] = decoded.view;
        }
        Err(why) => {
            line["undecodable"] = json!(why);
            line["value_hex"] = json!(stored.value.as_ref().map(|value| hex(value)));
        }
    }
    line
}
