use proptest::prelude::*;

use super::*;

/// 2026-11-20T12:30:00Z.
const NOW: Micros = Micros(1_795_177_800_000_000);

fn time(text: &str) -> String {
    match parse(text, NOW) {
        Ok(Bound::Time(time)) => time.to_string().replace(".000000Z", "Z"),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn reads_what_people_write() {
    for (text, expected) in [
        ("now", "2026-11-20T12:30:00Z"),
        (" NOW ", "2026-11-20T12:30:00Z"),
        ("2h", "2026-11-20T10:30:00Z"),
        ("90m", "2026-11-20T11:00:00Z"),
        ("1h30m", "2026-11-20T11:00:00Z"),
        ("30s", "2026-11-20T12:29:30Z"),
        ("3d", "2026-11-17T12:30:00Z"),
        ("1w", "2026-11-13T12:30:00Z"),
        ("0s", "2026-11-20T12:30:00Z"),
        ("2026-11-20", "2026-11-20T00:00:00Z"),
        ("2026-11-20T03:12", "2026-11-20T03:12:00Z"),
        ("2026-11-20 03:12", "2026-11-20T03:12:00Z"),
        ("2026-11-20T03:12:07.25Z", "2026-11-20T03:12:07.250000Z"),
        ("2026-11-20T03:12+01:00", "2026-11-20T02:12:00Z"),
        ("2026-11-20T03:12:00 -0530", "2026-11-20T08:42:00Z"),
        ("2026-11-20T03:12+01", "2026-11-20T02:12:00Z"),
        ("1970-01-01", "1970-01-01T00:00:00Z"),
        // A bare clock time is the last one.
        ("03:12", "2026-11-20T03:12:00Z"),
        ("3:12", "2026-11-20T03:12:00Z"),
        ("12:30", "2026-11-20T12:30:00Z"),
        ("12:30:01", "2026-11-19T12:30:01Z"),
        ("23:59", "2026-11-19T23:59:00Z"),
        ("13:00+01:00", "2026-11-20T12:00:00Z"),
        ("14:00+01:00", "2026-11-19T13:00:00Z"),
        ("00:30+02:00", "2026-11-19T22:30:00Z"),
        ("23:00-05:00", "2026-11-20T04:00:00Z"),
        ("23:00-14:00", "2026-11-19T13:00:00Z"),
    ] {
        assert_eq!(time(text), expected, "{text}");
    }
    assert_eq!(parse("0x1000002a3", NOW), Ok(Bound::Zxid(0x1_0000_02a3)));
    assert_eq!(parse("0X2A", NOW), Ok(Bound::Zxid(42)));
}

#[test]
fn refuses_what_is_anybodys_guess() {
    for text in [
        "",
        " ",
        "soon",
        "2x",
        "h",
        "1h30",
        "-2h",
        "0x",
        "0xzz",
        "0x+5",
        "0xffffffffffffffff",
        "25:00",
        "03:60",
        "2026-13-01",
        "2026-11-31",
        "20.11.2026",
        "2026-11-20T",
        "2026-11-20T25:00",
        "2026-11-20T03:12+99:00",
        "2026-11-20T03:12+1:2:3",
        "ü",
        "2ü",
        "03:ü",
        "2026-11-20T03:12+ü",
        "2026-11-20TT03:12",
    ] {
        assert!(matches!(parse(text, NOW), Err(WhenError::Unknown(_))), "{text}: {:?}", parse(text, NOW));
    }
    let bare = parse("4294967298", NOW).unwrap_err().to_string();
    assert!(bare.contains("0x100000002"), "{bare}");
    for text in ["99999999999999999999h", "9999999w", "2999-01-01", "1969-12-31", "3000000w"] {
        assert!(matches!(parse(text, NOW), Err(WhenError::Beyond(_))), "{text}: {:?}", parse(text, NOW));
    }
}

#[test]
fn lengths_read_well() {
    for (micros, expected) in [
        (0, "0.0s"),
        (400_000, "0.4s"),
        (9_900_000, "9.9s"),
        (91_000_000, "1m 31s"),
        (3_600_000_000, "1h"),
        (3_601_000_000, "1h"),
        (100_000_000_000, "1d 3h"),
    ] {
        assert_eq!(length(micros), expected, "{micros}");
    }
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,40}", now in any::<i64>()) {
        let _ = parse(&text, Micros(now));
    }

    #[test]
    fn never_panics_on_what_looks_like_one(text in "[0-9a-zT:+. -]{0,30}", now in any::<i64>()) {
        let _ = parse(&text, Micros(now));
    }

    /// What is shown reads as the same, whenever it is read.
    #[test]
    fn shown_and_read_again(micros in 0..=TIME_MAX.0, later in any::<i64>(), zxid in 0..i64::MAX) {
        let time = Bound::Time(Micros(micros));
        prop_assert_eq!(parse(&time.to_string(), Micros(later)), Ok(time));
        prop_assert_eq!(parse(&Bound::Zxid(zxid).to_string(), NOW), Ok(Bound::Zxid(zxid)));
    }

    #[test]
    fn a_clock_time_is_within_the_last_day(hour in 0..24, minute in 0..60, offset in -12..=14, now in TIME_MIN.0 + 3 * DAY..TIME_MAX.0) {
        let text = format!("{hour:02}:{minute:02}{offset:+03}:00");
        let Ok(Bound::Time(time)) = parse(&text, Micros(now)) else { panic!("{text}") };
        prop_assert!(time.0 <= now && now - time.0 < DAY, "{} {} {}", text, time, Micros(now));
    }
}
