//! From a server's key to the name of a family: which part of it is a statistic, which a namespace or a learner, and in
//! which unit it is.
//!
//! ```text
//! avg_latency                               zk_avg_latency
//! p99_write_commitproc_time_ms              zk_p99_write_commitproc_time_seconds      value / 1000
//! cnt_write_commitproc_time_ms              zk_cnt_write_commitproc_time              a number of times
//! avg_my_ns_write_per_namespace             zk_avg_write_per_namespace{namespace="my_ns"}
//! my_ns_quota_bytes_usage_per_namespace     zk_quota_bytes_usage_per_namespace{namespace="my_ns"}
//! p99_2_ack_latency                         zk_p99_ack_latency{learner="2"}
//! commit_count_total                        zk_commit_count
//! ```

/// The label of a key that is of one namespace or one learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Namespace(String),
    Learner(String),
}

/// What a server's key means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// `avg`, `p99` …
    pub stat: Option<String>,
    /// The key without the statistic and without whom it is of.
    pub stem: String,
    pub of: Option<Of>,
}

/// Sets of keys without a statistic, one key a namespace: what stands in front is the namespace, whatever it looks like.
const PLAIN_PER_NAMESPACE: &[&str] = &[
    "quota_bytes_limit_per_namespace",
    "quota_bytes_usage_per_namespace",
    "quota_count_limit_per_namespace",
    "quota_count_usage_per_namespace",
    "quota_exceeded_error_per_namespace",
];
const PER_NAMESPACE: &str = "_per_namespace";

impl Key {
    /// `key` is as the server has it, without `zk_`; `is_whole` where a label says of whom it is, and so not the key.
    pub fn read(key: &str, is_whole: bool) -> Self {
        // These have always had it.
        let is_java = key.starts_with("jvm_") || key.starts_with("process_");
        let key = if is_java { key } else { key.strip_suffix("_total").unwrap_or(key) };
        for stem in PLAIN_PER_NAMESPACE {
            if key == *stem {
                return Self { stat: None, stem: key.to_owned(), of: None };
            }
            if let Some(namespace) = key.strip_suffix(stem).and_then(|rest| rest.strip_suffix('_')) {
                let of = Some(Of::Namespace(namespace.to_owned()));
                return Self { stat: None, stem: (*stem).to_owned(), of };
            }
        }
        let (stat, rest) = split_stat(key);
        let stat = stat.map(str::to_owned);
        if is_whole {
            return Self { stat, stem: rest.to_owned(), of: None };
        }
        if let Some((namespace, what)) = rest.strip_suffix(PER_NAMESPACE).and_then(|rest| rest.rsplit_once('_')) {
            let stem = format!("{what}{PER_NAMESPACE}");
            return Self { stat, stem, of: Some(Of::Namespace(namespace.to_owned())) };
        }
        if stat.is_some()
            && let Some((sid, what)) = rest.split_once('_')
            && is_sid(sid)
        {
            return Self { stat, stem: what.to_owned(), of: Some(Of::Learner(sid.to_owned())) };
        }
        Self { stat, stem: rest.to_owned(), of: None }
    }

    /// The family's name, and what its values are multiplied by.
    pub fn family(&self) -> (String, f64) {
        let stat = self.stat.as_deref();
        let (stem, unit) = split_unit(&self.stem);
        let mut name = "zk".to_owned();
        for part in stat.into_iter().chain([stem]) {
            name.push('_');
            push_snake(&mut name, part);
        }
        match unit {
            // How often something took time is no time.
            Some(_) if stat == Some("cnt") => (name, 1.0),
            Some(factor) => (name + "_seconds", factor),
            None => (name, 1.0),
        }
    }

    /// The key as it would be without a namespace or learner.
    pub fn plain(&self) -> String {
        match &self.stat {
            Some(stat) => format!("{stat}_{}", self.stem),
            None => self.stem.clone(),
        }
    }
}

/// The statistic in front of a key, if there is one.
fn split_stat(key: &str) -> (Option<&str>, &str) {
    match key.split_once('_') {
        Some((stat, rest)) if is_stat(stat) => (Some(stat), rest),
        _ => (None, key),
    }
}

