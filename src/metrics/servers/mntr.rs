//! The answer to `mntr`: a key, a tab, a value a line, as servers from 3.4 on and ClickHouse Keeper print it.

use super::labels;
use super::told::{Collector, Told};

/// Reads an answer. Lines that are none are passed over; a last one that was cut off, too.
pub fn mntr(text: &str) -> Told {
    let mut collector = Collector::default();
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else { break };
        // Values hold no tab; a key may hold blanks within a label.
        let Some((key, value)) = line.rsplit_once('\t') else { continue };
        if let Some((name, labels)) = labels::series(key) {
            collector.push(name, labels, value);
        }
    }
    collector.end()
}

/// The same from pairs that were taken out of another answer: keys are those of `mntr`.
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Told {
    let mut collector = Collector::default();
    for (key, value) in pairs {
        collector.push(key, Vec::new(), value);
    }
    collector.end()
}
