use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{
    AgentFlags, Config, CredentialFlags, EnsembleSpec, Environment, HumanDuration, ListenAddr, LogLevel,
};
use crate::demo::data_centre::{DataCentre, Pace};
use crate::demo::ensemble::{Ensemble, Options};
use crate::history::Layout;

mod show;

/// The agent's parts are written so often that the folder shows Parquet within the first minute.
const FLUSH_AGE: &str = "15s";
const CLUSTER: &str = "demo";

/// Shows zktrail at work: an agent on an ensemble that this process plays itself.
///
/// A small in-memory server speaks ZooKeeper's protocol on a free loopback port; on it runs a made-up data centre with
/// brokers, locks, settings and one bad deploy. Everything else is real: agent, history, SQL, metrics. It goes on until
/// Ctrl-C and leaves nothing behind.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Watch this ensemble instead: HOST[:PORT],...[/CHROOT]. It is only read; nothing is made up then
    #[arg(long, value_name = "SPEC")]
    ensemble: Option<EnsembleSpec>,
    /// Keep the history's folder
    #[arg(long)]
    keep: bool,
    /// Record into this folder, which stays, instead of a temporary one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// End by itself after so long
    #[arg(long = "for", value_name = "DURATION")]
    for_so_long: Option<HumanDuration>,
    /// Tell the story, but do not show every change
    #[arg(long)]
    no_tail: bool,
    /// How many times faster than real time the data centre lives
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = pace, hide = true)]
    pace: f64,
    // The last one: its heading would be that of what follows.
    #[command(flatten)]
    credentials: CredentialFlags,
}

fn pace(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(pace) if (0.1..=100.0).contains(&pace) => Ok(pace),
        _ => Err("a factor from 0.1 to 100".to_owned()),
    }
}

pub(super) fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    // Why an ensemble of yours cannot be reached is worth a line in the story.
    let level = if args.ensemble.is_some() { LogLevel::Warn } else { LogLevel::Error };
    super::log::start(crate::config::LogConfig { level, format: crate::config::LogFormat::Human });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // The doors take statements apart.
        .thread_stack_size(crate::query::STACK_BYTES)
        .build()?;
    runtime.block_on(demo(args))
}

