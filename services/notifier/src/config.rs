//! The `[notifier]` section: who is told what, in which words, and how patient webhooks are treated.

use std::path::PathBuf;
use std::time::Duration;

use runtime::ConfigError;
use serde::Deserialize;

use crate::notification::RetryPolicy;
use crate::receivers::Limits;
use crate::rule::{Rule, Rules};
use crate::signature::Secret;
use crate::text::Texts;

/// Settings of the notifier.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifierSettings {
    /// Who is told what. Default: the table of services/notifier/src/rules.toml; given here, it replaces all of it.
    pub rules: Option<Vec<Rule>>,
    /// Directory of the texts, `<templates>/<language>/<template>.txt`. Default: the English ones of deploy/templates,
    /// compiled in.
    pub templates: Option<PathBuf>,
    /// Language of the texts in `templates`. Default en.
    pub language: String,
    /// Where those who run the platform want their messages. Default none: only logged.
    pub operations_webhook: Option<String>,
    /// What webhooks are signed with, each `whsec_` and Base64 of 24 to 64 random bytes; best given by the environment.
    /// All of them sign, so that receivers can change over. Default none: webhooks are not signed, and a receiver cannot
    /// tell them from forgeries.
    pub webhook_secrets: Vec<String>,
    /// How long a webhook may take to answer, in milliseconds. Default 5000. Too short: slow receivers get messages twice
    /// (with one id); too long: a dead one holds a call of the instance for that long.
    pub webhook_timeout_ms: u64,
    /// Pauses before a receiver that failed is called again, in milliseconds, by its failures in a row, and likewise
    /// before a message that failed is sent again; the last one holds for every further failure. Default 1000, 5000, 30000.
    pub webhook_retry_ms: Vec<u64>,
    /// Calls of this process at once to one receiver. Default 4. Too large: a receiver that hangs takes places of others.
    pub webhook_per_receiver: usize,
    /// Calls of this process at once to receivers that failed last time. Default 16; must stay well below
    /// runtime.call_concurrency, or dead receivers take the places of others.
    pub webhook_probes: usize,
}

impl Default for NotifierSettings {
    fn default() -> Self {
        Self {
            rules: None,
            templates: None,
            language: "en".to_owned(),
            operations_webhook: None,
            webhook_secrets: Vec::new(),
            webhook_timeout_ms: 5_000,
            webhook_retry_ms: vec![1_000, 5_000, 30_000],
            webhook_per_receiver: 4,
            webhook_probes: 16,
        }
    }
}

impl NotifierSettings {
    pub fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |field: &str, value: &dyn ToString, problem| {
            Err(ConfigError::invalid(
                format!("notifier.{field}"),
                value.to_string(),
                problem,
            ))
        };
        if !(1..=60_000).contains(&self.webhook_timeout_ms) {
            return invalid(
                "webhook_timeout_ms",
                &self.webhook_timeout_ms,
                "must lie between 1 and 60000",
            );
        }
        if self.webhook_retry_ms.is_empty() {
            return invalid("webhook_retry_ms", &"[]", "must hold at least one pause");
        }
        if let Some(pause) = self
            .webhook_retry_ms
            .iter()
            .find(|pause| !(1..=3_600_000).contains(*pause))
        {
            return invalid("webhook_retry_ms", pause, "must lie between 1 and 3600000");
        }
        for (field, value) in [
            ("webhook_per_receiver", self.webhook_per_receiver),
            ("webhook_probes", self.webhook_probes),
        ] {
            if !(1..=10_000).contains(&value) {
                return invalid(field, &value, "must lie between 1 and 10000");
            }
        }
        self.secrets()?;
        if self.templates.is_none() && self.language != "en" {
            return invalid(
                "language",
                &self.language,
                "needs `templates`: only en is compiled in",
            );
        }
        Ok(())
    }

    pub fn rules(&self) -> Result<Rules, ConfigError> {
        self.rules
            .clone()
            .map_or_else(|| Ok(Rules::standard()), Rules::new)
    }

    pub fn texts(&self, rules: &Rules) -> Result<Texts, ConfigError> {
        match &self.templates {
            Some(directory) => Texts::read(rules, directory, &self.language),
            None => Texts::embedded(rules),
        }
    }

    pub fn webhook_timeout(&self) -> Duration {
        Duration::from_millis(self.webhook_timeout_ms)
    }

    pub fn retries(&self) -> RetryPolicy {
        let pauses = self.webhook_retry_ms.iter().copied();
        RetryPolicy {
            pauses: pauses.map(Duration::from_millis).collect(),
        }
    }

    pub fn limits(&self) -> Limits {
        Limits {
            per_receiver: self.webhook_per_receiver,
            probes: self.webhook_probes,
            pauses: self.retries().pauses,
        }
    }

    /// What webhooks are signed with; an error does not quote it.
    pub fn secrets(&self) -> Result<Vec<Secret>, ConfigError> {
        let parse = |text: &String| {
            Secret::parse(text).ok_or_else(|| {
                let problem = "must be whsec_ and Base64 of 24 to 64 bytes";
                ConfigError::invalid("notifier.webhook_secrets", "(not shown)", problem)
            })
        };
        self.webhook_secrets.iter().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(toml: &str) -> String {
        toml::from_str::<NotifierSettings>(toml)
            .unwrap()
            .validate()
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_defaults_are_valid() {
        let settings = NotifierSettings::default();
        settings.validate().unwrap();
        settings.texts(&settings.rules().unwrap()).unwrap();
    }

    #[test]
    fn a_wrong_value_is_named_with_its_field() {
        assert!(problem("webhook_timeout_ms = 0").contains("notifier.webhook_timeout_ms = 0"));
        assert!(problem("webhook_retry_ms = []").contains("notifier.webhook_retry_ms = []"));
        assert!(problem("webhook_retry_ms = [0]").contains("notifier.webhook_retry_ms = 0"));
        assert!(problem("webhook_probes = 0").contains("notifier.webhook_probes = 0"));
        let secret = problem("webhook_secrets = ['hunter2']");
        assert!(secret.contains("notifier.webhook_secrets") && !secret.contains("hunter2"));
        assert!(problem("language = 'de'").contains("notifier.language = de"));
    }

    #[test]
    fn a_table_in_the_configuration_replaces_the_default_one() {
        let toml = "[[rules]]\nevent = 'OrderDelivered'\nrecipient = 'customer'\ntemplate = 'delivered'\n\
                    channel = 'log'\nttl_s = 60";
        let settings: NotifierSettings = toml::from_str(toml).unwrap();
        assert_eq!(settings.rules().unwrap().iter().count(), 1);
    }
}
