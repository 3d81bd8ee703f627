//! The name of a geo: the part of a topic's name that says where.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// `[a-z0-9-]{1,48}`. Cloning costs a reference count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Geo(Arc<str>);

/// The text is not a geo's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("geo {0:?} is not [a-z0-9-]{{1,48}}")]
pub struct InvalidGeo(pub String);

impl Geo {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Geo {
    type Err = InvalidGeo;

    fn from_str(text: &str) -> Result<Self, InvalidGeo> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=48).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Geo(text.into()))
        } else {
            Err(InvalidGeo(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Geo {
    type Error = InvalidGeo;

    fn try_from(text: String) -> Result<Self, InvalidGeo> {
        text.parse()
    }
}

impl From<Geo> for String {
    fn from(geo: Geo) -> String {
        geo.0.as_ref().to_owned()
    }
}

impl fmt::Display for Geo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
