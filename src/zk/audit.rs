use super::{Micros, ZkPath};

/// One line of a server's audit log: who asked for what, and whether it was done.
///
/// Every server logs what its own clients asked of it. A field is `None` where the line lacks it: ZooKeeper leaves out
/// what is null. The line holds neither zxid nor cxid: only session, path and order tie it to a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuditEntry {
    /// By the logging server's clock, in the precision of its log (milliseconds as a rule).
    pub time: Micros,
    pub session_id: Option<i64>,
    /// As whom the session was authenticated, and its address, separated by commas (`bob,10.0.0.1`). Where it is the server
    /// itself that acts (it starts, or removes what a session leaves behind) the user that its process runs as.
    pub user: Option<String>,
    /// The client's address, without its port.
    pub address: Option<String>,
    /// `create`, `delete`, `setData`, `setAcl`, `multiOperation`, `reconfig`, `serverStart` …
    pub operation: String,
    /// The path; where the log names none, or something that is no path, `None`.
    pub path: Option<ZkPath>,
    pub node_type: Option<String>,
    /// As the log has it, the digest scheme's hashes masked.
    pub acl: Option<String>,
    /// `success`, `failure` or `invoked`.
    pub result: String,
}
