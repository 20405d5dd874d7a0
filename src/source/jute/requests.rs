use super::record::record;
use super::{Acl, Buffer, JuteError, MultiRequest, Op, Reader, Record, Secret, Writer};

record! {
    CreateRequest {
        path: String,
        data: Buffer,
        acl: Vec<Acl>,
        /// 0 persistent, 1 ephemeral, 2 persistent sequential, 3 ephemeral sequential, 4 container.
        flags: i32,
    }

    CreateTtlRequest {
        path: String,
        data: Buffer,
        acl: Vec<Acl>,
        /// 5 persistent, 6 persistent sequential.
        flags: i32,
        ttl_ms: i64,
    }

    DeleteRequest {
        path: String,
        /// -1 for any.
        version: i32,
    }

    /// exists, getData, getChildren and getChildren2.
    ReadRequest {
        path: String,
        /// Whether to leave a one-shot watch.
        watch: bool,
    }

    /// Of requests that only name a path.
    PathRequest {
        path: String,
    }

    SetDataRequest {
        path: String,
        data: Buffer,
        /// -1 for any.
        version: i32,
    }

    SetAclRequest {
        path: String,
        acl: Vec<Acl>,
        /// The aversion; -1 for any.
        version: i32,
    }

    CheckVersionRequest {
        path: String,
        version: i32,
    }

    AuthPacket {
        /// Always 0.
        kind: i32,
        scheme: String,
        auth: Secret,
    }

    /// The one-shot watches that a client had before it lost its connection.
    SetWatchesRequest {
        /// The last zxid that it saw.
        relative_zxid: i64,
        data: Vec<String>,
        exist: Vec<String>,
        child: Vec<String>,
    }

    /// The same with the persistent ones.
    SetWatches2Request {
        relative_zxid: i64,
        data: Vec<String>,
        exist: Vec<String>,
        child: Vec<String>,
        persistent: Vec<String>,
        persistent_recursive: Vec<String>,
    }

    AddWatchRequest {
        path: String,
        /// See [`super::WatchMode`].
        mode: i32,
    }

    /// removeWatches and checkWatches.
    RemoveWatchesRequest {
        path: String,
        /// See [`super::WatcherType`].
        kind: i32,
    }
}

/// A request with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `Create`, `Create2` or `CreateContainer`.
    Create(Op, CreateRequest),
    CreateTtl(CreateTtlRequest),
    Delete(DeleteRequest),
    Exists(ReadRequest),
    GetData(ReadRequest),
    SetData(SetDataRequest),
    GetAcl(PathRequest),
    SetAcl(SetAclRequest),
    GetChildren(ReadRequest),
    GetChildren2(ReadRequest),
    Sync(PathRequest),
    Ping,
    Check(CheckVersionRequest),
    Multi(MultiRequest),
    MultiRead(MultiRequest),
    Auth(AuthPacket),
    SetWatches(SetWatchesRequest),
    SetWatches2(SetWatches2Request),
    AddWatch(AddWatchRequest),
    RemoveWatches(RemoveWatchesRequest),
    CheckWatches(RemoveWatchesRequest),
    GetEphemerals(PathRequest),
    GetAllChildrenNumber(PathRequest),
    WhoAmI,
    CloseSession,
    /// Known, but without a body that is read here.
    Other(Op),
}

impl Request {
    pub fn op(&self) -> Op {
        match self {
            Self::Create(op, _) | Self::Other(op) => *op,
            Self::CreateTtl(_) => Op::CreateTtl,
            Self::Delete(_) => Op::Delete,
            Self::Exists(_) => Op::Exists,
            Self::GetData(_) => Op::GetData,
            Self::SetData(_) => Op::SetData,
            Self::GetAcl(_) => Op::GetAcl,
            Self::SetAcl(_) => Op::SetAcl,
            Self::GetChildren(_) => Op::GetChildren,
            Self::GetChildren2(_) => Op::GetChildren2,
            Self::Sync(_) => Op::Sync,
            Self::Ping => Op::Ping,
            Self::Check(_) => Op::Check,
            Self::Multi(_) => Op::Multi,
            Self::MultiRead(_) => Op::MultiRead,
            Self::Auth(_) => Op::Auth,
            Self::SetWatches(_) => Op::SetWatches,
            Self::SetWatches2(_) => Op::SetWatches2,
            Self::AddWatch(_) => Op::AddWatch,
            Self::RemoveWatches(_) => Op::RemoveWatches,
            Self::CheckWatches(_) => Op::CheckWatches,
            Self::GetEphemerals(_) => Op::GetEphemerals,
            Self::GetAllChildrenNumber(_) => Op::GetAllChildrenNumber,
            Self::WhoAmI => Op::WhoAmI,
            Self::CloseSession => Op::CloseSession,
        }
    }