fn is_stat(text: &str) -> bool {
    let is_percentile =
        |digits: &str| (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    matches!(text, "avg" | "min" | "max" | "cnt" | "sum") || text.strip_prefix('p').is_some_and(is_percentile)
}

pub(super) fn is_sid(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Takes a unit that is no base unit off, and gives how many seconds it is.
fn split_unit(stem: &str) -> (&str, Option<f64>) {
    for (unit, seconds) in [("_ms", 1e-3), ("_us", 1e-6), ("_ns", 1e-9)] {
        if let Some(stem) = stem.strip_suffix(unit) {
            return (stem, Some(seconds));
        }
    }
    (stem, None)
}

/// Letters that a name may have; `camelCase` is taken apart.
fn push_snake(name: &mut String, text: &str) {
    let mut was_small = false;
    for letter in text.chars() {
        match letter {
            'A'..='Z' => {
                if was_small {
                    name.push('_');
                }
                name.push(letter.to_ascii_lowercase());
                was_small = false;
            }
            'a'..='z' | '0'..='9' => {
                name.push(letter);
                was_small = letter.is_ascii_lowercase();
            }
            _ => {
                name.push('_');
                was_small = false;
            }
        }
    }
}

/// `0.5` is `p50`, `0.999` is `p999`.
pub(super) fn percentile(quantile: &str) -> Option<String> {
    let digits = quantile.trim().strip_prefix("0.")?;
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(format!("p{digits:0<2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_servers() {
        let read = |key: &str| {
            let key = Key::read(key, false);
            let (name, factor) = key.family();
            let of = match key.of {
                Some(Of::Namespace(namespace)) => format!("namespace={namespace}"),
                Some(Of::Learner(learner)) => format!("learner={learner}"),
                None => String::new(),
            };
            (name, factor, of)
        };
        for (key, name, factor, of) in [
            ("avg_latency", "zk_avg_latency", 1.0, ""),
            ("znode_count", "zk_znode_count", 1.0, ""),
            ("znode_count_total", "zk_znode_count", 1.0, ""),
            ("jvm_threads_started_total", "zk_jvm_threads_started_total", 1.0, ""),
            ("max_file_descriptor_count", "zk_max_file_descriptor_count", 1.0, ""),
            ("p999_updatelatency", "zk_p999_updatelatency", 1.0, ""),
            ("p99_write_commitproc_time_ms", "zk_p99_write_commitproc_time_seconds", 1e-3, ""),
            ("cnt_write_commitproc_time_ms", "zk_cnt_write_commitproc_time", 1.0, ""),
            ("avg_my_ns_write_per_namespace", "zk_avg_write_per_namespace", 1.0, "namespace=my_ns"),
            ("cnt_1_read_per_namespace", "zk_cnt_read_per_namespace", 1.0, "namespace=1"),
            ("max_a.b_read_per_namespace", "zk_max_read_per_namespace", 1.0, "namespace=a.b"),
            ("avg_ns_quota_bytes_limit_per_namespace", "zk_quota_bytes_limit_per_namespace", 1.0, "namespace=avg_ns"),
            ("a_novelty_per_namespace", "zk_novelty_per_namespace", 1.0, "namespace=a"),
            ("quota_count_limit_per_namespace", "zk_quota_count_limit_per_namespace", 1.0, ""),
            ("write_per_namespace", "zk_write_per_namespace", 1.0, ""),
            ("p99_2_ack_latency", "zk_p99_ack_latency", 1.0, "learner=2"),
            ("p50_-1_learner_handler_qp_time_ms", "zk_p50_learner_handler_qp_time_seconds", 1e-3, "learner=-1"),
            ("p99_quorum_ack_latency", "zk_p99_quorum_ack_latency", 1.0, ""),
            ("keyArenaSize", "zk_key_arena_size", 1.0, ""),
            ("odd-key:é", "zk_odd_key__", 1.0, ""),
        ] {
            assert_eq!(read(key), (name.to_owned(), factor, of.to_owned()), "{key}");
        }
    }

    #[test]
    fn quantiles() {
        let names = ["0.5", "0.9", "0.95", "0.990", "0.999"].map(|quantile| percentile(quantile).unwrap());
        assert_eq!(names, ["p50", "p90", "p95", "p99", "p999"]);
        for bad in ["", "1", "0.", "0.x", "0.123456", "NaN"] {
            assert_eq!(percentile(bad), None, "{bad}");
        }
    }
}
