//! Four-letter words: the few that tools ask before they connect.

use super::machine::Machine;

/// What the machine does not know of itself.
pub(super) struct About<'a> {
    /// The index of the server that is asked.
    pub server: usize,
    pub version: &'a str,
    /// `standalone`, `leader` or `follower`.
    pub mode: &'a str,
    /// How many servers run, itself included.
    pub running: usize,
    pub servers: usize,
    pub uptime: std::time::Duration,
    /// Files that the process has open, and may have.
    pub files: (u64, u64),
}

/// Whether the first four bytes of a connection are a word, rather than a packet's length.
pub(super) fn is_word(head: [u8; 4]) -> bool {
    head.iter().all(u8::is_ascii_lowercase)
}

/// What a server prints.
pub(super) fn answer(word: &[u8; 4], machine: &Machine, about: &About<'_>) -> String {
    match word {
        b"ruok" => "imok".to_owned(),
        b"isro" => "rw".to_owned(),
        b"srvr" => srvr(machine, about),
        b"mntr" => mntr(machine, about),
        b"cons" => cons(machine, about),
        b"envi" => format!("Environment:\nzookeeper.version={}\n", about.version),
        _ => {
            let word = String::from_utf8_lossy(word);
            format!("{word} is not executed because it is not in the whitelist.\n")
        }
    }
}

fn cons(machine: &Machine, about: &About<'_>) -> String {
    let clients = machine.clients(about.server).map(|(address, session)| match session {
        Some((id, timeout)) => {
            format!(" /{address}[1](queued=0,recved=1,sent=1,sid={id:#x},lop=NA,to={})\n", timeout.as_millis())
        }
        None => format!(" /{address}[1](queued=0,recved=1,sent=0)\n"),
    });
    clients.chain(["\n".to_owned()]).collect()
}

fn srvr(machine: &Machine, about: &About<'_>) -> String {
    let counts = machine.counts();
    format!(
        "Zookeeper version: {}\nLatency min/avg/max: 0/0.0/0\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: 0\n\
         Zxid: {:#x}\nMode: {}\nNode count: {}\n",
        about.version,
        counts.received,
        counts.sent,
        machine.connections_len(),
        machine.zxid(),
        about.mode,
        machine.tree().len(),
    )
}

fn mntr(machine: &Machine, about: &About<'_>) -> String {
    let counts = machine.counts();
    let tree = machine.tree();
    let (files, files_max) = about.files;
    let mut samples = vec![
        ("version", about.version.to_owned()),
        ("server_state", about.mode.to_owned()),
        ("avg_latency", "0.0".to_owned()),
        ("max_latency", "0".to_owned()),
        ("min_latency", "0".to_owned()),
        ("packets_received", counts.received.to_string()),
        ("packets_sent", counts.sent.to_string()),
        ("num_alive_connections", machine.connections_len().to_string()),
        ("outstanding_requests", "0".to_owned()),
        ("znode_count", tree.len().to_string()),
        ("watch_count", machine.watches_len().to_string()),
        ("ephemerals_count", tree.ephemerals_len().to_string()),
        ("approximate_data_size", tree.data_bytes().to_string()),
        ("global_sessions", machine.sessions().len().to_string()),
        ("open_file_descriptor_count", files.to_string()),
        ("max_file_descriptor_count", files_max.to_string()),
        ("uptime", about.uptime.as_millis().to_string()),
    ];
    // Nothing is logged, so nothing is waited for; and nothing is ever turned away.
    for key in [
        "fsync_threshold_exceed_count",
        "connection_drop_count",
        "connection_rejected",
        "avg_fsynctime",
        "max_fsynctime",
        "p99_fsynctime",
        "cnt_fsynctime",
        "sum_fsynctime",
        "p99_readlatency",
        "p99_updatelatency",
    ] {
        samples.push((key, "0".to_owned()));
    }
    match about.mode {
        "leader" => {
            let followers = about.running.saturating_sub(1).to_string();
            samples.push(("peer_state", "leading - broadcast".to_owned()));
            samples.extend(["learners", "synced_followers"].map(|key| (key, followers.clone())));
            samples.push(("pending_syncs", "0".to_owned()));
            samples.push(("quorum_size", about.servers.to_string()));
        }
        "follower" => samples.push(("peer_state", "following - broadcast".to_owned())),
        _ => {}
    }
    samples.iter().map(|(key, value)| format!("zk_{key}\t{value}\n")).collect()
}
