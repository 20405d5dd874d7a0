//! `sum` and `avg` over numbers of a width that holds the answer.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::average::Avg;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};

/// `sum`, whose sum of whole numbers is a numeric, as PostgreSQL's of bigints: DataFusion's would begin anew where it no longer fits.
pub(super) fn sum() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Widened { inner: Sum::new(), which: Which::Sum, signature: signature() }))
}

/// `avg`, whose average of numerics has 16 digits behind the point.
pub(super) fn avg() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Widened { inner: Avg::new(), which: Which::Avg, signature: signature() }))
}

fn signature() -> Signature {
    Signature::user_defined(Volatility::Immutable)
}

/// The digits of a bigint, with room for one of the unsigned.
const BIGINT_DIGITS: u8 = 20;

fn summed(name: &str, given: &DataType) -> Result<DataType> {
    Ok(match given {
        // Also of smaller ones: the planner asks again with what it was told, and must be told the same.
        number if number.is_integer() || number.is_null() => DataType::Decimal128(BIGINT_DIGITS, 0),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Duration(_) | DataType::Interval(_) => {
            given.clone()
        }
        DataType::Dictionary(_, value) => summed(name, value)?,
        other => return plan_err!("there is no {name} of {}", super::value::Kind::of(other)),
    })
}

fn averaged(name: &str, given: &DataType) -> Result<DataType> {
    Ok(match given {
        // Four more places come of the division.
        DataType::Decimal128(_, scale) => DataType::Decimal128(34, (*scale).clamp(12, 30)),
        DataType::Decimal256(..) | DataType::Duration(_) => given.clone(),
        DataType::Dictionary(_, value) => averaged(name, value)?,
        number if number.is_numeric() || number.is_null() => DataType::Float64,
        other => return plan_err!("there is no {name} of {}", super::value::Kind::of(other)),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Which {
    Sum,
    Avg,
}

/// An aggregate of DataFusion's over another type than it would choose.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Widened<A> {
    inner: A,
    which: Which,
    signature: Signature,
}

impl<A: AggregateUDFImpl + PartialEq + Eq + std::hash::Hash> AggregateUDFImpl for Widened<A> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [given] => Ok(vec![match self.which {
                Which::Sum => summed(self.name(), given)?,
                Which::Avg => averaged(self.name(), given)?,
            }]),
            _ => plan_err!("{} takes one value", self.name()),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }
}
