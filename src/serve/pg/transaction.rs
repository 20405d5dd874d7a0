//! Where a session stands between BEGIN and COMMIT. Nothing is ever written, but clients rely on the forms. Pure.

use pgwire::messages::response::TransactionStatus;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Transaction {
    #[default]
    None,
    Open,
    /// A statement has failed: only the end of the transaction, or a savepoint, is heard.
    Failed,
}

impl Transaction {
    pub(super) fn status(self) -> TransactionStatus {
        match self {
            Self::None => TransactionStatus::Idle,
            Self::Open => TransactionStatus::Transaction,
            Self::Failed => TransactionStatus::Error,
        }
    }

    pub(super) fn failed(&mut self) {
        if *self == Self::Open {
            *self = Self::Failed;
        }
    }

    pub(super) fn is_open(self) -> bool {
        self != Self::None
    }
}
