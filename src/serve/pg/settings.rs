//! The parameters of a session, as SET and SHOW know them. Nothing in here reaches another session. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use pgwire::types::format::FormatOptions;

use super::error::PgError;

/// One parameter: its name as it is shown, its value where nothing is set, and what may be done with it.
struct Parameter {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    /// Whether a client is told of every change (ParameterStatus).
    reported: bool,
    about: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Bool,
    /// Between two bounds, in no unit.
    Integer(i64, i64),
    /// Milliseconds where no unit is written; 0 is none.
    Time,
    OneOf(&'static [&'static str]),
    TimeZone,
    DateStyle,
    Encoding,
    /// What the server is, not what a session wishes.
    Fixed,
    /// May be set to what it is, and to nothing else: everything else would change what an answer means.
    Only,
}

macro_rules! parameters {
    ($($name:literal $default:expr, $kind:expr, $reported:literal, $about:literal;)+) => {
        const PARAMETERS: &[Parameter] = &[$(
            Parameter { name: $name, default: $default, kind: $kind, reported: $reported, about: $about }
        ),+];
    };
}

const VERSION: &str = super::SERVER_VERSION;

parameters! {
    "application_name" "", Kind::Text, true, "The application's name, shown in pg_stat_activity.";
    "backslash_quote" "safe_encoding", Kind::Only, false, "Whether \\' is a quote in a text.";
    "bytea_output" "hex", Kind::OneOf(&["hex", "escape"]), false, "How bytea is shown as text.";
    "client_encoding" "UTF8", Kind::Encoding, true, "The encoding of every text; there is UTF8 alone.";
    "client_min_messages" "notice", Kind::OneOf(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]), false, "Which messages are sent.";
    "DateStyle" "ISO, MDY", Kind::DateStyle, true, "How dates are shown: ISO.";
    "default_transaction_deferrable" "off", Kind::Bool, false, "Accepted; nothing is ever written.";
    "default_transaction_isolation" "read committed", Kind::OneOf(&["read uncommitted", "read committed", "repeatable read", "serializable"]), false, "Accepted; every query sees one moment.";
    "default_transaction_read_only" "on", Kind::Bool, true, "Accepted; nothing is ever written.";
    "extra_float_digits" "1", Kind::Integer(-15, 3), false, "Digits of floats shown as text.";
    "idle_in_transaction_session_timeout" "0", Kind::Time, false, "Accepted; a transaction holds nothing.";
    "in_hot_standby" "off", Kind::Fixed, true, "Whether this is a standby of another server.";
    "integer_datetimes" "on", Kind::Fixed, true, "Times are integers on the wire.";
    "IntervalStyle" "postgres", Kind::OneOf(&["postgres", "iso_8601", "sql_standard", "postgres_verbose"]), true, "How intervals are shown.";
    "is_superuser" "off", Kind::Fixed, true, "Nobody is.";
    "jit" "off", Kind::Bool, false, "Accepted; there is none.";
    "lock_timeout" "0", Kind::Time, false, "Accepted; there are no locks.";
    "max_identifier_length" "63", Kind::Fixed, false, "As PostgreSQL's.";
    "max_index_keys" "32", Kind::Fixed, false, "As PostgreSQL's.";
    "row_security" "on", Kind::Bool, false, "Accepted; values are withheld by role.";
    "search_path" "\"$user\", public", Kind::Text, false, "Accepted; tables are in public.";
    "server_encoding" "UTF8", Kind::Fixed, true, "The encoding of the history.";
    "server_version" VERSION, Kind::Fixed, true, "The PostgreSQL whose protocol is spoken.";
    "server_version_num" "160004", Kind::Fixed, false, "The same as a number.";
    "session_authorization" "", Kind::Fixed, true, "The user.";
    "standard_conforming_strings" "on", Kind::Only, true, "A backslash in a text is a backslash.";
    "statement_timeout" "0", Kind::Time, false, "The longest that a statement may take; the agent's own limit holds beside it.";
    "synchronize_seqscans" "on", Kind::Bool, false, "Accepted; there is none.";
    "TimeZone" "UTC", Kind::TimeZone, true, "The zone in which times are shown and read.";
    "transaction_deferrable" "off", Kind::Bool, false, "Accepted; nothing is ever written.";
    "transaction_isolation" "read committed", Kind::OneOf(&["read uncommitted", "read committed", "repeatable read", "serializable"]), false, "Accepted; every query sees one moment.";
    "transaction_read_only" "on", Kind::Bool, false, "Accepted; nothing is ever written.";
    "work_mem" "4MB", Kind::Text, false, "Accepted; the agent's own limit holds.";
}

