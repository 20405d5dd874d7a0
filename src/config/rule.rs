use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::ByteSize;
use super::text::{self, TextOrTable};
use crate::lens::{PolicyRule, VALUE_BYTES_MAX, Values};

/// A rule of the value policy as it is written: `GLOB=full|hash|none|unmasked`, or a table of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec(pub PolicyRule);

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error(
        "{0:?} is no value rule: write GLOB=full, GLOB=unmasked, GLOB=hash or GLOB=none, for example '**/users/**=hash'"
    )]
    Malformed(String),
    #[error("bytes_max and mask belong to record = \"full\", not to {0:?}")]
    NotFull(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    path: String,
    record: String,
    #[serde(default, deserialize_with = "text::one")]
    bytes_max: Option<ByteSize>,
    mask: Option<bool>,
}

impl FromStr for RuleSpec {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let malformed = || RuleError::Malformed(text.to_owned());
        let (path, record) = text.rsplit_once('=').ok_or_else(malformed)?;
        let values = values(record).ok_or_else(malformed)?;
        Ok(Self(PolicyRule { path: path.to_owned(), values }))
    }
}

impl TryFrom<RuleTable> for RuleSpec {
    type Error = RuleError;

    fn try_from(table: RuleTable) -> Result<Self, RuleError> {
        let malformed = || RuleError::Malformed(format!("{}={}", table.path, table.record));
        let mut values = values(&table.record).ok_or_else(malformed)?;
        match &mut values {
            Values::Full { bytes_max, mask } => {
                if let Some(bytes) = table.bytes_max {
                    *bytes_max = usize::try_from(bytes.0).unwrap_or(usize::MAX);
                }
                *mask = table.mask.unwrap_or(*mask);
            }
            _ if table.bytes_max.is_some() || table.mask.is_some() => return Err(RuleError::NotFull(table.record)),
            _ => {}
        }
        Ok(Self(PolicyRule { path: table.path, values }))
    }
}

impl<'de> Deserialize<'de> for RuleSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a text GLOB=full|unmasked|hash|none or a table with path and record";
        deserializer.deserialize_any(TextOrTable::<Self, RuleTable>::new(expected))
    }
}

fn values(record: &str) -> Option<Values> {
    match record {
        "full" => Some(Values::default()),
        "unmasked" => Some(Values::Full { bytes_max: VALUE_BYTES_MAX, mask: false }),
        "hash" => Some(Values::Hash),
        "none" => Some(Values::None),
        _ => None,
    }
}
