use bigdecimal::ToPrimitive;
use datafusion::common::ScalarValue;

use super::fields;
use super::format::{self, Moment};
use super::interval::Span;
use super::scan;
use super::zone::Zone;
use super::{DAY, HOUR, MINUTE, SECOND};
use crate::query::functions::lists::LIST_VALUES_MAX;
use crate::query::functions::overload::{Context, Meaning, meaning, scaled};
use crate::query::functions::value::{Answer, Value};

pub(in crate::query::functions) const MEANINGS: &[Meaning] = &[
    meaning("now() timestamptz", |context, _| Ok(Value::Timestamptz(context.now))),
    meaning("current_timestamp() timestamptz", |context, _| Ok(Value::Timestamptz(context.now))),
    meaning("transaction_timestamp() timestamptz", |context, _| Ok(Value::Timestamptz(context.now))),
    meaning("statement_timestamp() timestamptz", |context, _| Ok(Value::Timestamptz(context.now))),
    meaning("!clock_timestamp() timestamptz", |context, _| Ok(Value::Timestamptz(context.now))),
    meaning("localtimestamp() timestamp", |context, _| Ok(Value::Timestamp(context.zone.local(context.now)?))),
    meaning("current_date() date", |context, _| {
        Ok(Value::Date(super::days_of(super::civil(context.zone.local(context.now)?)?.date())))
    }),
    meaning("localtime() time", |context, _| Ok(Value::Time(context.zone.local(context.now)?.rem_euclid(DAY)))),
    scaled("extract(text, date) numeric", extract, extract_scale),
    scaled("extract(text, timestamptz) numeric", extract, extract_scale),
    scaled("extract(text, timestamp) numeric", extract, extract_scale),
    scaled("extract(text, interval) numeric", extract, extract_scale),
    scaled("extract(text, time) numeric", extract, extract_scale),
    meaning("date_part(text, date) float8", part),
    meaning("date_part(text, timestamptz) float8", part),
    meaning("date_part(text, timestamp) float8", part),
    meaning("date_part(text, interval) float8", part),
    meaning("date_part(text, time) float8", part),
    meaning("date_trunc(text, timestamptz) timestamptz", |context, a| {
        Ok(Value::Timestamptz(fields::truncate_in(a[0].str()?, a[1].micros()?, &context.zone)?))
    }),
    meaning("date_trunc(text, timestamp) timestamp", |_, a| {
        Ok(Value::Timestamp(fields::truncate(a[0].str()?, a[1].micros()?, "timestamp without time zone")?))
    }),
    meaning("date_trunc(text, interval) interval", |_, a| {
        Ok(Value::Interval(fields::truncate_interval(a[0].str()?, a[1].interval()?)?))
    }),
    meaning("date_trunc(text, timestamptz, text) timestamptz", |_, a| {
        Ok(Value::Timestamptz(fields::truncate_in(a[0].str()?, a[1].micros()?, &Zone::named(a[2].str()?)?)?))
    }),
    meaning("date_bin(interval, timestamp, timestamp) timestamp", |_, a| {
        Ok(Value::Timestamp(fields::bin(a[0].interval()?, a[1].micros()?, a[2].micros()?)?))
    }),
    meaning("date_bin(interval, timestamptz, timestamptz) timestamptz", |_, a| {
        Ok(Value::Timestamptz(fields::bin(a[0].interval()?, a[1].micros()?, a[2].micros()?)?))
    }),
    meaning("age(timestamptz, timestamptz) interval", |context, a| {
        let zone = &context.zone;
        Ok(Value::Interval(fields::age(zone.local(a[0].micros()?)?, zone.local(a[1].micros()?)?)?))
    }),
    meaning("age(timestamp, timestamp) interval", |_, a| {
        Ok(Value::Interval(fields::age(a[0].micros()?, a[1].micros()?)?))
    }),
    meaning("age(timestamptz) interval", |context, a| {
        Ok(Value::Interval(fields::age(today(context)?, context.zone.local(a[0].micros()?)?)?))
    }),
    meaning("age(timestamp) interval", |context, a| Ok(Value::Interval(fields::age(today(context)?, a[0].micros()?)?))),
    meaning("timezone(text, timestamptz) timestamp", |_, a| {
        Ok(Value::Timestamp(Zone::named(a[0].str()?)?.local(a[1].micros()?)?))
    }),
    meaning("timezone(text, timestamp) timestamptz", |_, a| {
        Ok(Value::Timestamptz(Zone::named(a[0].str()?)?.instant(a[1].micros()?)?))
    }),
    meaning("timezone(interval, timestamptz) timestamp", |_, a| {
        Ok(Value::Timestamp(offset_of(a[0].interval()?)?.local(a[1].micros()?)?))
    }),
    meaning("timezone(interval, timestamp) timestamptz", |_, a| {
        Ok(Value::Timestamptz(offset_of(a[0].interval()?)?.instant(a[1].micros()?)?))
    }),
    meaning("make_date(int, int, int) date", |_, a| {
        let (year, month, day) = (a[0].int()?, a[1].int()?, a[2].int()?);
        let date = super::ymd(year, month, day);
        date.map(|date| Value::Date(super::days_of(date)))
            .ok_or_else(|| format!("date field value out of range: {year}-{month:02}-{day:02}"))
    }),
    meaning("make_time(int, int, float8) time", |_, a| {
        Ok(Value::Time(clock(a[0].int()?, a[1].int()?, a[2].float()?)?))
    }),
    meaning("make_timestamp(int, int, int, int, int, float8) timestamp", |_, a| Ok(Value::Timestamp(made(a)?))),
    meaning("make_timestamptz(int, int, int, int, int, float8) timestamptz", |context, a| {
        Ok(Value::Timestamptz(context.zone.instant(made(a)?)?))
    }),
    meaning("make_timestamptz(int, int, int, int, int, float8, text) timestamptz", |_, a| {
        Ok(Value::Timestamptz(Zone::named(a[6].str()?)?.instant(made(a)?)?))
    }),
    meaning("make_interval() interval", |_, _| Ok(Value::Interval(Span::default()))),
    meaning("make_interval(int) interval", make_interval),
    meaning("make_interval(int, int) interval", make_interval),
    meaning("make_interval(int, int, int) interval", make_interval),
    meaning("make_interval(int, int, int, int) interval", make_interval),
    meaning("make_interval(int, int, int, int, int) interval", make_interval),
    meaning("make_interval(int, int, int, int, int, int) interval", make_interval),
    meaning("make_interval(int, int, int, int, int, int, float8) interval", make_interval),
    meaning("justify_hours(interval) interval", |_, a| Ok(Value::Interval(a[0].interval()?.justify_hours()?))),
    meaning("justify_days(interval) interval", |_, a| Ok(Value::Interval(a[0].interval()?.justify_days()?))),
    meaning("justify_interval(interval) interval", |_, a| Ok(Value::Interval(a[0].interval()?.justify()?))),
    meaning("isfinite(date) boolean", |_, _| Ok(Value::Bool(true))),
    meaning("isfinite(timestamptz) boolean", |_, _| Ok(Value::Bool(true))),
    meaning("isfinite(timestamp) boolean", |_, _| Ok(Value::Bool(true))),
    meaning("isfinite(interval) boolean", |_, _| Ok(Value::Bool(true))),
    meaning("to_char(timestamptz, text) text", |context, a| {
        let instant = a[0].micros()?;
        let zone = Some((context.zone.abbreviation(instant)?, context.zone.offset(instant)?));
        show(&Moment { civil: super::civil(context.zone.local(instant)?)?, zone }, a[1].str()?)
    }),
    meaning("to_char(timestamp, text) text", |_, a| {
        show(&Moment { civil: super::civil(a[0].micros()?)?, zone: None }, a[1].str()?)
    }),
    meaning("to_char(interval, text) text", |_, a| match a[1].str()? {
        "" => Ok(Value::Null),
        format => format::interval(a[0].interval()?, format).map(Value::Text),
    }),
    meaning("to_timestamp(float8) timestamptz", |_, a| {
        let micros = (a[0].float()? * SECOND as f64).round_ties_even();
        if !micros.is_finite() || micros.abs() >= 9.0e18 {
            return Err(format!("timestamp out of range: \"{}\"", a[0].float()?));
        }
        super::civil(micros as i64)?;
        Ok(Value::Timestamptz(micros as i64))
    }),
    // Without a format PostgreSQL has none; read as a literal.
    meaning("to_timestamp(text) timestamptz", |context, a| {
        Ok(Value::Timestamptz(super::parse::timestamptz(a[0].str()?, &context.zone, context.now)?))
    }),
    meaning("to_timestamp(text, text) timestamptz", |context, a| {
        let scanned = scan::scan(a[0].str()?, a[1].str()?)?;
        let local = super::at(scanned.date, scanned.micros)?;
        Ok(Value::Timestamptz(scanned.zone.as_ref().unwrap_or(&context.zone).instant(local)?))
    }),
    meaning("to_date(text, text) date", |_, a| {
        Ok(Value::Date(super::days_of(scan::scan(a[0].str()?, a[1].str()?)?.date)))
    }),
    meaning("generate_series(timestamp, timestamp, interval) timestamp[]", |_, a| {
        series(a, fields::add, Value::Timestamp)
    }),
    meaning("generate_series(timestamptz, timestamptz, interval) timestamptz[]", |context, a| {
        series(a, |from, step| fields::add_in(from, step, &context.zone), Value::Timestamptz)
    }),
];

