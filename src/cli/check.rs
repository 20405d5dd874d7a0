use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::agent::{Survey, Target, WHITELIST, store, survey, watch_config};
use crate::config::{AgentFlags, Config, Environment, ServerUrls};
use crate::source::watch::probe::probe;

/// Tries what an agent with this configuration would need. Reads only; writes nothing to the ensemble.
///
/// One line each: `ok`, or what is wrong and what to do. Exits 1 where something would keep the agent from recording.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    flags: AgentFlags,
}

pub(super) fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    let config = match Config::load(None, args.flags, &Environment::of_process()) {
        Ok(config) => {
            report.line("config", Ok(format!("{} ensemble(s)", config.ensembles.len())));
            config
        }
        Err(error) => {
            report.line("config", Err(error.to_string()));
            return Ok(report.exit_code());
        }
    };
    folder(&mut report, &config.data_dir, config.retention.free_space_floor);
    if let Some(address) = config.http.address() {
        let bound = std::net::TcpListener::bind(address);
        let what = match bound {
            Ok(_) if config.http.is_loopback() => Ok(format!("{address} is free, this machine only")),
            Ok(_) => Ok(format!("{address} is free; off loopback only /metrics, /healthz and /readyz answer")),
            Err(error) => Err(format!("cannot listen at {address}: {error}. Choose another --http, or off")),
        };
        report.line("http", what);
    }
    if let Some(address) = config.postgres.address() {
        let what = match std::net::TcpListener::bind(address) {
            Ok(_) if config.postgres.is_loopback() => Ok(format!("{address} is free, this machine only")),
            Ok(_) => Ok(format!("{address} is free; off loopback SQL is answered to listed users only")),
            Err(error) => Err(format!("cannot listen at {address}: {error}. Choose another --postgres, or off")),
        };
        report.line("postgres", what);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for ensemble in &config.ensembles {
        let config = match watch_config(ensemble) {
            Ok(config) => config,
            Err(error) => {
                report.line("credentials", Err(format!("{error:#}")));
                continue;
            }
        };
        for warning in config.credentials.warnings(chrono::Utc::now()) {
            report.note(&format!("{} credentials", ensemble.name), &warning);
        }
        for server in &ensemble.servers {
            let of = |urls: &ServerUrls| urls.of(server, &ensemble.servers, &ensemble.servers);
            let (monitor, metrics) = (of(&ensemble.monitor_urls), of(&ensemble.metrics_urls));
            let survey = runtime.block_on(survey(server, &config.credentials, monitor, metrics));
            tell(&mut report, &format!("{} {server}", ensemble.name), survey);
        }
        for target in Target::of(ensemble).iter().filter(|_| ensemble.session_sample.is_some()) {
            let what = format!("{} {target}", ensemble.name);
            match runtime.block_on(target.ask()) {
                Ok(connections) => {
                    let sessions = connections.sessions.len();
                    let plural = if sessions == 1 { "" } else { "s" };
                    let by = target.source().as_str();
                    report.line(&what, Ok(format!("tells the addresses of {sessions} session{plural} ({by})")));
                }
                Err(error) => {
                    let remedy = error.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default();
                    report.note(
                        &what,
                        &format!("connections: {error} (not needed; its sessions will have no address){remedy}"),
                    );
                }
            }
        }
        for probed in runtime.block_on(probe(&config)) {
            report.line(&format!("{} {}", ensemble.name, probed.what), probed.result);
        }
    }
    Ok(report.exit_code())
}

/// What a server says of itself, and what would make it say more.
fn tell(report: &mut Report, what: &str, survey: Survey) {
    let Survey { srvr, answers, refuses, failed } = survey;
    if let Some(srvr) = srvr {
        let version = srvr.version.as_deref().unwrap_or("of unknown version");
        let mode = srvr.mode.as_deref().unwrap_or("in unknown mode");
        let zxid = srvr.zxid.map(|zxid| format!(", zxid {zxid}")).unwrap_or_default();
        report.line(what, Ok(format!("ZooKeeper {version}, {mode}{zxid}")));
    }
    if !answers.is_empty() {
        report.line(what, Ok(format!("tells its metrics by {}", answers.join(", "))));
    }
    if !refuses.is_empty() {
        let refuses = refuses.join(", ");
        report.note(
            what,
            &format!(
                "does not allow {refuses} (not needed): {WHITELIST} in its zoo.cfg and a restart give more metrics"
            ),
        );
    }
    for (word, cause) in failed {
        report.note(what, &format!("{word}: {cause} (not needed; its metrics will be missing)"));
    }
}

fn folder(report: &mut Report, data_dir: &Path, floor: f64) {
    match store::try_folder(data_dir) {
        Ok(tried) => {
            let percent = tried.free_bytes as f64 / tried.total_bytes.max(1) as f64 * 100.0;
            let room = format!("{:.1} GB free ({percent:.0} %)", tried.free_bytes as f64 / 1e9);
            if percent < floor * 100.0 {
                let floor = floor * 100.0;
                report.line("disk", Err(format!("{room}, below the floor of {floor:.0} %: nothing would be recorded")));
            } else {
                report.line("disk", Ok(room));
            }
            let exchange = tried.exchange.map(|()| "folders can be exchanged in one step".to_owned());
            report.line("file system", exchange);
        }
        Err(error) => report.line("data dir", Err(format!("{}: {error}", data_dir.display()))),
    }
}

#[derive(Default)]
struct Report {
    failed: bool,
}

impl Report {
    fn line(&mut self, what: &str, result: Result<String, String>) {
        match result {
            Ok(text) => println!("ok    {what}: {text}"),
            Err(text) => {
                self.failed = true;
                println!("FAIL  {what}: {text}");
            }
        }
    }

    fn note(&self, what: &str, text: &str) {
        println!("note  {what}: {text}");
    }

    fn exit_code(&self) -> ExitCode {
        if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
