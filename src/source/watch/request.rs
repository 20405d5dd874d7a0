//! The requests of the watch source: what was asked, and the client's future that will have the answer.

use std::sync::Arc;

use zookeeper_client as zkc;

use super::ReadKind;
use super::order::Reply;
use super::walk::Operation;
use crate::zk::{ZkPath, Zxid};

/// Why something was asked: decides what its answer becomes.
#[derive(Debug)]
pub(super) enum Purpose {
    Watch,
    Sync,
    /// As [`Purpose::Sync`], on behalf of [`super::Command::Sync`].
    Barrier(Zxid),
    /// The read that goes with an event.
    EventData {
        path: ZkPath,
        event: u64,
    },
    /// The read that places a deletion: of the deleted path's parent.
    EventParent {
        path: ZkPath,
        event: u64,
    },
    Scan(Vec<Operation>),
    /// The operations of a multi-read, asked one by one where the server has no multi-read.
    ScanSingle(Operation),
    Acl(ZkPath),
    Reread(ZkPath),
    /// Proof that the server still answers; reads the scope's Stat.
    Heartbeat,
}

pub(super) type ZkResult<T> = Result<T, zkc::Error>;

/// An answer, still in the client's words.
pub(super) enum Answer {
    Watch(ZkResult<zkc::PersistentWatcher>),
    Unit(ZkResult<()>),
    Data(ZkResult<(Vec<u8>, zkc::Stat)>),
    Children(ZkResult<Vec<String>>),
    Stat(ZkResult<Option<zkc::Stat>>),
    Multi(ZkResult<Vec<zkc::MultiReadResult>>),
    Acl(ZkResult<(Vec<zkc::Acl>, zkc::Stat)>),
}

impl Answer {
    /// The kind of read that it answers; `None` for what is no read.
    pub(super) fn kind(&self) -> Option<ReadKind> {
        match self {
            Self::Watch(_) => None,
            Self::Unit(_) => Some(ReadKind::Sync),
            Self::Data(_) => Some(ReadKind::GetData),
            Self::Children(_) => Some(ReadKind::GetChildren),
            Self::Stat(_) => Some(ReadKind::Exists),
            Self::Multi(_) => Some(ReadKind::MultiRead),
            Self::Acl(_) => Some(ReadKind::GetAcl),
        }
    }

    pub(super) fn error(&self) -> Option<&zkc::Error> {
        match self {
            Self::Watch(result) => result.as_ref().err(),
            Self::Unit(result) => result.as_ref().err(),
            Self::Data(result) => result.as_ref().err(),
            Self::Children(result) => result.as_ref().err(),
            Self::Stat(result) => result.as_ref().err(),
            Self::Multi(result) => result.as_ref().err(),
            Self::Acl(result) => result.as_ref().err(),
        }
    }
}

/// Builds the future of a request; it is sent when the future is first polled.
pub(super) fn request(client: &Arc<zkc::Client>, scope: &ZkPath, purpose: &Purpose) -> Reply<Answer> {
    let client = client.clone();
    match purpose {
        Purpose::Watch => {
            let scope = scope.clone();
            Box::pin(async move { Answer::Watch(client.watch(&scope, zkc::AddWatchMode::PersistentRecursive).await) })
        }
        Purpose::Sync | Purpose::Barrier(_) => {
            let scope = scope.clone();
            Box::pin(async move { Answer::Unit(client.sync(&scope).await) })
        }
        Purpose::EventData { path, .. } | Purpose::Reread(path) | Purpose::ScanSingle(Operation::Data(path)) => {
            let path = path.clone();
            Box::pin(async move { Answer::Data(client.get_data(&path).await) })
        }
        Purpose::ScanSingle(Operation::Children(path)) => {
            let path = path.clone();
            Box::pin(async move { Answer::Children(client.list_children(&path).await) })
        }
        Purpose::EventParent { path, .. } => {
            let path = path.clone();
            Box::pin(async move { Answer::Stat(client.check_stat(&path).await) })
        }
        Purpose::Heartbeat => {
            let scope = scope.clone();
            Box::pin(async move { Answer::Stat(client.check_stat(&scope).await) })
        }
        Purpose::Acl(path) => {
            let path = path.clone();
            Box::pin(async move { Answer::Acl(client.get_acl(&path).await) })
        }
        Purpose::Scan(operations) => {
            let operations = operations.clone();
            Box::pin(async move {
                let mut reader = client.new_multi_reader();
                for operation in &operations {
                    let added = match operation {
                        Operation::Data(path) => reader.add_get_data(path),
                        Operation::Children(path) => reader.add_get_children(path),
                    };
                    if let Err(error) = added {
                        return Answer::Multi(Err(error));
                    }
                }
                Answer::Multi(reader.commit().await)
            })
        }
    }
}
