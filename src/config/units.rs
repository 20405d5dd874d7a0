use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is no duration, size, share or count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("{0:?} is no duration: write a number and a unit (ms, s, m, h, d, w), for example 90d, 15m or 1h30m")]
    Duration(String),
    #[error("{0:?} is no size: write a number and a unit (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB), for example 64MiB")]
    Size(String),
    #[error("{0:?} is no share: write a percentage from 0% to 100%, for example 5%")]
    Percent(String),
    #[error("{0:?} is no count: write a whole number above 0, for example 20000 or 20_000")]
    Count(String),
}

/// A duration such as `15m`, `90d` or `1h30m`. A unit is a must: `ms`, `s`, `m`, `h`, `d`, `w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::Duration(text.to_owned());
        let mut rest = text.trim();
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let (number, unit_start) = leading_number(rest).ok_or_else(error)?;
            let unit_end = unit_start.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit_start.len());
            let (unit, next) = unit_start.split_at(unit_end);
            let seconds = match unit {
                "ms" => 0.001,
                "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                "w" => 604_800.0,
                _ => return Err(error()),
            };
            let piece = Duration::try_from_secs_f64(number * seconds).map_err(|_| error())?;
            total = total.checked_add(piece).ok_or_else(error)?;
            rest = next.trim_start();
        }
        Ok(Self(total))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        let fitting = units.iter().find(|(size, _)| millis >= *size && millis.is_multiple_of(*size));
        match fitting {
            Some((size, unit)) => write!(f, "{}{unit}", millis / size),
            None => f.write_str("0s"),
        }
    }
}

/// A size in bytes such as `64MiB`, `50GB` or `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::Size(text.to_owned());
        let (number, unit) = leading_number(text.trim()).ok_or_else(error)?;
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" | "k" => 1_000,
            "mb" | "m" => 1_000_000,
            "gb" | "g" => 1_000_000_000,
            "tb" | "t" => 1_000_000_000_000,
            "kib" | "ki" => 1 << 10,
            "mib" | "mi" => 1 << 20,
            "gib" | "gi" => 1 << 30,
            "tib" | "ti" => 1 << 40,
            _ => return Err(error()),
        };
        let bytes = number * factor as f64;
        // Above 2^53 a float no longer counts single bytes, and no disk is that large.
        if bytes.fract() != 0.0 && factor == 1 || bytes > 9e15 { Err(error()) } else { Ok(Self(bytes as u64)) }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units: [(u64, &str); 8] = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1_000_000_000_000, "TB"),
            (1_000_000_000, "GB"),
            (1_000_000, "MB"),
            (1 << 10, "KiB"),
            (1_000, "kB"),
        ];
        match units.iter().find(|(size, _)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((size, unit)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A share of a whole, written as a percentage.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

impl Percent {
    /// From 0.0 to 1.0.
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::Percent(text.to_owned());
        let number = text.trim().strip_suffix('%').ok_or_else(error)?;
        match leading_number(number.trim()) {
            Some((number, "")) if number <= 100.0 => Ok(Self(number)),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A whole number above zero; underscores may group its digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

impl FromStr for Count {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let digits = text.trim().replace('_', "");
        match digits.parse() {
            Ok(count) if count > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self(count)),
            _ => Err(UnitError::Count(text.to_owned())),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A bound that `off` takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrOff<T> {
    Off,
    On(T),
}

impl<T> OrOff<T> {
    /// `None` where it is off.
    pub fn on(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

impl<T: FromStr> FromStr for OrOff<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text.trim() == "off" { Ok(Self::Off) } else { text.parse().map(Self::On) }
    }
}

/// Splits `1.5GiB` into the number and the rest. At most one dot, no sign, no exponent.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let number: f64 = number.replace('_', "").parse().ok()?;
    number.is_finite().then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |text: &str| text.parse::<HumanDuration>().map(|duration| duration.0.as_secs_f64());
        assert_eq!(seconds("15m"), Ok(900.0));
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        assert_eq!(seconds("1h 30m"), Ok(5400.0));
        assert_eq!(seconds("90d"), Ok(7_776_000.0));
        assert_eq!(seconds("500ms"), Ok(0.5));
        assert_eq!(seconds("1.5s"), Ok(1.5));
        for bad in ["", "15", "m", "-1s", "1y", "1 fortnight", "1e3s", "1..2s", "99999999999999999999d", "1s x"] {
            assert_eq!(seconds(bad), Err(UnitError::Duration(bad.to_owned())), "{bad}");
        }
        assert_eq!(HumanDuration(Duration::from_secs(900)).to_string(), "15m");
        assert_eq!(HumanDuration(Duration::ZERO).to_string(), "0s");
    }

    #[test]
    fn sizes() {
        let bytes = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("50GB"), Ok(50_000_000_000));
        assert_eq!(bytes("1.5 KiB"), Ok(1536));
        assert_eq!(bytes("1_048_576"), Ok(1 << 20));
        for bad in ["", "x", "-1", "1.5", "1 furlong", "1e9", "100000TB", "MiB"] {
            assert_eq!(bytes(bad), Err(UnitError::Size(bad.to_owned())), "{bad}");
        }
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
        assert_eq!(ByteSize(50_000_000_000).to_string(), "50GB");
        assert_eq!(ByteSize(7).to_string(), "7B");
    }

    #[test]
    fn shares_and_counts() {
        assert_eq!("5%".parse(), Ok(Percent(5.0)));
        assert_eq!("0.5 %".parse::<Percent>().map(Percent::fraction), Ok(0.005));
        for bad in ["5", "101%", "-1%", "%", "5%%"] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
        assert_eq!("20_000".parse(), Ok(Count(20_000)));
        for bad in ["0", "-1", "1.5", "", "+5", "x"] {
            assert!(bad.parse::<Count>().is_err(), "{bad}");
        }
        assert_eq!("off".parse::<OrOff<Count>>(), Ok(OrOff::Off));
        assert_eq!("7".parse::<OrOff<Count>>(), Ok(OrOff::On(Count(7))));
    }
}
