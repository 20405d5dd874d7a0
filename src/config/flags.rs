use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::text::{many, one};
use super::{
    ByteSize, Count, EnsembleSpec, HumanDuration, ListenAddr, LogFormat, LogLevel, OnOff, OrOff, Percent, RuleSpec,
    SaslMechanism, Scoped, SourceSpec,
};

/// The agent's settings as they are given: flags, variables and the file's keys alike. Nothing here has a default.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentFlags {
    /// Config file (TOML). Every flag has a key of the same name in it, with '_' for '-', and a variable
    /// ZKTRAIL_<KEY>; flags win over variables, those over the file.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Ensemble to watch: [NAME=]HOST[:PORT],HOST[:PORT][/CHROOT]. Repeat for several.
    ///
    /// NAME becomes the column `cluster`; without it, `default`. PORT defaults to 2181; IPv6 in brackets:
    /// [::1]:2181. With a chroot only that subtree is watched; paths stay those of the server.
    #[arg(long, value_name = "SPEC", help_heading = "Ensembles")]
    pub ensemble: Vec<EnsembleSpec>,

    /// Session timeout that is asked of the servers; [NAME=] for one ensemble. Default: 30s.
    #[arg(long, value_name = "[NAME=]DURATION", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub session_timeout: Vec<Scoped<HumanDuration>>,

    /// File with credentials, one a line: SCHEME:CREDENTIAL, for example digest:bob:password.
    #[arg(long, value_name = "[NAME=]FILE", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub auth_file: Vec<Scoped<String>>,

    /// Environment variable that holds the credentials, instead of a file.
    #[arg(long, value_name = "[NAME=]VARIABLE", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub auth_env: Vec<Scoped<String>>,

    /// Whether the servers are spoken to over TLS (their secureClientPort). Default: where --zk-ca is given.
    #[arg(
        long, value_name = "[NAME=]BOOL", help_heading = "Ensembles", num_args = 0..=1, default_missing_value = "true"
    )]
    #[serde(deserialize_with = "many")]
    pub zk_tls: Vec<Scoped<bool>>,

    /// Authorities that sign the servers' certificates (PEM; revocation lists in it count).
    #[arg(long, value_name = "[NAME=]FILE", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub zk_ca: Vec<Scoped<String>>,

    /// The agent's own certificate for servers that want one (PEM, with what leads to its authority).
    #[arg(long, value_name = "[NAME=]FILE", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub zk_cert: Vec<Scoped<String>>,

    /// Its private key (PEM: PKCS#8, PKCS#1 or SEC1, not encrypted).
    #[arg(long, value_name = "[NAME=]FILE", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub zk_key: Vec<Scoped<String>>,

    /// Whether a server's certificate has to name its host. Default: true.
    ///
    /// Without it, whoever has any certificate of the authority can pose as a server.
    #[arg(long, value_name = "[NAME=]BOOL", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub zk_hostname_check: Vec<Scoped<bool>>,

    /// SASL mechanism: digest-md5, gssapi (Kerberos, in builds that have it) or off. Default: digest-md5 where
    /// --sasl-user is given.
    #[arg(long, value_name = "[NAME=]MECHANISM", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub sasl: Vec<Scoped<SaslMechanism>>,

    /// User of SASL DIGEST-MD5, as the servers' JAAS file has it.
    #[arg(long, value_name = "[NAME=]USER", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub sasl_user: Vec<Scoped<String>>,

    /// File whose first line is that user's password.
    #[arg(long, value_name = "[NAME=]FILE", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub sasl_password_file: Vec<Scoped<String>>,

    /// Environment variable that holds that password, instead of a file.
    #[arg(long, value_name = "[NAME=]VARIABLE", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub sasl_password_env: Vec<Scoped<String>>,

    /// Kerberos principal of the servers: SERVICE, or SERVICE/HOST where it is not the host in the list. Default: zookeeper.
    #[arg(long, value_name = "[NAME=]PRINCIPAL", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub sasl_service: Vec<Scoped<String>>,

    /// Ensemble that was restored or rebuilt: its zxids start over, and a new incarnation of its history begins.
    #[arg(long, value_name = "NAME", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub new_incarnation: Vec<String>,

    /// Most znodes a second that scans read, or off. Default: 20000.
    #[arg(long, value_name = "[NAME=]COUNT", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub znodes_per_second: Vec<Scoped<OrOff<Count>>>,

    /// Most bytes a second that scans read, or off. Default: 20MB.
    #[arg(long, value_name = "[NAME=]SIZE", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub bytes_per_second: Vec<Scoped<OrOff<ByteSize>>>,

    /// Most multi-reads in flight at once. Default: 4.
    #[arg(long, value_name = "[NAME=]COUNT", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub multi_reads: Vec<Scoped<Count>>,

    /// How often all ACLs are read, or off: no watch tells of their changes. Default: 15m.
    #[arg(long, value_name = "[NAME=]DURATION", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub acl_sweep: Vec<Scoped<OrOff<HumanDuration>>>,

    /// How often the servers are asked who is connected, or off. Default: 1m.
    ///
    /// By the four-letter word cons, where 4lw.commands.whitelist allows it; changes nothing on the servers. What they
    /// tell is in the table sessions: which client's address a session has.
    #[arg(long, value_name = "[NAME=]DURATION", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub session_sample: Vec<Scoped<OrOff<HumanDuration>>>,

    /// AdminServers that are asked instead of by four-letter words, one a server: http://HOST:PORT[/COMMANDS],… {host} stands for each server's.
    ///
    /// For example http://{host}:8080; /COMMANDS is the servers' admin.commandURL, /commands by default.
    #[arg(long, value_name = "[NAME=]URL", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub admin_url: Vec<Scoped<String>>,

    /// How often each server is asked how it is (the zk_ metrics), or off. Default: 10s.
    ///
    /// By its Prometheus provider or AdminServer where they are named, else by mntr where 4lw.commands.whitelist allows
    /// it; by srvr, which servers allow by default, in any case; by ruok and isro where they are allowed. Nothing is
    /// reset. zktrail check says what each server tells.
    #[arg(long, value_name = "[NAME=]DURATION", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub server_sample: Vec<Scoped<OrOff<HumanDuration>>>,

    /// Prometheus providers of the servers, which are then asked first, one a server: http://HOST:PORT[/PATH],…
    ///
    /// {host} stands for each server's, for example http://{host}:7000; /metrics where no path is given.
    #[arg(long, value_name = "[NAME=]URL", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub metrics_url: Vec<Scoped<String>>,

    /// Whether servers that are not listed are found in /zookeeper/config and asked, too: on or off. Default: on.
    #[arg(long, value_name = "ON|OFF", help_heading = "Ensembles")]
    #[serde(deserialize_with = "one")]
    pub server_discovery: Option<OnOff>,

    /// Source beside the watches: txnlog=FOLDER, the version-2 of a server on this machine.
    ///
    /// Its transaction log is followed: seconds after a change was heard its row says what watches cannot know, such as the
    /// session that made it, and the values and ACLs in between. Only what the ensemble has committed is read. Where the server
    /// has a dataLogDir: txnlog=dataLogDir,dataDir.
    #[arg(long, value_name = "[NAME=]SOURCE", help_heading = "Ensembles")]
    #[serde(deserialize_with = "many")]
    pub source: Vec<SourceSpec>,

    /// Folder of the history. Default: ./history.
    #[arg(long, value_name = "FOLDER", help_heading = "History")]
    pub data_dir: Option<PathBuf>,

    /// Age at which recorded changes become a Parquet part. Default: 5m.
    #[arg(long, value_name = "DURATION", help_heading = "History")]
    #[serde(deserialize_with = "one")]
    pub flush_age: Option<HumanDuration>,

    /// Bytes of recorded changes that become a Parquet part earlier. Default: 64MiB.
    #[arg(long, value_name = "SIZE", help_heading = "History")]
    #[serde(deserialize_with = "one")]
    pub flush_bytes: Option<ByteSize>,

    /// Age after which history is dropped, or off. Default: 90d.
    #[arg(long, value_name = "DURATION", help_heading = "History")]
    #[serde(deserialize_with = "one")]
    pub retention_age: Option<OrOff<HumanDuration>>,

    /// Size beyond which the oldest history is dropped, or off. Default: 50GB.
    #[arg(long, value_name = "SIZE", help_heading = "History")]
    #[serde(deserialize_with = "one")]
    pub retention_bytes: Option<OrOff<ByteSize>>,

    /// Free share of the disk below which recording stops, with a gap. Default: 5%.
    #[arg(long, value_name = "PERCENT", help_heading = "History")]
    #[serde(deserialize_with = "one")]
    pub free_space_floor: Option<Percent>,

    /// What is recorded of values: GLOB=full, unmasked, hash or none. Repeat; the first match wins.
    ///
    /// full: up to 64 KiB, passwords masked (the default for every path). unmasked: the same with nothing masked.
    /// hash: length and keyed hash only. none: nothing. A shipped list of known secrets comes after these rules.
    #[arg(long, value_name = "GLOB=RECORD", help_heading = "History")]
    pub values: Vec<RuleSpec>,

    /// Address of the HTTP door (metrics, health, SQL), or off. Default: 127.0.0.1:9847.
    #[arg(long, value_name = "ADDRESS", help_heading = "Doors")]
    #[serde(deserialize_with = "one")]
    pub http: Option<ListenAddr>,

    /// Address of the PostgreSQL door (SQL for psql and every client that speaks its protocol), or off.
    /// Default: 127.0.0.1:5847.
    #[arg(long, value_name = "ADDRESS", help_heading = "Doors")]
    #[serde(deserialize_with = "one")]
    pub postgres: Option<ListenAddr>,

    /// Most sessions of the PostgreSQL door that are open at once. Default: 100.
    #[arg(long, value_name = "COUNT", help_heading = "Doors")]
    #[serde(deserialize_with = "one")]
    pub postgres_connections: Option<Count>,

    /// Further name of this machine that may stand in a Host header, for a proxy in front of loopback. Repeat for several.
    #[arg(long, value_name = "NAME", help_heading = "Doors")]
    #[serde(deserialize_with = "many")]
    pub http_host: Vec<String>,

    /// File that lists who may ask (zktrail user add). Default: users.toml in the history's folder, if there is one.
    ///
    /// Where users are listed every door wants a name and a password; /metrics, /healthz and /readyz stay open.
    #[arg(long, value_name = "FILE", help_heading = "Doors")]
    pub users_file: Option<PathBuf>,

    /// Certificate of the doors (PEM, the server's own first). The HTTP door then speaks TLS alone.
    #[arg(long, value_name = "FILE", help_heading = "Doors")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM: PKCS#8, PKCS#1 or SEC1, not encrypted).
    #[arg(long, value_name = "FILE", help_heading = "Doors")]
    pub tls_key: Option<PathBuf>,

    /// Whether clear text is refused: true everywhere, false nowhere. Default: off loopback.
    #[arg(
        long, value_name = "BOOL", help_heading = "Doors", num_args = 0..=1, default_missing_value = "true"
    )]
    #[serde(deserialize_with = "one")]
    pub tls_required: Option<bool>,

    /// File for a line a query and a failed login, as JSON. Default: the agent's log, under the target `access`.
    #[arg(long, value_name = "FILE", help_heading = "Metrics and logs")]
    pub access_log: Option<PathBuf>,

    /// Queries that run at once. Default: 8.
    #[arg(long, value_name = "COUNT", help_heading = "Queries")]
    #[serde(deserialize_with = "one")]
    pub query_concurrent: Option<Count>,

    /// Memory of all queries together. Default: 1GiB.
    #[arg(long, value_name = "SIZE", help_heading = "Queries")]
    #[serde(deserialize_with = "one")]
    pub query_memory: Option<ByteSize>,

    /// Time of one query. Default: 60s.
    #[arg(long, value_name = "DURATION", help_heading = "Queries")]
    #[serde(deserialize_with = "one")]
    pub query_time: Option<HumanDuration>,

    /// Rows of one query's answer. Default: 1000000.
    #[arg(long, value_name = "COUNT", help_heading = "Queries")]
    #[serde(deserialize_with = "one")]
    pub query_rows: Option<Count>,

    /// Disk that all queries together may spill to. Default: 4GiB.
    #[arg(long, value_name = "SIZE", help_heading = "Queries")]
    #[serde(deserialize_with = "one")]
    pub query_spill: Option<ByteSize>,

    /// Path with metrics of its own (znodes, bytes, ephemerals, changes, last change and flaps beneath it). Repeat for
    /// several.
    #[arg(long, value_name = "PATH", help_heading = "Metrics and logs")]
    #[serde(deserialize_with = "many")]
    pub subtree: Vec<String>,

    /// Most paths that each of --subtree and --config-subtree may list; all others count as `other`. Default: 100.
    #[arg(long, value_name = "COUNT", help_heading = "Metrics and logs")]
    #[serde(deserialize_with = "one")]
    pub subtree_max: Option<Count>,

    /// Path that holds configuration: its changes are counted in zktrail_config_changes_total, which can be alerted on.
    /// Repeat for several.
    #[arg(long, value_name = "PATH", help_heading = "Metrics and logs")]
    #[serde(deserialize_with = "many")]
    pub config_subtree: Vec<String>,

    /// The servers' jute.maxbuffer, the longest request or answer; zktrail_jute_maxbuffer_bytes shows it beside the largest
    /// znode. Default: 1048575, as the servers'.
    #[arg(long, value_name = "[NAME=]SIZE", help_heading = "Metrics and logs")]
    #[serde(deserialize_with = "many")]
    pub jute_maxbuffer: Vec<Scoped<ByteSize>>,

    /// How much is logged: error, warn, info, debug or trace. Default: info.
    #[arg(long, value_name = "LEVEL", help_heading = "Metrics and logs")]
    #[serde(deserialize_with = "one")]
    pub log_level: Option<LogLevel>,

    /// Log lines for a human, or one JSON object a line: human or json. Default: human.
    #[arg(long, value_name = "FORMAT", help_heading = "Metrics and logs")]
    #[serde(deserialize_with = "one")]
    pub log_format: Option<LogFormat>,
}