    /// The body of a request for this operation.
    ///
    /// # Errors
    /// Says where the bytes stop being one.
    pub fn read(op: Op, from: &mut Reader<'_>) -> Result<Self, JuteError> {
        Ok(match op {
            Op::Create | Op::Create2 | Op::CreateContainer => Self::Create(op, Record::read(from)?),
            Op::CreateTtl => Self::CreateTtl(Record::read(from)?),
            Op::Delete => Self::Delete(Record::read(from)?),
            Op::Exists => Self::Exists(Record::read(from)?),
            Op::GetData => Self::GetData(Record::read(from)?),
            Op::SetData => Self::SetData(Record::read(from)?),
            Op::GetAcl => Self::GetAcl(Record::read(from)?),
            Op::SetAcl => Self::SetAcl(Record::read(from)?),
            Op::GetChildren => Self::GetChildren(Record::read(from)?),
            Op::GetChildren2 => Self::GetChildren2(Record::read(from)?),
            Op::Sync => Self::Sync(Record::read(from)?),
            Op::Ping => Self::Ping,
            Op::Check => Self::Check(Record::read(from)?),
            Op::Multi => Self::Multi(Record::read(from)?),
            Op::MultiRead => Self::MultiRead(Record::read(from)?),
            Op::Auth => Self::Auth(Record::read(from)?),
            Op::SetWatches => Self::SetWatches(Record::read(from)?),
            Op::SetWatches2 => Self::SetWatches2(Record::read(from)?),
            Op::AddWatch => Self::AddWatch(Record::read(from)?),
            Op::RemoveWatches => Self::RemoveWatches(Record::read(from)?),
            Op::CheckWatches => Self::CheckWatches(Record::read(from)?),
            Op::GetEphemerals => Self::GetEphemerals(Record::read(from)?),
            Op::GetAllChildrenNumber => Self::GetAllChildrenNumber(Record::read(from)?),
            Op::WhoAmI => Self::WhoAmI,
            Op::CloseSession => Self::CloseSession,
            Op::Error | Op::CreateSession | Op::Reconfig | Op::DeleteContainer | Op::Sasl => Self::Other(op),
        })
    }

    /// The body.
    pub fn write(&self, to: &mut Writer) {
        match self {
            Self::Create(_, body) => body.write(to),
            Self::CreateTtl(body) => body.write(to),
            Self::Delete(body) => body.write(to),
            Self::Exists(body) | Self::GetData(body) | Self::GetChildren(body) | Self::GetChildren2(body) => {
                body.write(to);
            }
            Self::SetData(body) => body.write(to),
            Self::SetAcl(body) => body.write(to),
            Self::GetAcl(body) | Self::Sync(body) | Self::GetEphemerals(body) | Self::GetAllChildrenNumber(body) => {
                body.write(to);
            }
            Self::Check(body) => body.write(to),
            Self::Multi(body) | Self::MultiRead(body) => body.write(to),
            Self::Auth(body) => body.write(to),
            Self::SetWatches(body) => body.write(to),
            Self::SetWatches2(body) => body.write(to),
            Self::AddWatch(body) => body.write(to),
            Self::RemoveWatches(body) | Self::CheckWatches(body) => body.write(to),
            Self::Ping | Self::WhoAmI | Self::CloseSession | Self::Other(_) => {}
        }
    }
}