fn extract(context: &Context, a: &[Value]) -> Answer {
    fields::extract(a[0].str()?, &a[1], &context.zone).map(Value::Numeric)
}

fn extract_scale(_: &[arrow::datatypes::DataType], constants: &[Option<ScalarValue>]) -> i8 {
    match constants.first() {
        Some(Some(field)) => field.try_as_str().flatten().map_or(6, fields::scale),
        _ => 6,
    }
}

fn part(context: &Context, a: &[Value]) -> Answer {
    let exact = fields::extract(a[0].str()?, &a[1], &context.zone)?;
    exact.to_f64().map(Value::Float).ok_or_else(|| "value out of range".to_owned())
}

fn show(moment: &Moment, format: &str) -> Answer {
    // PostgreSQL's answer to an empty format is no text at all.
    if format.is_empty() {
        return Ok(Value::Null);
    }
    format::moment(moment, format).map(Value::Text)
}

fn today(context: &Context) -> Result<i64, String> {
    let local = context.zone.local(context.now)?;
    Ok(local - local.rem_euclid(DAY))
}

fn offset_of(span: Span) -> Result<Zone, String> {
    if span.months != 0 || span.days != 0 {
        return Err("interval time zone must not include months or days".to_owned());
    }
    let seconds = i32::try_from(span.micros / SECOND).map_err(|_| "time zone displacement out of range")?;
    chrono::FixedOffset::east_opt(seconds)
        .map(Zone::Fixed)
        .ok_or_else(|| "time zone displacement out of range".to_owned())
}

