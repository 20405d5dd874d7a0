use super::{JuteError, Reader, Record, Secret, Writer};

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    pub protocol_version: i32,
    pub last_zxid_seen: i64,
    pub timeout_ms: i32,
    /// 0 asks for a new session.
    pub session_id: i64,
    pub password: Secret,
    /// Absent from clients older than 3.4.
    pub read_only: Option<bool>,
}

impl Record for ConnectRequest {
    const BYTES_MIN: usize = 28;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        Ok(Self {
            protocol_version: from.int()?,
            last_zxid_seen: from.long()?,
            timeout_ms: from.int()?,
            session_id: from.long()?,
            password: Secret::read(from)?,
            read_only: optional(from)?,
        })
    }

    fn write(&self, to: &mut Writer) {
        to.int(self.protocol_version);
        to.long(self.last_zxid_seen);
        to.int(self.timeout_ms);
        to.long(self.session_id);
        self.password.write(to);
        if let Some(read_only) = self.read_only {
            to.boolean(read_only);
        }
    }
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    pub protocol_version: i32,
    /// What was agreed on.
    pub timeout_ms: i32,
    /// 0 says that the session asked for has expired, or that the password is not its own.
    pub session_id: i64,
    pub password: Secret,
    /// There where the request had it.
    pub read_only: Option<bool>,
}

impl Record for ConnectResponse {
    const BYTES_MIN: usize = 20;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        Ok(Self {
            protocol_version: from.int()?,
            timeout_ms: from.int()?,
            session_id: from.long()?,
            password: Secret::read(from)?,
            read_only: optional(from)?,
        })
    }

    fn write(&self, to: &mut Writer) {
        to.int(self.protocol_version);
        to.int(self.timeout_ms);
        to.long(self.session_id);
        self.password.write(to);
        if let Some(read_only) = self.read_only {
            to.boolean(read_only);
        }
    }
}

fn optional(from: &mut Reader<'_>) -> Result<Option<bool>, JuteError> {
    match from.left() {
        0 => Ok(None),
        _ => from.boolean().map(Some),
    }
}
