//! Casts and arithmetic as PostgreSQL means them, also where the planner put them in: a text that cannot be read and a
//! number that does not fit are errors, and times without a zone are the session's.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, config::ConfigOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;

use super::cast;
use super::overload::Context;
use super::types::{ANY_SCALE_KEY, JSON_KEY};
use super::value::{self, Kind, Value};

/// Runs behind the planner's own coercion.
#[derive(Debug)]
pub(super) struct Meaning {
    json: [Arc<ScalarUDF>; 2],
}

impl Meaning {
    pub(super) fn new(json: Arc<ScalarUDF>, jsonb: Arc<ScalarUDF>) -> Self {
        Self { json: [json, jsonb] }
    }

    fn expression(&self, expr: Expr, schema: &DFSchema, now: &Context) -> Result<Transformed<Expr>> {
        match expr {
            Expr::ScalarFunction(call) if call.args.is_empty() => match moment(call.name(), now)? {
                Some(moment) => Ok(Transformed::yes(Expr::Literal(moment, None))),
                None => Ok(Transformed::no(Expr::ScalarFunction(call))),
            },
            Expr::Cast(Cast { expr, field }) => {
                if let Some(kind) = field.metadata().get(JSON_KEY) {
                    let function = if kind == "jsonb" { &self.json[1] } else { &self.json[0] };
                    let call = ScalarFunction::new_udf(function.clone(), vec![*expr]);
                    return Ok(Transformed::yes(Expr::ScalarFunction(call)));
                }
                let from = expr.get_type(schema)?;
                if cast::is_native(&from, field.data_type()) {
                    return Ok(Transformed::no(Expr::Cast(Cast { expr, field })));
                }
                let exact = field.metadata().contains_key(ANY_SCALE_KEY);
                let function = ScalarUDF::from(Conversion::new(field.data_type().clone(), exact));
                let call = ScalarFunction::new_udf(Arc::new(function), vec![*expr]);
                Ok(Transformed::yes(Expr::ScalarFunction(call)))
            }
            Expr::TryCast(_) => {
                Err(DataFusionError::Plan("TRY_CAST is not supported: CAST refuses what it cannot read".to_owned()))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let Some(operation) = Operation::of(op) else {
                    return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
                };
                let is_number = |side: &Expr| side.get_type(schema).is_ok_and(|data_type| data_type.is_numeric());
                if !is_number(&left) || !is_number(&right) {
                    return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
                }
                let plain = Expr::BinaryExpr(BinaryExpr { left, op, right });
                let result = plain.get_type(schema)?;
                let Expr::BinaryExpr(BinaryExpr { left, right, .. }) = plain else { return Ok(Transformed::no(plain)) };
                let function = ScalarUDF::from(Checked::new(operation, result));
                let call = ScalarFunction::new_udf(Arc::new(function), vec![*left, *right]);
                Ok(Transformed::yes(Expr::ScalarFunction(call)))
            }
            other => Ok(Transformed::no(other)),
        }
    }

    fn plan(&self, plan: LogicalPlan, now: &Context) -> Result<Transformed<LogicalPlan>> {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            let source = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
            schema.merge(&source);
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| self.expression(expr, &schema, now))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    }
}

impl AnalyzerRule for Meaning {
    fn analyze(&self, plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
        let now = Context::new(options).map_err(DataFusionError::Plan)?;
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            let rewritten = self.plan(plan, &now)?;
            if !rewritten.transformed {
                return Ok(rewritten);
            }
            rewritten.map_data(LogicalPlan::recompute_schema)
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &str {
        "zktrail_meaning"
    }
}

/// The moment of a statement is one for all that asks for it.
fn moment(name: &str, context: &Context) -> Result<Option<ScalarValue>> {
    let local = || context.zone.local(context.now).map_err(DataFusionError::Plan);
    Ok(Some(match name {
        "now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp" => {
            ScalarValue::TimestampMicrosecond(Some(context.now), Some(value::UTC.into()))
        }
        "localtimestamp" => ScalarValue::TimestampMicrosecond(Some(local()?), None),
        "localtime" => ScalarValue::Time64Microsecond(Some(local()?.rem_euclid(super::time::DAY))),
        "current_date" => ScalarValue::Date32(i32::try_from(local()?.div_euclid(super::time::DAY)).ok()),
        _ => return Ok(None),
    }))
}

/// A cast to one type, from whatever comes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Conversion {
    name: String,
    to: DataType,
    /// A numeric that is to keep all of its digits: one that has more than are kept is refused, not rounded.
    exact: bool,
    signature: Signature,
}

