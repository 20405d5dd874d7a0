//! ZooKeeper's serialisation, *jute*, and the records that it is used for.
//!
//! Everything is big-endian. `int` is 4 bytes, `long` 8, `boolean` 1; a buffer or string is an int of its length and its
//! bytes, a vector an int of its count and its elements; -1 stands for null. A record is its fields, one after another.
//!
//! Invariants:
//! - No bytes make a [`Reader`] panic, loop or allocate more than a small multiple of their own length: a length is held
//!   against what is left before anything is allocated.
//! - What is read is what was written, except that a null string or vector is read as an empty one. Null buffers stay
//!   null, because a znode's value may be null.
//!
//! Records know nothing of framing (a packet's length before it), of connections, or of who sends them.

pub use self::acl::{ANYONE_ALL, Acl, Id, PERMS_ALL, perms};
pub use self::codes::{ErrorCode, EventType, Op, WatchMode, WatcherType};
pub use self::header::{MultiHeader, ReplyHeader, RequestHeader, WatcherEvent, xid};
pub use self::multi::{MultiRequest, MultiResponse, MultiResult};
pub use self::reader::{JuteError, Reader};
pub use self::record::{Buffer, Record, Secret};
pub use self::replies::{
    ClientInfo, Create2Response, CreateResponse, GetAclResponse, GetChildren2Response, GetDataResponse,
};
pub use self::requests::{
    AddWatchRequest, AuthPacket, CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, PathRequest,
    ReadRequest, RemoveWatchesRequest, Request, SetAclRequest, SetDataRequest, SetWatches2Request, SetWatchesRequest,
};
pub use self::session::{ConnectRequest, ConnectResponse};
pub use self::stat::Stat;
pub use self::writer::Writer;

mod acl;
mod codes;
mod header;
mod multi;
mod reader;
mod record;
mod replies;
mod requests;
mod session;
mod stat;
#[cfg(test)]
mod tests;
pub mod txn;
mod writer;
