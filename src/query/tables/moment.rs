use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use super::znodes::{ZnodesTable, replay_error};
use super::{user_error, withheld};
use crate::history::layout::Day;
use crate::history::replay::{At, locate};
use crate::history::view::View;
use crate::query::access::Values;
use crate::zk::Micros;

/// `znodes_at(t [, cluster [, incarnation]])`: the tree as it was after the last change at or before `t`.
///
/// `t` is a timestamp, a text that reads as one (`2026-11-20`, `2026-11-20T09:30:00Z`), or a zxid: an integer, or
/// ZooKeeper's own hex (`0x200000007`), as a text or bare. What is beyond everything on
/// record is an error. A zxid means nothing beyond its own ensemble, so where there are several
/// it needs a cluster; it is looked for in the latest incarnation unless another is named.
pub(super) struct ZnodesAt {
    views: Arc<[View]>,
    values: Values,
}

impl ZnodesAt {
    pub(super) fn new(views: Arc<[View]>, values: Values) -> Self {
        Self { views, values }
    }
}

impl std::fmt::Debug for ZnodesAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZnodesAt").finish_non_exhaustive()
    }
}

impl TableFunctionImpl for ZnodesAt {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        const USAGE: &str = "znodes_at(t [, cluster [, incarnation]]): t is a timestamp, a date or a zxid";
        let (t, rest) = args.exprs().split_first().ok_or_else(|| user_error(format!("{USAGE}; nothing was given")))?;
        if rest.len() > 2 {
            return Err(user_error(format!("{USAGE}; {} arguments were given", rest.len() + 1)));
        }
        let moment = Moment::parse(t, USAGE)?;
        let views = chosen(&self.views, rest.first(), USAGE)?;
        let incarnation = rest.get(1).map(|expr| integer(expr, USAGE)).transpose()?;
        let hint = hint(&views, "znodes_at(t, '<cluster>')");
        let table = ZnodesTable::new(places(&views, &moment, incarnation)?, true).with_hint(hint);
        Ok(withheld::as_shown(self.values, Arc::new(table)))
    }
}

/// A moment as the query names it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Moment {
    Time(Micros),
    Zxid(i64),
}

impl Moment {
    /// `usage` names the function and its arguments, for the error.
    pub(super) fn parse(expr: &Expr, usage: &str) -> Result<Self> {
        let refused = |what: &str| user_error(format!("{usage}; {what}"));
        let Expr::Literal(value, _) = expr else {
            return Err(refused(&format!("{expr} is not known before the query runs: give a constant")));
        };
        match value {
            ScalarValue::Int8(Some(_))
            | ScalarValue::Int16(Some(_))
            | ScalarValue::Int32(Some(_))
            | ScalarValue::Int64(Some(_))
            | ScalarValue::UInt8(Some(_))
            | ScalarValue::UInt16(Some(_))
            | ScalarValue::UInt32(Some(_))
            | ScalarValue::UInt64(Some(_)) => match value.cast_to(&arrow::datatypes::DataType::Int64)? {
                ScalarValue::Int64(Some(zxid)) if zxid >= 0 => Ok(Self::Zxid(zxid)),
                _ => Err(refused(&format!("{value} is no zxid"))),
            },
            ScalarValue::TimestampSecond(Some(n), _) => Ok(Self::Time(Micros(n.saturating_mul(1_000_000)))),
            ScalarValue::TimestampMillisecond(Some(n), _) => Ok(Self::Time(Micros(n.saturating_mul(1_000)))),
            ScalarValue::TimestampMicrosecond(Some(n), _) => Ok(Self::Time(Micros(*n))),
            ScalarValue::TimestampNanosecond(Some(n), _) => Ok(Self::Time(Micros(n.div_euclid(1_000)))),
            ScalarValue::Date32(Some(days)) => Ok(Self::Time(Micros(i64::from(*days).saturating_mul(86_400_000_000)))),
            ScalarValue::Date64(Some(millis)) => Ok(Self::Time(Micros::from_millis(*millis))),
            // How SQL reads 0x2a without quotes: as bytes.
            ScalarValue::Binary(Some(bytes)) | ScalarValue::LargeBinary(Some(bytes)) => match zxid_of(bytes) {
                Some(zxid) => Ok(Self::Zxid(zxid)),
                None => Err(refused(&format!("X'{value}' is no zxid"))),
            },
            other => match other.try_as_str() {
                Some(Some(text)) => Self::parse_text(text).ok_or_else(|| {
                    refused(&format!("'{text}' is neither a time ('2026-11-20T09:30:00Z') nor a zxid ('0x2a')"))
                }),
                _ => Err(refused(&format!("{other} is neither"))),
            },
        }
    }

    fn parse_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(hex) = text.strip_prefix("0x") {
            return i64::from_str_radix(hex, 16).ok().map(Self::Zxid);
        }
        if let Some(day) = Day::parse(text) {
            return Some(Self::Time(Micros(i64::from(day.0) * 86_400_000_000)));
        }
        let nanos = arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text).ok()?;
        Some(Self::Time(Micros(nanos.div_euclid(1_000))))
    }
}