/// The values of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    user: String,
    /// What the connection asked for; RESET goes back to it.
    initial: BTreeMap<&'static str, String>,
    values: BTreeMap<&'static str, String>,
}

/// A parameter that now has another value, by the name that clients know it under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// A row of SHOW ALL and of pg_settings.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) about: &'static str,
    pub(super) default: &'static str,
    pub(super) kind: &'static str,
    pub(super) can_set: bool,
}

fn find(name: &str) -> Result<&'static Parameter, PgError> {
    PARAMETERS.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        PgError::new("42704", format!("unrecognized configuration parameter \"{name}\"")).hint("SHOW ALL lists them")
    })
}

impl Settings {
    pub(super) fn new(user: &str) -> Self {
        Self { user: user.to_owned(), ..Self::default() }
    }

    /// What a connection asks for as it begins becomes what RESET goes back to.
    pub(super) fn begin(&mut self) {
        self.initial = self.values.clone();
    }

    pub(super) fn get(&self, name: &str) -> Result<String, PgError> {
        find(name).map(|parameter| self.value(parameter))
    }

    fn value(&self, parameter: &Parameter) -> String {
        if parameter.name == "session_authorization" {
            return self.user.clone();
        }
        self.values.get(parameter.name).cloned().unwrap_or_else(|| parameter.default.to_owned())
    }

    /// The name as SHOW heads its column.
    pub(super) fn proper_name(name: &str) -> Result<&'static str, PgError> {
        find(name).map(|parameter| parameter.name)
    }

    /// Sets a parameter; `None` is its value as the session began.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), PgError> {
        let parameter = find(name)?;
        match value {
            None => {
                match self.initial.get(parameter.name) {
                    Some(value) => self.values.insert(parameter.name, value.clone()),
                    None => self.values.remove(parameter.name),
                };
            }
            Some(value) => {
                let value = parse(parameter, value)?;
                self.values.insert(parameter.name, value);
            }
        }
        Ok(())
    }

    pub(super) fn reset_all(&mut self) {
        self.values = self.initial.clone();
    }

    /// What a client has to be told after these became `self`.
    pub(super) fn changed_since(&self, before: &Self) -> Vec<Changed> {
        let reported = PARAMETERS.iter().filter(|parameter| parameter.reported);
        reported
            .filter(|parameter| self.value(parameter) != before.value(parameter))
            .map(|parameter| Changed { name: parameter.name, value: self.value(parameter) })
            .collect()
    }

    /// What a client is told as its session begins.
    pub(super) fn reported(&self) -> Vec<Changed> {
        let reported = PARAMETERS.iter().filter(|parameter| parameter.reported);
        reported.map(|parameter| Changed { name: parameter.name, value: self.value(parameter) }).collect()
    }

    pub(super) fn all(&self) -> Vec<Shown> {
        PARAMETERS
            .iter()
            .map(|parameter| Shown {
                name: parameter.name,
                value: self.value(parameter),
                about: parameter.about,
                default: parameter.default,
                kind: match parameter.kind {
                    Kind::Bool => "bool",
                    Kind::Integer(..) | Kind::Time => "integer",
                    Kind::OneOf(_) => "enum",
                    _ => "string",
                },
                can_set: parameter.kind != Kind::Fixed,
            })
            .collect()
    }

    pub(super) fn time_zone(&self) -> String {
        self.get("TimeZone").unwrap_or_default()
    }

    pub(super) fn application_name(&self) -> String {
        self.get("application_name").unwrap_or_default()
    }

    /// `None`: no bound of the session's own.
    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        let text = self.get("statement_timeout").unwrap_or_default();
        milliseconds(&text).filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    pub(super) fn format_options(&self) -> FormatOptions {
        let mut options = FormatOptions::default();
        // The encoder reads the style's first word; what follows it is about reading dates, which are ISO only.
        "ISO, YMD".clone_into(&mut options.date_style);
        options.interval_style = self.get("IntervalStyle").unwrap_or_default();
        options.bytea_output = self.get("bytea_output").unwrap_or_default();
        options.extra_float_digits =
            self.get("extra_float_digits").ok().and_then(|digits| digits.parse().ok()).unwrap_or(1);
        options
    }
}