impl Conversion {
    fn new(to: DataType, exact: bool) -> Self {
        Self { name: format!("zktrail_cast_{to}"), to, exact, signature: Signature::any(1, Volatility::Stable) }
    }

    fn convert(&self, context: &Context, array: &ArrayRef, given: &Kind) -> Result<ArrayRef, String> {
        // Arrow's widths of one kind are one to PostgreSQL: made in ours, then brought to what was asked for.
        let wanted = Kind::of(&self.to);
        let scale = super::overload::scale_of(Some(&self.to));
        let ours = match &self.to {
            DataType::Decimal128(..) => self.to.clone(),
            _ => wanted.arrow(scale),
        };
        let mut values = Vec::with_capacity(array.len());
        for row in 0..array.len() {
            let value = value::read(array.as_ref(), row)?;
            let cast = cast::cast(context, value, given, &wanted, (!self.exact).then_some(scale))?;
            if let (Value::Numeric(number), true) = (&cast, self.exact)
                && number.normalized().fractional_digit_count() > i64::from(scale)
            {
                return Err(format!(
                    "a numeric keeps {scale} digits behind the point: name more, as in numeric(38, 20)"
                ));
            }
            values.push(cast);
        }
        let made = value::build(&ours, values)?;
        if ours == self.to {
            return Ok(made);
        }
        let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
        arrow::compute::cast_with_options(&made, &self.to, &options).map_err(|error| error.to_string())
    }
}

