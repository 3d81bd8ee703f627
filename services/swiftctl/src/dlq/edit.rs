//! Corrections: a letter's record as somebody changed it, written again by the schema that the services read.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use contracts::{CONTRACTS, Contract, headers};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::letter::{Letter, LetterId};
use super::{Desk, export};
use crate::avro;
use crate::registry::Registry;

/// A corrected letter, as a line of an edited export.
#[derive(Deserialize)]
struct Correction {
    letter: String,
    /// Namespace and name of a record of the contracts.
    record: String,
    value: Json,
}

/// What a letter goes back with instead of its value.
#[derive(Debug, Clone)]
pub struct Edited {
    pub letter: LetterId,
    pub contract: &'static Contract,
    pub payload: Vec<u8>,
}

/// Reads corrections from a file, `-` being the standard input: JSON, one after the other.
pub async fn from_file(registry: &Registry, file: &Path) -> Result<Vec<Edited>> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        let read = std::fs::read_to_string(file);
        text = read.with_context(|| file.display().to_string())?;
    }
    parse(registry, &text).await
}

/// Opens the operator's editor on a letter.
pub async fn by_hand(desk: &mut Desk, letter: &Letter) -> Result<Vec<Edited>> {
    let line = export::line(desk, letter).await;
    let record = line["record"].as_str().map(str::to_owned);
    let named = || letter.stored.header(headers::EVENT_TYPE);
    let guessed = || {
        CONTRACTS
            .iter()
            .find(|contract| Some(contract.name) == named())
    };
    let record = record.or_else(|| Some(guessed()?.full_name.to_owned()));
    let shown = json!({"letter": line["letter"], "record": record, "value": line["value"]});
    let shown = format!("{shown:#}\n");
    let name = format!(
        "swiftctl-{}-{}.json",
        std::process::id(),
        letter.stored.offset
    );
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, &shown)?;
    let edited = edit(&file);
    let text = std::fs::read_to_string(&file);
    // A correction that cannot be used is left for another attempt with --edit-file.
    let kept = || format!("your correction is in {}", file.display());
    edited.with_context(kept)?;
    let text = text.with_context(kept)?;
    ensure!(text != shown, "nothing was changed");
    let edits = parse(&desk.registry, &text).await.with_context(kept)?;
    std::fs::remove_file(&file)?;
    Ok(edits)
}

fn edit(file: &Path) -> Result<()> {
    let named = ["VISUAL", "EDITOR"].map(std::env::var);
    let editor = named.into_iter().find_map(Result::ok);
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    // Through a shell, since an editor may be named with arguments.
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(file);
    let status = command.status().with_context(|| editor.clone())?;
    ensure!(status.success(), "{editor} ended with {status}");
    Ok(())
}

async fn parse(registry: &Registry, text: &str) -> Result<Vec<Edited>> {
    let mut edits = Vec::new();
    for correction in serde_json::Deserializer::from_str(text).into_iter::<Correction>() {
        let correction = correction.context("a correction needs letter, record and value")?;
        let letter = correction.letter.clone();
        edits.push(encode(registry, correction).await.context(letter)?);
    }
    if edits.is_empty() {
        bail!("no corrections");
    }
    Ok(edits)
}

async fn encode(registry: &Registry, correction: Correction) -> Result<Edited> {
    let record = &correction.record;
    let contract = CONTRACTS
        .iter()
        .find(|contract| contract.full_name == record);
    let contract = contract.with_context(|| format!("{record} is no record of the contracts"))?;
    let id = registry.id(contract).await?;
    let id =
        id.with_context(|| format!("{record} is not registered: `swiftctl schemas register`"))?;
    let payload = avro::encode(contract.schema, u32::try_from(id)?, &correction.value)?;
    let letter = correction.letter.parse().map_err(anyhow::Error::msg)?;
    Ok(Edited {
        letter,
        contract,
        payload,
    })
}