fn parse(parameter: &Parameter, text: &str) -> Result<String, PgError> {
    let invalid = || PgError::invalid_value(parameter.name, text);
    let text = text.trim();
    match parameter.kind {
        Kind::Text => Ok(text.to_owned()),
        Kind::Bool => boolean(text).map(|on| if on { "on" } else { "off" }.to_owned()).ok_or_else(invalid),
        Kind::Integer(min, max) => {
            text.parse().ok().filter(|n: &i64| (min..=max).contains(n)).map(|n| n.to_string()).ok_or_else(|| {
                PgError::new(
                    "22023",
                    format!("{text} is outside the valid range for parameter \"{}\" ({min} .. {max})", parameter.name),
                )
            })
        }
        Kind::Time => milliseconds(text).map(shown_time).ok_or_else(|| {
            invalid().hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
        }),
        Kind::OneOf(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text))
            .map(|word| (*word).to_owned())
            .ok_or_else(|| invalid().hint(format!("Available values: {}.", words.join(", ")))),
        Kind::TimeZone => time_zone(text).ok_or_else(|| {
            invalid().hint("Write a zone of the IANA database, such as Europe/Berlin, or an offset, such as +02:00")
        }),
        Kind::DateStyle => date_style(text)
            .ok_or_else(|| PgError::new("0A000", format!("dates are shown in ISO style only, not in {text:?}"))),
        Kind::Encoding => {
            let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
            match plain.to_ascii_lowercase().as_str() {
                "utf8" | "unicode" => Ok("UTF8".to_owned()),
                _ => Err(PgError::new("0A000", format!("there is no client_encoding but UTF8, not {text:?}"))),
            }
        }
        Kind::Only => match text.eq_ignore_ascii_case(parameter.default)
            || boolean(text).is_some_and(|on| on && parameter.default == "on")
        {
            true => Ok(parameter.default.to_owned()),
            false => Err(PgError::new("0A000", format!("{} is always {}", parameter.name, parameter.default))),
        },
        Kind::Fixed => Err(PgError::new("55P02", format!("parameter \"{}\" cannot be changed", parameter.name))),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "t" | "yes" | "y" | "1" => Some(true),
        "off" | "false" | "f" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: f64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let milliseconds = (number * factor).round();
    (milliseconds <= f64::from(i32::MAX)).then_some(milliseconds as u64)
}

/// As PostgreSQL shows it: in the greatest unit that leaves nothing over.
fn shown_time(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    let unit = UNITS.iter().find(|(factor, _)| milliseconds > 0 && milliseconds.is_multiple_of(*factor));
    unit.map_or_else(|| "0".to_owned(), |(factor, unit)| format!("{}{unit}", milliseconds / factor))
}

