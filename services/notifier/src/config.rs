//! The `[notifier]` section: who is told what, in which words, and how patient webhooks are treated.

use std::path::PathBuf;
use std::time::Duration;

use runtime::ConfigError;
use serde::Deserialize;

use crate::notification::RetryPolicy;
use crate::rule::{Rule, Rules};
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
    /// How long a webhook may take to answer, in milliseconds. Default 5000. Too short: slow receivers get messages twice
    /// (with one id); too long: a dead one holds a call of the instance for that long.
    pub webhook_timeout_ms: u64,
    /// Pauses before a webhook that failed is called again, in milliseconds; the last one holds for every further try,
    /// until the message is not worth sending any more. Default 1000, 5000, 30000.
    pub webhook_retry_ms: Vec<u64>,
}

impl Default for NotifierSettings {
    fn default() -> Self {
        Self {
            rules: None,
            templates: None,
            language: "en".to_owned(),
            webhook_timeout_ms: 5_000,
            webhook_retry_ms: vec![1_000, 5_000, 30_000],
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
        RetryPolicy {
            pauses: self
                .webhook_retry_ms
                .iter()
                .copied()
                .map(Duration::from_millis)
                .collect(),
        }
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