impl ScalarUDFImpl for Conversion {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [argument] = args.args.as_slice() else {
            return datafusion::common::internal_err!("a cast takes one value");
        };
        let context = Context::new(&args.config_options).map_err(DataFusionError::Execution)?;
        let given = args.arg_fields.first().map_or(Kind::Unknown, |field| Kind::of(field.data_type()));
        match argument {
            ColumnarValue::Scalar(scalar) => {
                let array = self.convert(&context, &scalar.to_array()?, &given).map_err(DataFusionError::Execution)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            ColumnarValue::Array(array) => {
                self.convert(&context, array, &given).map(ColumnarValue::Array).map_err(DataFusionError::Execution)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operation {
    fn of(operator: Operator) -> Option<Self> {
        Some(match operator {
            Operator::Plus => Self::Add,
            Operator::Minus => Self::Subtract,
            Operator::Multiply => Self::Multiply,
            Operator::Divide => Self::Divide,
            Operator::Modulo => Self::Remainder,
            _ => return None,
        })
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// Arithmetic of numbers that refuses what does not fit, over whole columns.
#[derive(Debug)]
struct Checked {
    operation: Operation,
    name: String,
    result: DataType,
    signature: Signature,
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.operation == other.operation && self.result == other.result
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operation.hash(state);
        self.result.hash(state);
    }
}

impl Checked {
    fn new(operation: Operation, result: DataType) -> Self {
        let name = operation.sign().to_owned();
        Self { operation, name, result, signature: Signature::any(2, Volatility::Immutable) }
    }

    fn refuse(&self, error: &ArrowError) -> DataFusionError {
        let text = match error {
            ArrowError::DivideByZero => "division by zero".to_owned(),
            ArrowError::ArithmeticOverflow(_) => format!("{} out of range", Kind::of(&self.result)),
            other => other.to_string(),
        };
        DataFusionError::Execution(text)
    }

    /// What came out infinite of finite numbers, or as nothing of a product or quotient that is something.
    fn check_floats(&self, left: &dyn Array, right: &dyn Array, result: &dyn Array) -> Result<()> {
        let float = |array: &dyn Array, row: usize| {
            let row = if array.len() == 1 { 0 } else { row };
            match array.data_type() {
                DataType::Float64 => array.as_primitive::<Float64Type>().value(row),
                DataType::Float32 => f64::from(array.as_primitive::<Float32Type>().value(row)),
                _ => 1.0,
            }
        };
        let shrinks = matches!(self.operation, Operation::Multiply | Operation::Divide);
        for row in 0..result.len() {
            if result.is_null(row) {
                continue;
            }
            let (result, left, right) = (float(result, row), float(left, row), float(right, row));
            if result.is_infinite() && !left.is_infinite() && !right.is_infinite() {
                return Err(DataFusionError::Execution("value out of range: overflow".to_owned()));
            }
            let of_nothing = left == 0.0 || (right == 0.0 && self.operation == Operation::Multiply);
            if shrinks && result == 0.0 && !of_nothing && !right.is_infinite() {
                return Err(DataFusionError::Execution("value out of range: underflow".to_owned()));
            }
        }
        Ok(())
    }

    fn check_zeros(right: &dyn Array, left: &dyn Array) -> Result<()> {
        let is_zero = |row: usize| match right.data_type() {
            DataType::Float64 => right.as_primitive::<Float64Type>().value(row) == 0.0,
            DataType::Float32 => right.as_primitive::<Float32Type>().value(row) == 0.0,
            _ => false,
        };
        let left_is_null = |row: usize| left.is_null(if left.len() == 1 { 0 } else { row });
        if (0..right.len())
            .any(|row| right.is_valid(row) && is_zero(row) && !left_is_null(row.min(left.len().saturating_sub(1))))
        {
            return Err(DataFusionError::Execution("division by zero".to_owned()));
        }
        Ok(())
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let names: Vec<String> = arguments.iter().map(|argument| argument.schema_name().to_string()).collect();
        Ok(names.join(&format!(" {} ", self.name)))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(arrow::datatypes::Field::new(&self.name, self.result.clone(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return datafusion::common::internal_err!("{} takes two values", self.name);
        };
        let datum = |value: &ColumnarValue| -> Result<(ArrayRef, bool)> {
            Ok(match value {
                ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
                ColumnarValue::Array(array) => (array.clone(), false),
            })
        };
        let ((left, left_scalar), (right, right_scalar)) = (datum(left)?, datum(right)?);
        let is_float = self.result.is_floating();
        if is_float && matches!(self.operation, Operation::Divide | Operation::Remainder) {
            Self::check_zeros(right.as_ref(), left.as_ref())?;
        }
        let kernel = match self.operation {
            Operation::Add => numeric::add,
            Operation::Subtract => numeric::sub,
            Operation::Multiply => numeric::mul,
            Operation::Divide => numeric::div,
            Operation::Remainder => numeric::rem,
        };
        let result = match (left_scalar, right_scalar) {
            (false, false) => kernel(&left, &right),
            (true, false) => kernel(&arrow::array::Scalar::new(left.clone()), &right),
            (false, true) => kernel(&left, &arrow::array::Scalar::new(right.clone())),
            (true, true) => kernel(&arrow::array::Scalar::new(left.clone()), &arrow::array::Scalar::new(right.clone())),
        };
        let result = result.map_err(|error| self.refuse(&error))?;
        if is_float {
            self.check_floats(left.as_ref(), right.as_ref(), result.as_ref())?;
        }
        let result =
            if *result.data_type() == self.result { result } else { arrow::compute::cast(&result, &self.result)? };
        if left_scalar && right_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}
