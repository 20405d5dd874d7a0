//! The histories that queries see: each cluster's current [`State`], also while its pipeline is paused.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::history::{State, View};

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct States {
    states: Arc<RwLock<BTreeMap<String, Arc<State>>>>,
}

impl States {
    pub fn set(&self, cluster: &str, state: Arc<State>) {
        self.states.write().unwrap_or_else(PoisonError::into_inner).insert(cluster.to_owned(), state);
    }

    pub fn get(&self, cluster: &str) -> Option<Arc<State>> {
        self.states.read().unwrap_or_else(PoisonError::into_inner).get(cluster).cloned()
    }

    /// All of them, by cluster.
    pub fn all(&self) -> Vec<(String, Arc<State>)> {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        states.iter().map(|(cluster, state)| (cluster.clone(), state.clone())).collect()
    }

    /// What a query sees: every cluster at this instant.
    pub fn views(&self) -> Vec<View> {
        self.all().into_iter().map(|(_, state)| state.view()).collect()
    }
}
