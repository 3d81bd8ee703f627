//! `dlq show`: one letter whole.

use anyhow::Result;
use serde_json::{Value as Json, json};

use super::letter::LetterId;
use super::{Desk, Filter, export};
use crate::Outcome;
use crate::output::{Format, line};

pub(super) async fn print(desk: &mut Desk, id: &LetterId, format: Format) -> Result<Outcome> {
    let found = desk.letters(&Filter::of([id.clone()])).await?;
    let Some(letter) = found.first() else {
        anyhow::bail!("{id} is no dead letter, or its retention has passed");
    };
    let mut whole = export::line(desk, letter).await;
    whole["state"] = json!(letter.state());
    whole["settlement"] = json!(letter.settlement);
    match format {
        Format::Json => line(&serde_json::to_string_pretty(&whole)?)?,
        Format::Table => print_for_people(&whole)?,
    }
    Ok(Outcome::Done)
}

fn print_for_people(letter: &Json) -> Result<()> {
    let text = |value: &Json| match value {
        Json::String(text) => text.clone(),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    };
    for (name, value) in letter.as_object().into_iter().flatten() {
        match value {
            Json::Object(fields) if name != "value" => {
                line(name)?;
                for (field, value) in fields {
                    line(&format!("  {field:<28} {}", text(value)))?;
                }
            }
            Json::Object(_) => line(&format!("{name}\n{value:#}"))?,
            value => line(&format!("{name:<30} {}", text(value)))?,
        }
    }
    Ok(())
}
