//! `to_char` of numbers, and `to_number`: the numeric patterns of PostgreSQL.

use bigdecimal::num_traits::Signed;
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};

use crate::query::functions::time::format::ordinal_of;

/// Where the sign stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sign {
    /// `-` at once before the first digit, else a blank.
    Plain,
    /// `S` before or behind: `-` or `+` beside the digits.
    AnchoredBefore,
    AnchoredBehind,
    /// `PR`: in angle brackets.
    Brackets,
    /// Each `MI`, `PL`, `SG` stands where it is written.
    Placed,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    /// 9 or 0.
    Digit,
    Point,
    Group,
    Minus,
    Plus,
    SignHere,
    Ordinal(bool),
    Text(char),
}

struct Format {
    pieces: Vec<Piece>,
    sign: Sign,
    fill: bool,
    before: usize,
    behind: usize,
    /// Digits before the point that are shown even where they are leading zeros, counted from the point.
    zeros_before: usize,
    /// Digits behind the point that stay though they are trailing zeros, with FM.
    zeros_behind: usize,
    shift: u32,
    shifts: bool,
}

fn parse(format: &str) -> Result<Format, String> {
    let mut pieces = Vec::new();
    let mut result = Format {
        pieces: Vec::new(),
        sign: Sign::Plain,
        fill: false,
        before: 0,
        behind: 0,
        zeros_before: 0,
        zeros_behind: 0,
        shift: 0,
        shifts: false,
    };
    let mut zero_seen_at = None;
    let mut point = false;
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let upper: String = rest.chars().take(4).collect::<String>().to_ascii_uppercase();
        let mut length = first.len_utf8();
        if upper.starts_with("EEEE") {
            return Err("the pattern EEEE is not supported".to_owned());
        } else if upper.starts_with("RN") {
            return Err("the pattern RN is not supported beside others".to_owned());
        } else if upper.starts_with("FM") {
            result.fill = true;
            length = 2;
        } else if upper.starts_with("MI") {
            result.sign = Sign::Placed;
            pieces.push(Piece::Minus);
            length = 2;
        } else if upper.starts_with("PL") {
            pieces.push(Piece::Plus);
            length = 2;
        } else if upper.starts_with("SG") {
            result.sign = Sign::Placed;
            pieces.push(Piece::SignHere);
            length = 2;
        } else if upper.starts_with("PR") {
            result.sign = Sign::Brackets;
            length = 2;
        } else if upper.starts_with("TH") {
            pieces.push(Piece::Ordinal(rest.starts_with("TH")));
            length = 2;
        } else {
            match first.to_ascii_uppercase() {
                '9' | '0' => {
                    if result.shifts {
                        result.shift += 1;
                    }
                    if point {
                        result.behind += 1;
                        if first == '0' {
                            result.zeros_behind = result.behind;
                        }
                    } else {
                        if first == '0' && zero_seen_at.is_none() {
                            zero_seen_at = Some(result.before);
                        }
                        result.before += 1;
                    }
                    pieces.push(Piece::Digit);
                }
                '.' | 'D' => {
                    if point {
                        return Err("multiple decimal points".to_owned());
                    }
                    if result.shifts {
                        return Err("cannot use \"V\" and decimal point together".to_owned());
                    }
                    point = true;
                    pieces.push(Piece::Point);
                }
                ',' | 'G' => pieces.push(Piece::Group),
                'V' => {
                    if point {
                        return Err("cannot use \"V\" and decimal point together".to_owned());
                    }
                    result.shifts = true;
                }
                'S' => {
                    if result.sign != Sign::Plain {
                        return Err("cannot use \"S\" twice or with \"PL\"/\"MI\"/\"SG\"/\"PR\"".to_owned());
                    }
                    result.sign =
                        if result.before + result.behind == 0 { Sign::AnchoredBefore } else { Sign::AnchoredBehind };
                }
                'L' => return Err("the pattern L is not supported: there is no currency".to_owned()),
                '"' => {
                    let quoted = rest.get(1..).unwrap_or_default();
                    let end = quoted.find('"').unwrap_or(quoted.len());
                    pieces.extend(quoted.get(..end).unwrap_or_default().chars().map(Piece::Text));
                    length = (end + 2).min(rest.len());
                }
                _ => pieces.push(Piece::Text(first)),
            }
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    if result.sign == Sign::Brackets
        && pieces.iter().any(|piece| matches!(piece, Piece::Minus | Piece::Plus | Piece::SignHere))
    {
        return Err("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together".to_owned());
    }
    result.zeros_before = zero_seen_at.map_or(0, |at| result.before - at);
    result.pieces = pieces;
    Ok(result)
}

/// A number by a format. Where it has more digits than the format, `#` stands for each.
pub(in crate::query::functions) fn to_char(value: &BigDecimal, format: &str) -> Result<String, String> {
    if format.is_empty() {
        return Ok(String::new());
    }
    let upper = format.to_ascii_uppercase();
    if upper == "RN" || upper == "FMRN" {
        return Ok(roman(value, upper == "FMRN", format.contains("rn")));
    }
    if let Some(digits) = upper.strip_suffix("EEEE") {
        return scientific(value, digits);
    }
    let format = parse(format)?;
    let shifted = match format.shifts {
        true => value * BigDecimal::from(10_i64.pow(format.shift.min(18))),
        false => value.clone(),
    };
    let places = i64::try_from(format.behind).unwrap_or(0);
    let rounded = shifted.with_scale_round(places, RoundingMode::HalfUp);
    let negative = rounded.is_negative();
    let plain = rounded.abs().to_plain_string();
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let whole = if whole == "0" { "" } else { whole };
    let overflows = whole.len() > format.before;
    // Digits right-aligned in their places; blanks where there are none.
    let mut digits: Vec<char> = Vec::new();
    for place in (0..format.before).rev() {
        let digit = whole.len().checked_sub(place + 1).and_then(|at| whole.chars().nth(at));
        digits.push(match digit {
            _ if overflows => '#',
            Some(digit) => digit,
            None if place < format.zeros_before => '0',
            None => ' ',
        });
    }
    // A number below one shows its zero where no place behind the point would say it.
    if whole.is_empty()
        && !overflows
        && format.behind == 0
        && let Some(last) = digits.last_mut().filter(|last| **last == ' ')
    {
        *last = '0';
    }
    let mut fraction: Vec<char> = match overflows {
        true => vec!['#'; format.behind],
        false => fraction.chars().collect(),
    };
    fraction.resize(format.behind, if overflows { '#' } else { '0' });
    if format.fill && !overflows {
        while fraction.len() > format.zeros_behind && fraction.last() == Some(&'0') {
            fraction.pop();
        }
    }
    if format.fill
        && whole.is_empty()
        && fraction.is_empty()
        && !overflows
        && let Some(last) = digits.last_mut().filter(|last| **last == ' ')
    {
        *last = '0';
    }
    Ok(lay_out(&format, &digits, &fraction, negative, whole))
}

fn lay_out(format: &Format, digits: &[char], fraction: &[char], negative: bool, whole: &str) -> String {
    let mut out = String::new();
    let mut sign_pending = matches!(format.sign, Sign::Plain | Sign::Brackets | Sign::AnchoredBefore);
    let sign = match (format.sign, negative) {
        (Sign::Brackets, true) => "<",
        (Sign::AnchoredBefore, true) | (Sign::Plain, true) => "-",
        (Sign::AnchoredBefore, false) => "+",
        _ if format.fill => "",
        _ => " ",
    };
    let mut place = 0;
    let mut behind = 0;
    let mut digit_seen = false;
    let write_sign = |out: &mut String, pending: &mut bool| {
        if std::mem::replace(pending, false) {
            out.push_str(sign);
        }
    };
    for piece in &format.pieces {
        match piece {
            Piece::Digit if place < format.before => {
                let digit = digits.get(place).copied().unwrap_or(' ');
                place += 1;
                if digit == ' ' {
                    if !format.fill {
                        out.push(' ');
                    }
                    continue;
                }
                digit_seen = true;
                write_sign(&mut out, &mut sign_pending);
                out.push(digit);
            }
            Piece::Digit => {
                if let Some(digit) = fraction.get(behind) {
                    out.push(*digit);
                }
                behind += 1;
            }
            Piece::Point => {
                write_sign(&mut out, &mut sign_pending);
                out.push('.');
            }
            Piece::Group if place >= format.before && format.behind > 0 && behind > 0 => out.push(','),
            Piece::Group => {
                if digit_seen {
                    out.push(',');
                } else if !format.fill {
                    out.push(' ');
                }
            }
            Piece::Minus => match (negative, format.fill) {
                (true, _) => out.push('-'),
                (false, false) => out.push(' '),
                (false, true) => {}
            },
            Piece::Plus => match (negative, format.fill) {
                (false, _) => out.push('+'),
                (true, false) => out.push(' '),
                (true, true) => {}
            },
            Piece::SignHere => out.push(if negative { '-' } else { '+' }),
            Piece::Ordinal(upper) => {
                if !negative && format.behind == 0 {
                    let last = whole.get(whole.len().saturating_sub(2)..).and_then(|digits| digits.parse().ok());
                    out.push_str(ordinal_of(last.unwrap_or(0), *upper));
                }
            }
            Piece::Text(character) => out.push(*character),
        }
    }
    write_sign(&mut out, &mut sign_pending);
    match (format.sign, negative) {
        (Sign::Brackets, true) => out.push('>'),
        (Sign::Brackets, false) if !format.fill => out.push(' '),
        (Sign::AnchoredBehind, true) => out.push('-'),
        (Sign::AnchoredBehind, false) => out.push('+'),
        _ => {}
    }
    out
}

fn scientific(value: &BigDecimal, digits: &str) -> Result<String, String> {
    let behind = digits.split_once(['.', 'D']).map_or("", |(_, behind)| behind);
    let plain = digits.chars().all(|c| matches!(c, '9' | '0' | '.' | 'D'));
    if !plain || digits.is_empty() {
        return Err("\"EEEE\" is incompatible with other formats".to_owned());
    }
    let value = value.to_f64().ok_or("value out of range")?;
    let text = format!("{value:.*e}", behind.len());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let blank = if value < 0.0 { "" } else { " " };
    let sign = if exponent < 0 { '-' } else { '+' };
    Ok(format!("{blank}{mantissa}e{sign}{:02}", exponent.abs()))
}

fn roman(value: &BigDecimal, fill: bool, lower: bool) -> String {
    const NUMERALS: [(i64, &str); 13] = [
        (1_000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let number = value.with_scale_round(0, RoundingMode::HalfUp).to_i64().filter(|number| (1..4_000).contains(number));
    let Some(mut number) = number else { return "#".repeat(15) };
    let mut text = String::new();
    for (value, numeral) in NUMERALS {
        while number >= value {
            text.push_str(numeral);
            number -= value;
        }
    }
    if lower {
        text = text.to_lowercase();
    }
    if fill { text } else { format!("{text:>15}") }
}

/// A text by a format: digits where the format has places, the sign where it stands, the rest passed over.
pub(in crate::query::functions) fn to_number(text: &str, format: &str) -> Result<BigDecimal, String> {
    let upper = format.to_ascii_uppercase();
    if ["EEEE", "RN", "V", "TH", "L"].iter().any(|pattern| upper.contains(pattern)) || format.contains('"') {
        return Err(format!("the format \"{format}\" is not supported: it takes 9 0 . D , G S MI PL SG PR FM"));
    }
    let parsed = parse(format)?;
    let mut rest = text.trim_start();
    let mut negative = false;
    let mut number = String::new();
    if parsed.sign == Sign::Brackets && rest.starts_with('<') {
        (negative, rest) = (true, rest.get(1..).unwrap_or_default());
    }
    let mut sign_taken = false;
    let mut behind_point = false;
    for piece in &parsed.pieces {
        if !sign_taken && !matches!(piece, Piece::Text(_)) {
            let trimmed = rest.trim_start();
            if let Some(after) = trimmed.strip_prefix('-') {
                (negative, sign_taken, rest) = (true, true, after);
            } else if let Some(after) = trimmed.strip_prefix('+') {
                (sign_taken, rest) = (true, after);
            } else if number.is_empty() {
                rest = trimmed;
            }
        }
        let next = rest.chars().next();
        match (piece, next) {
            (_, None) => break,
            (Piece::Digit, Some(digit)) if digit.is_ascii_digit() => {
                number.push(digit);
                rest = rest.get(1..).unwrap_or_default();
            }
            // Fewer digits before the point than the format has places for.
            (Piece::Digit, Some(_)) => {}
            (Piece::Point, Some('.')) if !behind_point => {
                number.push('.');
                behind_point = true;
                rest = rest.get(1..).unwrap_or_default();
            }
            (Piece::Group, Some(',')) => rest = rest.get(1..).unwrap_or_default(),
            (Piece::Text(_), Some(character)) => rest = rest.get(character.len_utf8()..).unwrap_or_default(),
            _ => {}
        }
    }
    if !sign_taken && rest.starts_with('-') {
        negative = true;
    }
    let value: BigDecimal = number.parse().map_err(|_| format!("invalid input syntax for type numeric: \"{text}\""))?;
    Ok(if negative { -value } else { value })
}