/// A number of at most 63 bits, its highest byte first.
fn zxid_of(bytes: &[u8]) -> Option<i64> {
    let leading = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(leading..).filter(|digits| digits.len() <= 8)?;
    i64::try_from(digits.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))).ok()
}

/// The clusters that the optional argument names: the one, or all of them.
///
/// A cluster whose tree has never been read to the end has no znodes to show. Alone it is an error that says so; beside
/// others it must not take theirs away.
pub(super) fn chosen(views: &[View], name: Option<&Expr>, usage: &str) -> Result<Vec<View>> {
    let Some(name) = name else {
        let complete: Vec<View> = views.iter().filter(|view| !view.snapshots.is_empty()).cloned().collect();
        return Ok(if complete.is_empty() { views.to_vec() } else { complete });
    };
    let name = match name {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    };
    let name = name.ok_or_else(|| user_error(format!("{usage}; the cluster is a text, as in 'prod'")))?;
    match views.iter().find(|view| view.cluster.as_ref() == name) {
        Some(view) => Ok(vec![view.clone()]),
        None => Err(user_error(format!("there is no cluster '{name}'; the clusters are {}", names(views)))),
    }
}

fn integer(expr: &Expr, usage: &str) -> Result<i32> {
    let value = match expr {
        Expr::Literal(value, _) => value.cast_to(&arrow::datatypes::DataType::Int32).ok(),
        _ => None,
    };
    match value {
        Some(ScalarValue::Int32(Some(number))) => Ok(number),
        _ => Err(user_error(format!("{usage}; {expr} is no incarnation"))),
    }
}

/// Each cluster's own place of one moment.
pub(super) fn places(views: &[View], moment: &Moment, incarnation: Option<i32>) -> Result<Vec<(View, At)>> {
    if matches!(moment, Moment::Zxid(_)) && views.len() > 1 {
        return Err(user_error(format!(
            "a zxid belongs to one ensemble, and this history has several: name the cluster, as in \
             znodes_at('<zxid>', '<cluster>') or tree_diff('<a>', '<b>', '<cluster>'); the clusters are {}",
            names(views)
        )));
    }
    views.iter().map(|view| Ok((view.clone(), place(view, moment, incarnation)?))).collect()
}

fn place(view: &View, moment: &Moment, incarnation: Option<i32>) -> Result<At> {
    Ok(match moment {
        Moment::Time(time) => At::Time(*time),
        Moment::Zxid(position) => {
            let incarnation = match incarnation {
                Some(incarnation) => incarnation,
                None => locate(view, &At::Now).map_err(replay_error)?.incarnation,
            };
            At::Position { incarnation, position: *position }
        }
    })
}

/// What to add to the error of one cluster of several.
pub(super) fn hint(views: &[View], call: &str) -> Option<Arc<str>> {
    (views.len() > 1)
        .then(|| format!("; or ask for one cluster alone: {call}; the clusters are {}", names(views)).into())
}

fn names(views: &[View]) -> String {
    views.iter().map(|view| view.cluster.as_ref()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::lit;

    #[test]
    fn reads_every_form_of_a_moment() {
        let day = Moment::Time(Micros(1_795_132_800_000_000));
        for text in ["2026-11-20", "2026-11-20T00:00:00Z", "2026-11-20 00:00:00", "2026-11-20T01:00:00+01:00"] {
            assert_eq!(Moment::parse(&lit(text), "f").ok(), Some(day.clone()), "{text}");
        }
        assert_eq!(Moment::parse(&lit("0x2a"), "f").ok(), Some(Moment::Zxid(42)));
        // 0x2a, 0x200000007 and 0x0 as SQL has them; the last two are too big for a zxid.
        let bytes = |bytes: &[u8]| Moment::parse(&lit(ScalarValue::Binary(Some(bytes.to_vec()))), "f").ok();
        assert_eq!(bytes(&[0x2a]), Some(Moment::Zxid(42)));
        assert_eq!(bytes(&[2, 0, 0, 0, 7]), Some(Moment::Zxid(0x2_0000_0007)));
        assert_eq!(bytes(&[0]), Some(Moment::Zxid(0)));
        assert_eq!(bytes(&[0xff; 8]), None);
        assert_eq!(bytes(&[1; 9]), None);
        assert_eq!(Moment::parse(&lit(42_i64), "f").ok(), Some(Moment::Zxid(42)));
        assert_eq!(Moment::parse(&lit(ScalarValue::Date32(Some(20_777))), "f").ok(), Some(day));
        for bad in
            [lit("yesterday"), lit(-1_i64), lit(1.5), lit(ScalarValue::Int64(None)), datafusion::logical_expr::col("x")]
        {
            assert!(Moment::parse(&bad, "f").is_err(), "{bad}");
        }
    }
}
