//! Names of topics: `<family>.<kind>.<geo>`, and `<family>.<kind>.dlq.<geo>` for its dead letters.
//!
//! A dead-letter topic is never a [`Topic`]: parsing one fails, so nothing can subscribe to it by mistake.

use std::fmt;
use std::str::FromStr;

use crate::{Geo, Message};

/// A topic of one geo. Where it comes from [`Topic::of`] it exists in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic {
    pub family: String,
    pub kind: String,
    pub geo: Geo,
}

/// The text is not a topic's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("topic {0:?} is not <family>.<kind>.<geo>")]
pub struct InvalidTopic(pub String);

impl Topic {
    /// The topic of a geo on which messages of this type stand.
    pub fn of<M: Message>(geo: &Geo) -> Self {
        Topic {
            family: M::FAMILY.to_owned(),
            kind: M::KIND.to_owned(),
            geo: geo.clone(),
        }
    }

    /// Name of the topic of its dead letters.
    pub fn dead_letters(&self) -> String {
        format!("{}.{}.dlq.{}", self.family, self.kind, self.geo)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.family, self.kind, self.geo)
    }
}

impl FromStr for Topic {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        let invalid = || InvalidTopic(text.to_owned());
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        let mut parts = text.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(family), Some(kind), Some(geo), None) if word(family) && word(kind) => {
                Ok(Topic {
                    family: family.to_owned(),
                    kind: kind.to_owned(),
                    geo: geo.parse().map_err(|_| invalid())?,
                })
            }
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::DriverAssignmentRequest;

    #[test]
    fn a_topic_reads_back_from_its_name() {
        let geo: Geo = "berlin-mitte".parse().unwrap();
        let topic = Topic::of::<DriverAssignmentRequest>(&geo);
        assert_eq!(topic.to_string(), "driver_assignment.requests.berlin-mitte");
        assert_eq!(topic.to_string().parse(), Ok(topic.clone()));
        assert_eq!(
            topic.dead_letters(),
            "driver_assignment.requests.dlq.berlin-mitte"
        );
    }

    #[test]
    fn dead_letter_topics_and_rubbish_are_no_topics() {
        for name in [
            "orders.requests.dlq.berlin-mitte",
            "driver_assignment.geos",
            "orders.requests.Berlin",
            "orders.requests.",
            "orders..x",
            "",
        ] {
            assert_eq!(name.parse::<Topic>(), Err(InvalidTopic(name.to_owned())));
        }
    }
}
