//! The schema registry as an operator needs it: what is registered, under which rule, and adding to it. Never deletes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use contracts::Contract;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

/// The rule that every subject has: any version reads any other.
pub const COMPATIBILITY: &str = "FULL_TRANSITIVE";

/// Time that one request may take.
const TIMEOUT: Duration = Duration::from_secs(20);

pub struct Registry {
    url: String,
    client: Client,
}

impl Registry {
    pub fn new(url: &str) -> Result<Self> {
        let client = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Registry { url, client })
    }

    /// The id under which exactly this schema is registered.
    pub async fn id(&self, contract: &Contract) -> Result<Option<u64>> {
        let path = format!("/subjects/{}", contract.full_name);
        let found = self
            .call(Method::POST, &path, Some(schema_body(contract)))
            .await?;
        Ok(found.and_then(|answer| answer["id"].as_u64()))
    }

    /// Every version of the record that is registered, by the registry's number.
    pub async fn versions(&self, contract: &Contract) -> Result<Vec<(u64, Value)>> {
        let path = format!("/subjects/{}/versions", contract.full_name);
        let Some(numbers) = self.call(Method::GET, &path, None).await? else {
            return Ok(Vec::new());
        };
        let mut versions = Vec::new();
        for number in numbers
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
        {
            let path = format!("{path}/{number}");
            let version = self.call(Method::GET, &path, None).await?;
            let version = version.with_context(|| format!("{path} has vanished"))?;
            let schema = version["schema"]
                .as_str()
                .context("a version without schema")?;
            versions.push((number, serde_json::from_str(schema)?));
        }
        Ok(versions)
    }

    /// The schema of an id, as it was registered.
    pub async fn schema(&self, id: u32) -> Result<Option<String>> {
        let found = self
            .call(Method::GET, &format!("/schemas/ids/{id}"), None)
            .await?;
        Ok(found.and_then(|answer| answer["schema"].as_str().map(str::to_owned)))
    }

    /// The subject's own rule, if it has one.
    pub async fn compatibility(&self, contract: &Contract) -> Result<Option<String>> {
        let path = format!("/config/{}", contract.full_name);
        let config = self.call(Method::GET, &path, None).await?;
        Ok(config.and_then(|c| c["compatibilityLevel"].as_str().map(str::to_owned)))
    }

    pub async fn set_compatibility(&self, contract: &Contract) -> Result<()> {
        let path = format!("/config/{}", contract.full_name);
        let body = json!({"compatibility": COMPATIBILITY});
        self.call(Method::PUT, &path, Some(body))
            .await?
            .with_context(|| format!("{path} was not found"))?;
        Ok(())
    }

    pub async fn register(&self, contract: &Contract) -> Result<u64> {
        let path = format!("/subjects/{}/versions", contract.full_name);
        let answer = self
            .call(Method::POST, &path, Some(schema_body(contract)))
            .await?;
        answer
            .and_then(|a| a["id"].as_u64())
            .with_context(|| format!("{path} gave no id"))
    }

    /// `None` when the registry says that it does not have it.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Option<Value>> {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request
            .send()
            .await
            .with_context(|| format!("registry {}", self.url))?;
        read(answer)
            .await
            .with_context(|| format!("registry {}{path}", self.url))
    }
}

fn schema_body(contract: &Contract) -> Value {
    json!({"schema": contract.schema, "schemaType": "AVRO"})
}

async fn read(answer: Response) -> Result<Option<Value>> {
    let status = answer.status();
    let text = answer.text().await?;
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(Some(body));
    }
    // Any server answers 404 to a wrong path; only a registry adds its own code.
    let code = body["error_code"].as_u64().unwrap_or(0);
    if status == StatusCode::NOT_FOUND && (40_401..=40_499).contains(&code) {
        return Ok(None);
    }
    bail!("{status}: {}", text.trim())
}
