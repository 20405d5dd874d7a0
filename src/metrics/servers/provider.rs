//! The exposition of a server's own Prometheus provider (3.6 and later), in the text format.

use super::labels;
use super::told::{Collector, Told};

/// Reads an exposition. Its types and helps are passed over: the names tell, and types of one name differ by release.
///
/// It tells neither version nor state. What has quantiles gets the keys of `mntr`: `zk_p99_fsynctime`, `zk_cnt_fsynctime`,
/// `zk_sum_fsynctime`, and `zk_avg_fsynctime` from the last two.
pub fn provider(text: &str) -> Told {
    let mut collector = Collector::default();
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else { break };
        if line.starts_with('#') {
            continue;
        }
        let Some((name, labels, rest)) = labels::line(line) else { continue };
        // A time may stand behind the value.
        if let Some(value) = rest.split_ascii_whitespace().next() {
            collector.push(name, labels, value);
        }
    }
    collector.end()
}
