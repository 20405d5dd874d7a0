use super::{Acls, Paths};
use crate::source::jute::{JuteError, Op, Reader, Writer};

/// The least that a part of a multi takes: its type and the length of its body.
const PART_BYTES_MIN: usize = 8;

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn<'a> {
    CreateSession {
        timeout_ms: i32,
    },
    CloseSession {
        /// What the session held: from 3.6 on.
        ephemerals: Option<Paths<'a>>,
    },
    /// The request failed; its zxid is used nevertheless.
    Error {
        /// See [`crate::source::jute::ErrorCode`].
        code: i32,
    },
    Create(Creation<'a>),
    Delete {
        path: &'a str,
        /// Removed by the ensemble itself: an empty container, or a TTL znode that outlived its time.
        container: bool,
    },
    SetData {
        path: &'a str,
        data: Option<&'a [u8]>,
        /// After the change.
        version: i32,
        /// Written as a reconfig.
        reconfig: bool,
    },
    SetAcl {
        path: &'a str,
        acls: Acls<'a>,
        /// The ACL's version after the change.
        version: i32,
    },
    Check {
        path: &'a str,
        version: i32,
    },
    /// If one part is an [`Txn::Error`], the whole failed and nothing was changed.
    Multi(Vec<Txn<'a>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation<'a> {
    pub kind: CreationKind,
    pub path: &'a str,
    pub data: Option<&'a [u8]>,
    pub acls: Acls<'a>,
    /// The parent's raw cversion with this creation; -1 where the server did not tell.
    pub parent_cversion: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreationKind {
    Create {
        ephemeral: bool,
    },
    /// As create; the client asked for a Stat.
    Create2 {
        ephemeral: bool,
    },
    Container,
    Ttl {
        ttl_ms: i64,
    },
}

impl<'a> Txn<'a> {
    /// The type in the header before it.
    pub fn op(&self) -> Op {
        match self {
            Self::CreateSession { .. } => Op::CreateSession,
            Self::CloseSession { .. } => Op::CloseSession,
            Self::Error { .. } => Op::Error,
            Self::Create(creation) => match creation.kind {
                CreationKind::Create { .. } => Op::Create,
                CreationKind::Create2 { .. } => Op::Create2,
                CreationKind::Container => Op::CreateContainer,
                CreationKind::Ttl { .. } => Op::CreateTtl,
            },
            Self::Delete { container: false, .. } => Op::Delete,
            Self::Delete { container: true, .. } => Op::DeleteContainer,
            Self::SetData { reconfig: false, .. } => Op::SetData,
            Self::SetData { reconfig: true, .. } => Op::Reconfig,
            Self::SetAcl { .. } => Op::SetAcl,
            Self::Check { .. } => Op::Check,
            Self::Multi(_) => Op::Multi,
        }
    }

    /// Whether this is a multi of which a part failed.
    pub fn is_failed_multi(&self) -> bool {
        matches!(self, Self::Multi(parts) if parts.iter().any(|part| matches!(part, Self::Error { .. })))
    }

    /// The body by itself, as a part of a multi has it.
    pub fn body_bytes(&self) -> Vec<u8> {
        let mut body = Writer::new();
        self.write(&mut body);
        body.into_bytes()
    }

    /// Every type but closeSession, whose body cannot be told from what follows it.
    pub(super) fn read(op: Op, from: &mut Reader<'a>) -> Result<Self, JuteError> {
        Ok(match op {
            Op::CreateSession => Self::CreateSession { timeout_ms: from.int()? },
            Op::Multi => {
                let count = from.count(PART_BYTES_MIN)?;
                let mut parts = Vec::new();
                for _ in 0..count {
                    parts.push(part(from)?);
                }
                Self::Multi(parts)
            }
            Op::SetAcl => Self::SetAcl { path: from.string()?, acls: Acls::read(from)?, version: from.int()? },
            Op::Reconfig => {
                Self::SetData { path: from.string()?, data: from.buffer()?, version: from.int()?, reconfig: true }
            }
            op => single(op, from)?,
        })
    }

    pub(super) fn write(&self, to: &mut Writer) {
        match self {
            Self::CreateSession { timeout_ms } => to.int(*timeout_ms),
            Self::CloseSession { ephemerals: Some(paths) } => paths.write(to),
            Self::CloseSession { ephemerals: None } => {}
            Self::Error { code } => to.int(*code),
            Self::Create(creation) => creation.write(to),
            Self::Delete { path, .. } => to.string(path),
            Self::SetData { path, data, version, .. } => {
                to.string(path);
                to.buffer(*data);
                to.int(*version);
            }
            Self::SetAcl { path, acls, version } => {
                to.string(path);
                acls.write(to);
                to.int(*version);
            }
            Self::Check { path, version } => {
                to.string(path);
                to.int(*version);
            }
            Self::Multi(parts) => {
                let count = to.count(parts.len());
                for part in parts.iter().take(count) {
                    to.int(part.op().code());
                    to.buffer(Some(&part.body_bytes()));
                }
            }
        }
    }
}

/// A part of a multi: its type, and its body as a buffer.
fn part<'a>(from: &mut Reader<'a>) -> Result<Txn<'a>, JuteError> {
    let op = Op::read(from.int()?)?;
    let body = from.buffer()?.unwrap_or_default();
    single(op, &mut Reader::new(body))
}

/// The types that may also be a part of a multi.
fn single<'a>(op: Op, from: &mut Reader<'a>) -> Result<Txn<'a>, JuteError> {
    Ok(match op {
        Op::Error => Txn::Error { code: from.int()? },
        Op::Create | Op::Create2 | Op::CreateContainer | Op::CreateTtl => Txn::Create(Creation::read(op, from)?),
        Op::Delete | Op::DeleteContainer => Txn::Delete { path: from.string()?, container: op == Op::DeleteContainer },
        Op::SetData => {
            Txn::SetData { path: from.string()?, data: from.buffer()?, version: from.int()?, reconfig: false }
        }
        Op::Check => Txn::Check { path: from.string()?, version: from.int()? },
        op => return Err(JuteError::NotInMulti(op.code())),
    })
}

impl<'a> Creation<'a> {
    fn read(op: Op, from: &mut Reader<'a>) -> Result<Self, JuteError> {
        let path = from.string()?;
        let data = from.buffer()?;
        let acls = Acls::read(from)?;
        let (kind, parent_cversion) = match op {
            Op::CreateContainer => (CreationKind::Container, from.int()?),
            Op::CreateTtl => {
                let parent_cversion = from.int()?;
                (CreationKind::Ttl { ttl_ms: from.long()? }, parent_cversion)
            }
            op => {
                let ephemeral = from.boolean()?;
                match op {
                    Op::Create2 => (CreationKind::Create2 { ephemeral }, from.int()?),
                    _ if from.left() == 0 => (CreationKind::Create { ephemeral }, -1),
                    _ => (CreationKind::Create { ephemeral }, from.int()?),
                }
            }
        };
        Ok(Self { kind, path, data, acls, parent_cversion })
    }

    fn write(&self, to: &mut Writer) {
        to.string(self.path);
        to.buffer(self.data);
        self.acls.write(to);
        match self.kind {
            CreationKind::Create { ephemeral } | CreationKind::Create2 { ephemeral } => {
                to.boolean(ephemeral);
                to.int(self.parent_cversion);
            }
            CreationKind::Container => to.int(self.parent_cversion),
            CreationKind::Ttl { ttl_ms } => {
                to.int(self.parent_cversion);
                to.long(ttl_ms);
            }
        }
    }
}
