//! One line of an audit log. Pure.

use chrono::{NaiveDate, NaiveDateTime};

use super::LogZone;
use crate::zk::{AuditEntry, Micros, is_well_formed};

/// Why a line that holds an audit log's fields is none that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("there is no date and time in front of its fields: the logging pattern needs %d{{ISO8601}}")]
    NoTime,
    #[error("it names no operation")]
    NoOperation,
    #[error("its result is neither success, failure nor invoked: it is cut short")]
    NoResult,
    #[error("its session is no number")]
    BadSession,
}

const KEYS: [&str; 9] = ["session", "user", "ip", "operation", "znode", "znode_type", "znode type", "acl", "result"];
const RESULTS: [&str; 3] = ["success", "failure", "invoked"];

/// Reads a line; `None` where it is none of an audit log.
pub fn parse(line: &str, zone: LogZone) -> Option<Result<AuditEntry, LineError>> {
    let start = fields_start(line)?;
    let (front, fields) = (line.get(..start)?, line.get(start..)?);
    let mut found = Fields::default();
    for field in fields.split('\t') {
        let Some((key, value)) = field.split_once('=') else { continue };
        found.put(key.trim(), value);
    }
    // Other loggers write `user=` now and then; nobody else writes an operation and a result, too.
    if found.operation.is_none() && found.result.is_none() {
        return None;
    }
    Some(entry(front, &found, zone))
}

#[derive(Default)]
struct Fields<'a> {
    session: Option<&'a str>,
    user: Option<&'a str>,
    ip: Option<&'a str>,
    operation: Option<&'a str>,
    znode: Option<&'a str>,
    znode_type: Option<&'a str>,
    acl: Option<&'a str>,
    result: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn put(&mut self, key: &str, value: &'a str) {
        let place = match key {
            "session" => &mut self.session,
            "user" => &mut self.user,
            "ip" => &mut self.ip,
            "operation" => &mut self.operation,
            "znode" => &mut self.znode,
            "znode_type" | "znode type" => &mut self.znode_type,
            "acl" => &mut self.acl,
            "result" => &mut self.result,
            _ => return,
        };
        *place = Some(value);
    }
}

fn entry(front: &str, fields: &Fields<'_>, zone: LogZone) -> Result<AuditEntry, LineError> {
    let result = fields.result.map(str::trim_end).filter(|result| RESULTS.contains(result));
    let result = result.ok_or(LineError::NoResult)?;
    let operation = fields.operation.map(str::trim).filter(|operation| !operation.is_empty());
    let path = fields.znode.filter(|path| is_well_formed(path));
    Ok(AuditEntry {
        time: time(front, zone).ok_or(LineError::NoTime)?,
        session_id: fields.session.map(session).transpose()?,
        user: text(fields.user),
        address: text(fields.ip).map(|address| super::super::connections::plain_host(&address)),
        operation: operation.ok_or(LineError::NoOperation)?.to_owned(),
        path: path.map(Into::into),
        node_type: text(fields.znode_type),
        acl: text(fields.acl).map(|acl| masked(&acl)),
        result: result.to_owned(),
    })
}

fn text(value: Option<&str>) -> Option<String> {
    value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// `0x` and a hexadecimal number of 64 bits, whose first may be set.
fn session(text: &str) -> Result<i64, LineError> {
    let digits = text.trim().strip_prefix("0x").ok_or(LineError::BadSession)?;
    u64::from_str_radix(digits, 16).map(|id| id as i64).map_err(|_| LineError::BadSession)
}

/// Where the first field begins: at one of the keys, behind white space or at the line's start.
fn fields_start(line: &str) -> Option<usize> {
    let starts = KEYS.iter().filter_map(|key| {
        let mut from = 0;
        loop {
            let at = from + line.get(from..)?.find(key)?;
            let behind_space = line.get(..at)?.chars().next_back().is_none_or(char::is_whitespace);
            if behind_space && line.get(at + key.len()..)?.starts_with('=') {
                return Some(at);
            }
            from = at + key.len();
        }
    });
    starts.min()
}

/// The digest scheme's hashes as `***`: `digest:bob:hash:cdrwa` and, in a list, `,digest:…`.
fn masked(acl: &str) -> String {
    const SCHEME: &str = "digest:";
    let mut out = String::with_capacity(acl.len());
    let mut rest = acl;
    while let Some(at) = rest.find(SCHEME) {
        let (before, found) = rest.split_at(at);
        let (scheme, id) = found.split_at(SCHEME.len());
        out.push_str(before);
        out.push_str(scheme);
        let user = id.find([':', ',']).unwrap_or(id.len());
        let (user, behind) = id.split_at(user);
        out.push_str(user);
        rest = behind;
        if let Some(hash) = behind.strip_prefix(':') {
            let hash = hash.find([':', ',']).unwrap_or(hash.len());
            out.push_str(":***");
            rest = behind.get(1 + hash..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

/// The last date and time in front of the fields, in the zone that it names or else in `zone`.
fn time(front: &str, zone: LogZone) -> Option<Micros> {
    let bytes = front.as_bytes();
    let shape = |at: usize| {
        let window = bytes.get(at..at + SHAPE.len())?;
        let fits = window.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b' ' => matches!(byte, b' ' | b'T'),
            other => byte == other,
        });
        fits.then_some(at)
    };
    let at = (0..bytes.len()).find_map(shape)?;
    let number = |from: usize, to: usize| front.get(at + from..at + to)?.parse::<u32>().ok();
    let date = NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(5, 7)?, number(8, 10)?)?;
    let rest = front.get(at + SHAPE.len()..)?;
    let digits = rest.strip_prefix([',', '.', ':']).map(digits).unwrap_or_default();
    let behind = if digits.is_empty() { rest } else { rest.get(1 + digits.len()..)? };
    let micros = format!("{:0<6}", digits.get(..digits.len().min(6))?).parse::<u32>().ok()?;
    let local: NaiveDateTime = date.and_hms_micro_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?, micros)?;
    match offset(behind) {
        Some(own) => own.moment(local),
        None => zone.moment(local),
    }
}

const SHAPE: &[u8; 19] = b"0000-00-00 00:00:00";

fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// `Z`, `+0200`, `+02:00`, also behind a blank.
fn offset(text: &str) -> Option<LogZone> {
    let word = text.strip_prefix(' ').unwrap_or(text);
    let word = word.split(|c: char| c.is_whitespace() || c == ']').next().unwrap_or_default();
    match word {
        "Z" => Some(LogZone::default()),
        _ if word.starts_with(['+', '-']) && word.len() >= 5 => word.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
