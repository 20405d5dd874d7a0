use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, LogFormat};

/// Sends logs to stderr, for people or as JSON lines.
///
/// The level is for zktrail's own modules; of the libraries only warnings show, and of the ZooKeeper client, whose news the
/// agent tells itself, only errors. `RUST_LOG` overrides all of it, but for the client's details.
pub(super) fn start(config: LogConfig) {
    let level = config.level.as_str();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,zktrail={level},access={level},zookeeper_client=error")));
    let filter = filter.and(filter_fn(may_be_shown));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match config.format {
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
        LogFormat::Human => {
            layer.with_target(false).with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
        }
    };
    // A second start (in tests) keeps the first.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

/// Nothing of the client beyond warnings, whoever asks: its details are of sessions, which are credentials.
fn may_be_shown(metadata: &Metadata<'_>) -> bool {
    !metadata.target().starts_with("zookeeper_client") || *metadata.level() <= Level::WARN
}
