//! Texts: templates in files, one directory per language, checked before the first message is sent.
//!
//! Those of deploy/templates are compiled in; a directory given in the configuration replaces them without a build. A
//! template is MiniJinja (the syntax of Jinja 2): `{{ order }}`, `{% if refund %}`; it may use the names of
//! [`Words::NAMES`] and no others. What an event does not say is left empty: better a text with a gap than none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use minijinja::Environment;
use minijinja::value::Serde;
use runtime::ConfigError;
use thiserror::Error;

use crate::occurrence::Words;
use crate::rule::Rules;

const EMBEDDED: [(&str, &str); 12] = [
    (
        "driver_on_the_way",
        include_str!("../../../deploy/templates/en/driver_on_the_way.txt"),
    ),
    (
        "new_assignment",
        include_str!("../../../deploy/templates/en/new_assignment.txt"),
    ),
    (
        "new_order",
        include_str!("../../../deploy/templates/en/new_order.txt"),
    ),
    (
        "picked_up",
        include_str!("../../../deploy/templates/en/picked_up.txt"),
    ),
    (
        "delivered",
        include_str!("../../../deploy/templates/en/delivered.txt"),
    ),
    (
        "rejected",
        include_str!("../../../deploy/templates/en/rejected.txt"),
    ),
    (
        "payment_failed",
        include_str!("../../../deploy/templates/en/payment_failed.txt"),
    ),
    (
        "cancelled",
        include_str!("../../../deploy/templates/en/cancelled.txt"),
    ),
    (
        "order_withdrawn",
        include_str!("../../../deploy/templates/en/order_withdrawn.txt"),
    ),
    (
        "cancel_refused",
        include_str!("../../../deploy/templates/en/cancel_refused.txt"),
    ),
    (
        "driver_missing",
        include_str!("../../../deploy/templates/en/driver_missing.txt"),
    ),
    (
        "undeliverable",
        include_str!("../../../deploy/templates/en/undeliverable.txt"),
    ),
];

/// A text could not be made. The templates were checked at start, so this is a mistake in the program.
#[derive(Debug, Error)]
#[error("template {template}")]
pub struct TextError {
    template: String,
    #[source]
    source: minijinja::Error,
}

/// The texts of the rules, in one language.
pub struct Texts {
    environment: Environment<'static>,
}

impl Texts {
    /// The compiled-in English ones.
    pub fn embedded(rules: &Rules) -> Result<Self, ConfigError> {
        let find = |name: &str| {
            EMBEDDED
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, text)| (*text).to_owned())
        };
        Self::of(rules, |name| {
            find(name).ok_or_else(|| "is not one of those compiled in".to_owned())
        })
    }

    /// Those of `<directory>/<language>/`.
    pub fn read(rules: &Rules, directory: &Path, language: &str) -> Result<Self, ConfigError> {
        Self::of(rules, |name| {
            let path = directory.join(language).join(format!("{name}.txt"));
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        })
    }

    fn of(
        rules: &Rules,
        text: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut environment = Environment::new();
        for name in rules
            .iter()
            .map(|rule| rule.template.as_str())
            .collect::<BTreeSet<_>>()
        {
            let invalid =
                |problem: String| ConfigError::invalid("notifier.rules.template", name, problem);
            let text = text(name).map_err(invalid)?.trim_end().to_owned();
            environment
                .add_template_owned(name.to_owned(), text)
                .map_err(|error| invalid(error.to_string()))?;
            let template = environment
                .get_template(name)
                .map_err(|error| invalid(error.to_string()))?;
            let unknown = template
                .undeclared_variables(false)
                .into_iter()
                .find(|it| !Words::NAMES.contains(&it.as_str()));
            if let Some(unknown) = unknown {
                return Err(invalid(format!("uses the unknown name {unknown}")));
            }
            template
                .render(Serde(Words::default()))
                .map_err(|error| invalid(error.to_string()))?;
        }
        Ok(Self { environment })
    }

    pub fn render(&self, template: &str, words: &Words) -> Result<String, TextError> {
        let rendered = self
            .environment
            .get_template(template)
            .and_then(|template| template.render(Serde(words)));
        rendered.map_err(|source| TextError {
            template: template.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rule;

    fn words() -> Words {
        Words {
            order: "o-1".into(),
            refund: Some("12.50 EUR".into()),
            ..Words::default()
        }
    }

    #[test]
    fn the_files_are_those_compiled_in() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/templates");
        let rules = Rules::standard();
        let (read, embedded) = (
            Texts::read(&rules, &directory, "en").unwrap(),
            Texts::embedded(&rules).unwrap(),
        );
        for rule in rules.iter() {
            let text = embedded.render(&rule.template, &words()).unwrap();
            assert_eq!(text, read.render(&rule.template, &words()).unwrap());
            assert!(text.contains("o-1"), "{}: {text}", rule.template);
        }
        let files = fs::read_dir(directory.join("en")).unwrap().count();
        assert_eq!(files, EMBEDDED.len(), "every file is compiled in");
    }

    #[test]
    fn what_an_event_does_not_say_is_left_out() {
        let texts = Texts::embedded(&Rules::standard()).unwrap();
        assert_eq!(
            texts.render("cancelled", &words()).unwrap(),
            "Your order o-1 has been cancelled. You get 12.50 EUR back."
        );
        let uncharged = Words {
            refund: None,
            ..words()
        };
        assert_eq!(
            texts.render("cancelled", &uncharged).unwrap(),
            "Your order o-1 has been cancelled."
        );
    }

    #[test]
    fn a_text_says_who_or_what_ended_an_order() {
        let texts = Texts::embedded(&Rules::standard()).unwrap();
        let text = |template, by: &str, reason: &str| {
            let words = Words {
                order: "o-1".into(),
                by: Some(by.into()),
                reason: Some(reason.into()),
                ..Words::default()
            };
            texts.render(template, &words).unwrap()
        };
        assert_eq!(
            text("cancelled", "system", "too late"),
            "Your order o-1 has been cancelled: too late. Should the money be taken all the same, you get it back."
        );
        assert_eq!(
            text("cancelled", "restaurant", "no pho"),
            "Your order o-1 has been cancelled by the restaurant."
        );
        assert_eq!(
            text("cancelled", "customer", "changed my mind"),
            "Your order o-1 has been cancelled."
        );
        assert!(text("undeliverable", "", "abandoned").contains("got lost"));
        assert!(text("undeliverable", "", "expired").contains("no driver"));
        assert!(text("cancel_refused", "", "already_picked_up").contains("on its way"));
        assert!(text("cancel_refused", "", "already_delivered").contains("delivered"));
        assert!(text("driver_missing", "", "went_offline").contains("offline"));
    }

    #[test]
    fn a_template_that_is_missing_or_uses_unknown_names_is_named_at_start() {
        let rule = Rule {
            template: "poem".into(),
            ..Rules::standard().iter().next().unwrap().clone()
        };
        let rules = Rules::new(vec![rule]).unwrap();
        let error = |text: Result<String, String>| {
            Texts::of(&rules, |_| text.clone())
                .err()
                .unwrap()
                .to_string()
        };
        assert!(
            error(Err("no such file".into()))
                .contains("notifier.rules.template = poem: no such file")
        );
        assert!(error(Ok("{{ weather }}".into())).contains("unknown name weather"));
        assert!(error(Ok("{% if %}".into())).contains("poem"));
    }
}