fn clock(hour: i64, minute: i64, second: f64) -> Result<i64, String> {
    let wrong = || format!("time field value out of range: {hour}:{minute:02}:{second:02}");
    if !(0..=24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..=60.0).contains(&second) {
        return Err(wrong());
    }
    let micros = hour * HOUR + minute * MINUTE + (second * SECOND as f64).round_ties_even() as i64;
    if micros > DAY { Err(wrong()) } else { Ok(micros) }
}

fn made(a: &[Value]) -> Result<i64, String> {
    let (year, month, day) = (a[0].int()?, a[1].int()?, a[2].int()?);
    let date = super::ymd(year, month, day)
        .ok_or_else(|| format!("date field value out of range: {year}-{month:02}-{day:02}"))?;
    super::at(date, clock(a[3].int()?, a[4].int()?, a[5].float()?)?)
}

/// Years, months, weeks, days, hours, minutes, seconds.
fn make_interval(_: &Context, a: &[Value]) -> Answer {
    let part = |index: usize| a.get(index).map_or(Ok(0), Value::int);
    let range = || "interval out of range".to_owned();
    let months = part(0)?.checked_mul(12).and_then(|months| months.checked_add(part(1).ok()?)).ok_or_else(range)?;
    let days = part(2)?.checked_mul(7).and_then(|days| days.checked_add(part(3).ok()?)).ok_or_else(range)?;
    let seconds = a.get(6).map_or(Ok(0.0), Value::float)?;
    if !seconds.is_finite() || seconds.abs() > 9.0e12 {
        return Err(range());
    }
    let micros = part(4)?
        .checked_mul(HOUR)
        .and_then(|hours| hours.checked_add(part(5).ok()?.checked_mul(MINUTE)?))
        .and_then(|clock| clock.checked_add((seconds * SECOND as f64).round_ties_even() as i64))
        .ok_or_else(range)?;
    let narrow = |value: i64| i32::try_from(value).map_err(|_| range());
    Ok(Value::Interval(Span { months: narrow(months)?, days: narrow(days)?, micros }))
}

fn series(a: &[Value], step: impl Fn(i64, Span) -> Result<i64, String>, value: fn(i64) -> Value) -> Answer {
    let (from, to, by) = (a[0].micros()?, a[1].micros()?, a[2].interval()?);
    let direction = by.length();
    if direction == 0 {
        return Err("step size cannot equal zero".to_owned());
    }
    let mut values = Vec::new();
    let mut at = from;
    while if direction > 0 { at <= to } else { at >= to } {
        if values.len() >= LIST_VALUES_MAX {
            return Err(format!("more than {LIST_VALUES_MAX} values"));
        }
        values.push(value(at));
        let next = step(at, by)?;
        // A step of months and days may come to nothing: then there is no end.
        if (direction > 0) != (next > at) {
            return Err("the step does not lead on".to_owned());
        }
        at = next;
    }
    Ok(Value::List(values))
}
