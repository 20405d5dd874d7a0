//! Rules in a hurry: every duration of a rule file divided, so that what takes minutes takes seconds.

use std::time::Duration;

/// What took 30 seconds takes one.
const FACTOR: u32 = 30;
/// Four samples of a server that is asked every second, and eight scrapes.
const RANGE_MIN: Duration = Duration::from_secs(4);
/// Longer than an election on a busy machine, together with the range before it.
const FOR_MIN: Duration = Duration::from_secs(3);

/// How long something of this length takes in hurried rules.
pub fn hurried(duration: Duration) -> Duration {
    (duration / FACTOR).max(RANGE_MIN)
}

/// The rules, with every `for:`, range and offset divided. Nothing else is changed: names and comments stay.
pub fn hurry(rules: &str) -> String {
    rules.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn line(line: &str) -> String {
    let trimmed = line.trim_start();
    if trimmed.starts_with('#') {
        return line.to_owned();
    }
    if let Some(waits) = trimmed.strip_prefix("for: ").and_then(duration) {
        let waits = if waits.is_zero() { waits } else { (waits / FACTOR).max(FOR_MIN) };
        return format!("{}for: {}ms", &line[..line.len() - trimmed.len()], waits.as_millis());
    }
    let ranges = replace(line, "[", |text| text.split_once(']').map(|(range, _)| range));
    replace(&ranges, "offset ", |text| text.split(|c: char| !c.is_ascii_alphanumeric()).next())
}

/// Divides each duration that follows `before`; `find` cuts it off the text behind that.
fn replace(line: &str, before: &str, find: impl Fn(&str) -> Option<&str>) -> String {
    let mut parts = line.split(before);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += before;
        match find(part).and_then(|found| Some((found, duration(found)?))) {
            Some((found, duration)) => {
                text += &format!("{}ms{}", hurried(duration).as_millis(), &part[found.len()..]);
            }
            None => text += part,
        }
    }
    text
}

/// `5m`, as rule files have it: one number and one unit.
fn duration(text: &str) -> Option<Duration> {
    let (number, seconds) = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))?;
    Some(Duration::from_secs(number.parse::<u64>().ok()? * seconds))
}

#[test]
fn only_durations_are_divided() {
    for (rule, expected) in [
        ("        for: 5m", "        for: 10000ms"),
        ("        for: 0s", "        for: 0ms"),
        ("        for: 30s", "        for: 3000ms"),
        ("  # for 5m: a[5m]", "  # for 5m: a[5m]"),
        ("expr: rate(a:b:mean5m[5m]) > 5", "expr: rate(a:b:mean5m[10000ms]) > 5"),
        ("max_over_time(a[1d] offset 1h) > b{c=\"d\"}", "max_over_time(a[2880000ms] offset 120000ms) > b{c=\"d\"}"),
        ("avg_over_time(a[2m]) and b offset 10m > 1", "avg_over_time(a[4000ms]) and b offset 20000ms > 1"),
    ] {
        assert_eq!(line(rule), expected);
    }
}