async fn demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    // Heard from here on; the second one ends the process at once.
    let interrupted = crate::agent::signalled()?;
    let (folder, temporary) = match args.data_dir {
        Some(dir) => (dir, None),
        None => {
            let dir = tempfile::Builder::new().prefix("zktrail-demo-").disable_cleanup(args.keep).tempdir()?;
            (dir.path().to_owned(), Some(dir))
        }
    };
    if args.ensemble.is_none() && args.credentials.is_given() {
        anyhow::bail!("credentials are for an ensemble of yours: say --ensemble, too");
    }
    let (spec, played) = match args.ensemble {
        Some(spec) => (spec, None),
        None => {
            refuse_recorded(&folder)?;
            let played = Ensemble::start(Options::default()).await.context("cannot play an ensemble on loopback")?;
            (format!("{CLUSTER}={}", played.connect_string()).parse()?, Some(played))
        }
    };
    let watched = format!("{}{}", spec.servers.join(","), if spec.scope == "/" { "" } else { &spec.scope });
    let Running { mut agent, end, http, postgres } = start(&spec, &args.credentials, &folder).await?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let view = async {
        let url = format!("http://{http}");
        show::welcome(&url, postgres, &watched, &folder, played.is_some())?;
        let centre = match &played {
            Some(played) => Some(DataCentre::start(&played.connect_string(), Pace(args.pace)).await?),
            None => None,
        };
        let view = show::View { story: centre.is_some(), tail: !args.no_tail, pace: args.pace };
        let shown = tokio::task::spawn_blocking(move || show::run(&url, view, &stopped));
        shown.await.context("the view ended unexpectedly")?
    };
    let limit = async {
        match args.for_so_long {
            Some(limit) => tokio::time::sleep(limit.0).await,
            None => std::future::pending().await,
        }
    };
    let mut agent_ended = None;
    let result = tokio::select! {
        () = interrupted => Ok(()),
        () = limit => Ok(()),
        // The data centre ends with it.
        shown = view => shown,
        // It ends by itself only where it cannot go on.
        ended = &mut agent => {
            agent_ended = Some(ended);
            Err(anyhow::anyhow!("the agent has ended: see its errors above"))
        }
    };
    // Whatever happened, the history is closed in order before its folder goes.
    let _ = stop.send(true);
    let said = show::goodbye(&folder, temporary.is_some() && !args.keep);
    let _ = end.send(());
    let in_order = match agent_ended {
        Some(ended) => ended??,
        None => agent.await??,
    };
    if let Some(played) = played {
        played.shutdown().await;
    }
    result?;
    said?;
    Ok(if in_order { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An ensemble that begins anew each time is another one for a history that there is already.
fn refuse_recorded(folder: &Path) -> anyhow::Result<()> {
    if Layout::new(folder).clusters().is_ok_and(|clusters| !clusters.is_empty()) {
        anyhow::bail!(
            "{} holds a history already, and the demo's ensemble begins a new one each time: name another folder",
            folder.display()
        );
    }
    Ok(())
}

/// An agent whose doors are open.
struct Running {
    agent: JoinHandle<anyhow::Result<bool>>,
    /// Sent or dropped, it ends the agent.
    end: oneshot::Sender<()>,
    http: SocketAddr,
    postgres: SocketAddr,
}

/// Starts the agent at the doors' usual addresses, or at others where somebody has those.
async fn start(spec: &EnsembleSpec, credentials: &CredentialFlags, folder: &Path) -> anyhow::Result<Running> {
    let usual = [ListenAddr::HTTP, ListenAddr::POSTGRES].map(|door| free(door).unwrap_or(ANY));
    match try_start(config(spec.clone(), credentials, folder, usual)?).await {
        // Somebody else was quicker, another demo perhaps.
        Err(error) if is_taken(&error) => try_start(config(spec.clone(), credentials, folder, [ANY; 2])?).await,
        started => started,
    }
}

async fn try_start(config: Config) -> anyhow::Result<Running> {
    let (end, ended) = oneshot::channel::<()>();
    let (ready, opened) = oneshot::channel();
    let agent = tokio::spawn(crate::agent::run_until(
        config,
        async {
            let _ = ended.await;
        },
        move |doors| {
            let _ = ready.send(doors.http.zip(doors.postgres));
        },
    ));
    match opened.await {
        Ok(Some((http, postgres))) => Ok(Running { agent, end, http, postgres }),
        // It ended before it was ready, and says why.
        _ => {
            agent.await??;
            anyhow::bail!("the agent ended before it began")
        }
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

fn config(
    spec: EnsembleSpec,
    credentials: &CredentialFlags,
    folder: &Path,
    [http, postgres]: [SocketAddr; 2],
) -> anyhow::Result<Config> {
    let mut flags = AgentFlags {
        ensemble: vec![spec],
        data_dir: Some(folder.to_owned()),
        flush_age: Some(FLUSH_AGE.parse().map_err(anyhow::Error::msg)?),
        http: Some(ListenAddr::At(http)),
        postgres: Some(ListenAddr::At(postgres)),
        ..AgentFlags::default()
    };
    if flags.ensemble.iter().any(|spec| spec.name == CLUSTER) {
        // What the data centre is about has metrics of its own.
        flags.subtree = ["/brokers", "/config", "/locks", "/services"].map(str::to_owned).to_vec();
        flags.config_subtree = vec!["/config".to_owned()];
    }
    credentials.put(&mut flags);
    // The agent's variables are for the agent: a demo must not attach to anything by itself.
    let all = Environment::of_process();
    let named = credentials.password_variable().and_then(|name| Some((name, all.get(name)?)));
    Ok(Config::load(None, flags, &named.into_iter().collect())?)
}

/// Any free port of loopback.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A door's usual address, where nobody has it.
fn free(door: ListenAddr) -> Option<SocketAddr> {
    door.address().filter(|usual| TcpListener::bind(usual).is_ok())
}
