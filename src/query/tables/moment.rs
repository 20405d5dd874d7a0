use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use super::user_error;
use super::znodes::{ZnodesTable, replay_error};
use crate::history::layout::Day;
use crate::history::replay::{At, locate};
use crate::history::view::View;
use crate::zk::Micros;

/// `znodes_at(t [, cluster [, incarnation]])`: the tree as it was after the last change at or before `t`.
///
/// `t` is a timestamp, a text that reads as one (`2026-11-20`, `2026-11-20T09:30:00Z`), or a zxid: an integer, or a
/// text in ZooKeeper's own hex (`0x200000007`). A zxid means nothing beyond its own ensemble, so where there are several
/// it needs a cluster; it is looked for in the latest incarnation unless another is named.
pub(super) struct ZnodesAt {
    views: Arc<[View]>,
}

impl ZnodesAt {
    pub(super) fn new(views: Arc<[View]>) -> Self {
        Self { views }
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
        Ok(Arc::new(ZnodesTable::new(places(&views, &moment, incarnation)?, true)))
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
            other => match other.try_as_str() {
                Some(Some(text)) => Self::parse_text(text).ok_or_else(|| {
                    refused(&format!("'{text}' is neither a time (2026-11-20T09:30:00Z) nor a zxid (0x2a)"))
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

/// The clusters that the optional argument names: all of them, or the one.
pub(super) fn chosen(views: &[View], name: Option<&Expr>, usage: &str) -> Result<Vec<View>> {
    let Some(name) = name else { return Ok(views.to_vec()) };
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
             znodes_at(<zxid>, '<cluster>') or tree_diff(<a>, <b>, '<cluster>'); the clusters are {}",
            names(views)
        )));
    }
    views.iter().map(|view| Ok((view.clone(), place(view, moment, incarnation)?))).collect()
}

pub(super) fn place(view: &View, moment: &Moment, incarnation: Option<i32>) -> Result<At> {
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
        assert_eq!(Moment::parse(&lit(42_i64), "f").ok(), Some(Moment::Zxid(42)));
        assert_eq!(Moment::parse(&lit(ScalarValue::Date32(Some(20_777))), "f").ok(), Some(day));
        for bad in
            [lit("yesterday"), lit(-1_i64), lit(1.5), lit(ScalarValue::Int64(None)), datafusion::logical_expr::col("x")]
        {
            assert!(Moment::parse(&bad, "f").is_err(), "{bad}");
        }
    }
}
