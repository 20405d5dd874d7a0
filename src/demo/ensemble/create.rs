//! What kind of znode a creation asks for.

use crate::source::jute::{Acl, CreateRequest, CreateTtlRequest, ErrorCode, Op};

use super::tree::Bond;

/// The longest TTL that servers take: 40 bits of milliseconds.
const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

/// A creation, whichever request asks for it.
pub(super) struct Creation<'a> {
    pub path: &'a str,
    pub data: Option<&'a [u8]>,
    pub acl: &'a [Acl],
    pub sequential: bool,
    pub bond: Bond,
}

impl<'a> Creation<'a> {
    /// # Errors
    /// `BadArguments` for flags that mean nothing, or do not go with the request.
    pub fn plain(op: Op, request: &'a CreateRequest, session: i64) -> Result<Self, ErrorCode> {
        let (sequential, bond) = match request.flags {
            _ if op == Op::CreateContainer => (false, Bond::Container),
            0 => (false, Bond::None),
            1 => (false, Bond::Session(session)),
            2 => (true, Bond::None),
            3 => (true, Bond::Session(session)),
            4 => (false, Bond::Container),
            _ => return Err(ErrorCode::BadArguments),
        };
        Ok(Self { path: &request.path, data: request.data.as_deref(), acl: &request.acl, sequential, bond })
    }

    /// # Errors
    /// `BadArguments` for flags or a TTL that mean nothing.
    pub fn with_ttl(request: &'a CreateTtlRequest) -> Result<Self, ErrorCode> {
        let sequential = match request.flags {
            5 => false,
            6 => true,
            _ => return Err(ErrorCode::BadArguments),
        };
        if !(1..=TTL_MS_MAX).contains(&request.ttl_ms) {
            return Err(ErrorCode::BadArguments);
        }
        let bond = Bond::TtlMs(request.ttl_ms);
        Ok(Self { path: &request.path, data: request.data.as_deref(), acl: &request.acl, sequential, bond })
    }
}