/// A zone that times can be shown in, spelt as the database of zones has it.
fn time_zone(text: &str) -> Option<String> {
    let text = text.trim().trim_matches('\'');
    if matches!(text.to_ascii_uppercase().as_str(), "UTC" | "GMT" | "Z" | "UCT" | "ETC/UTC" | "LOCAL" | "DEFAULT" | "0")
    {
        return Some("UTC".to_owned());
    }
    // `SET TIME ZONE 2`: hours east of Greenwich.
    if let Ok(hours) = text.parse::<f64>() {
        let minutes = (hours * 60.0).round();
        return (minutes.abs() <= 14.0 * 60.0).then(|| {
            let sign = if minutes < 0.0 { '-' } else { '+' };
            let minutes = minutes.abs() as u32;
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        });
    }
    if text.starts_with(['+', '-']) {
        // An offset with a colon; PostgreSQL reads one as hours east of Greenwich in this place.
        return text.parse::<arrow::array::timezone::Tz>().is_ok().then(|| text.to_owned());
    }
    let mut zones = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    zones.find(|name| name.eq_ignore_ascii_case(text)).map(str::to_owned)
}

/// ISO with any order of day and month: the order matters only for texts that are not ISO, and none such are read.
fn date_style(text: &str) -> Option<String> {
    let (mut iso, mut order) = (true, "MDY");
    for word in text.split(',').map(str::trim) {
        match word.to_ascii_uppercase().as_str() {
            "ISO" => iso = true,
            "MDY" | "US" | "NONEURO" | "NONEUROPEAN" => order = "MDY",
            "DMY" | "EURO" | "EUROPEAN" => order = "DMY",
            "YMD" => order = "YMD",
            "DEFAULT" => {}
            _ => iso = false,
        }
    }
    iso.then(|| format!("ISO, {order}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_postgresql_reads_them() {
        let mut settings = Settings::new("ada");
        for (name, value, shown) in [
            ("statement_timeout", "1500", "1500ms"),
            ("statement_timeout", "2s", "2s"),
            ("STATEMENT_TIMEOUT", "90min", "90min"),
            ("statement_timeout", "0", "0"),
            ("timezone", "europe/berlin", "Europe/Berlin"),
            ("TimeZone", "utc", "UTC"),
            ("TimeZone", "+02:00", "+02:00"),
            ("TimeZone", "-3.5", "-03:30"),
            ("datestyle", "ISO", "ISO, MDY"),
            ("datestyle", "iso, dmy", "ISO, DMY"),
            ("client_encoding", "utf-8", "UTF8"),
            ("standard_conforming_strings", "on", "on"),
            ("extra_float_digits", "3", "3"),
            ("default_transaction_isolation", "REPEATABLE READ", "repeatable read"),
        ] {
            settings.set(name, Some(value)).unwrap();
            assert_eq!(settings.get(name).unwrap(), shown, "{name} = {value}");
        }
        for (name, value, code) in [
            ("nonsense", "1", "42704"),
            ("datafusion.execution.batch_size", "1", "42704"),
            ("statement_timeout", "-1", "22023"),
            ("statement_timeout", "1 fortnight", "22023"),
            ("TimeZone", "Mars/Olympus", "22023"),
            ("datestyle", "German", "0A000"),
            ("client_encoding", "LATIN1", "0A000"),
            ("standard_conforming_strings", "off", "0A000"),
            ("server_version", "17", "55P02"),
        ] {
            assert_eq!(settings.set(name, Some(value)).unwrap_err().code, code, "{name} = {value}");
        }
    }

    #[test]
    fn reset_goes_back_to_what_the_connection_asked_for() {
        let mut settings = Settings::new("ada");
        settings.set("TimeZone", Some("Asia/Tokyo")).unwrap();
        settings.begin();
        let before = settings.clone();
        settings.set("TimeZone", Some("UTC")).unwrap();
        let told = settings.changed_since(&before);
        assert_eq!(told, [Changed { name: "TimeZone", value: "UTC".to_owned() }]);
        settings.set("TimeZone", None).unwrap();
        assert_eq!(settings.time_zone(), "Asia/Tokyo");
    }
}
