use std::collections::BTreeMap;

use clap::{ArgAction, Args, Command};
use serde::Deserialize;

use super::{AgentFlags, ConfigError};

/// The environment's variables, taken once so that tests can give their own.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process's own. Variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os();
        Self(
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect(),
        )
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Names only: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Every setting by its key, and whether it may be given several times.
pub(super) fn keys() -> Vec<(String, bool)> {
    let command = AgentFlags::augment_args(Command::new("agent"));
    let arguments = command.get_arguments().filter(|argument| argument.get_id() != "config");
    arguments
        .map(|argument| (argument.get_id().to_string(), matches!(argument.get_action(), ArgAction::Append)))
        .collect()
}

/// Reads `ZKTRAIL_<KEY>` for every key; lists are separated by `;`. Empty variables count as not set; other variables
/// with this prefix are not ours to judge.
pub(super) fn read(environment: &Environment) -> Result<AgentFlags, ConfigError> {
    let mut table = toml::Table::new();
    for (key, is_list) in keys() {
        let name = format!("ZKTRAIL_{}", key.to_uppercase());
        let Some(text) = environment.get(&name).filter(|text| !text.is_empty()) else { continue };
        let value = if is_list {
            let items = text.split(';').map(str::trim).filter(|item| !item.is_empty());
            toml::Value::Array(items.map(toml::Value::from).collect())
        } else {
            toml::Value::from(text)
        };
        let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = AgentFlags::deserialize(alone) {
            return Err(ConfigError::Variable { name, reason: error.message().to_owned() });
        }
        table.insert(key, value);
    }
    let failed =
        |error: toml::de::Error| ConfigError::Variable { name: "ZKTRAIL_*".into(), reason: error.message().into() };
    AgentFlags::deserialize(table).map_err(failed)
}
