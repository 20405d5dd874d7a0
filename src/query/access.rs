use std::sync::Arc;
use std::time::Duration;

/// Who asks: what they may see, and what bounds them beside the engine's own limits.
#[derive(Clone, Debug)]
pub struct Access {
    /// `None` where nobody had to say who they are.
    pub user: Option<Arc<str>>,
    pub values: Values,
    pub limits: AccessLimits,
}

impl Access {
    /// Of whoever may see everything: the folder's owner, and anybody on loopback where no users are listed.
    pub fn full() -> Self {
        Self { user: None, values: Values::Shown, limits: AccessLimits::default() }
    }

    /// The user's name, for errors and logs.
    pub(super) fn name(&self) -> Arc<str> {
        self.user.clone().unwrap_or_else(|| "-".into())
    }
}

/// Whether what znodes hold is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    Shown,
    /// `data`, `data_hash`, `data_length` and `acl` are null in every table, beneath every expression.
    Withheld,
}

/// Bounds of one user. `None`: the engine's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLimits {
    pub memory_bytes_max: Option<usize>,
    pub time_max: Option<Duration>,
    pub rows_max: Option<u64>,
    pub concurrent_max: Option<usize>,
}
