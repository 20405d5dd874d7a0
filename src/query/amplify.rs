//! Bounds what one call of a function makes of little: `repeat('x', 2000000000)`, or a `||` of a `||` of a `||`.
//!
//! The memory pool counts what operators hold, not what an expression makes of a batch, so these functions are put
//! behind one that reckons the result before it is made.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, exec_err, plan_err};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Documentation, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;

/// What one call may make of one batch of rows. Texts of Arrow end at 2 GiB a batch; this is far below.
pub(super) const RESULT_BYTES_MAX: u64 = 256 << 20;

/// How large a result can become, by the arguments of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    /// All arguments together.
    Sum,
    /// The first argument as often as the second says.
    Times,
    /// As many characters as the second argument says.
    Padded,
    /// As many elements as the second argument says.
    Resized,
    /// The third argument at each place of the first.
    Replaced,
    /// As many numbers as there are from the first to the second.
    Series,
}

/// The functions that make much of little. Their aliases come with them.
const FUNCTIONS: [(&str, Growth); 13] = [
    ("array_concat", Growth::Sum),
    ("array_repeat", Growth::Times),
    ("array_resize", Growth::Resized),
    ("concat", Growth::Sum),
    ("concat_ws", Growth::Sum),
    ("generate_series", Growth::Series),
    ("lpad", Growth::Padded),
    ("make_array", Growth::Sum),
    ("range", Growth::Series),
    ("regexp_replace", Growth::Replaced),
    ("repeat", Growth::Times),
    ("replace", Growth::Replaced),
    ("rpad", Growth::Padded),
];

/// Puts the bound around the functions that are registered, and around `||`.
pub(super) fn bound(builder: SessionStateBuilder) -> SessionStateBuilder {
    let mut builder = builder.with_analyzer_rule(Arc::new(BoundConcatenation::default()));
    for function in builder.scalar_functions().get_or_insert_default() {
        if let Some((_, growth)) = FUNCTIONS.iter().find(|(name, _)| *name == function.name()) {
            *function = Arc::new(ScalarUDF::new_from_impl(Bounded { inner: function.clone(), growth: *growth }));
        }
    }
    builder
}

/// A function behind its bound. It is not simplified: that would fold texts together past the bound.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        check(self.name(), reckon(self.growth, &arguments.args, arguments.number_rows)?)?;
        self.inner.invoke_with_args(arguments)
    }
}

fn check(name: &str, bytes: u64) -> Result<()> {
    if bytes > RESULT_BYTES_MAX {
        return exec_err!(
            "{name} would make {} MiB of one batch of rows; the most is {} MiB",
            bytes >> 20,
            RESULT_BYTES_MAX >> 20
        );
    }
    Ok(())
}

/// The most bytes that a call can give.
fn reckon(growth: Growth, arguments: &[ColumnarValue], rows: usize) -> Result<u64> {
    let total = |index: usize| arguments.get(index).map_or(0, |argument| bytes(argument, rows));
    Ok(match growth {
        Growth::Sum => (0..arguments.len()).map(total).fold(0, u64::saturating_add),
        Growth::Times => {
            let (each, times) = (row_bytes(arguments.first(), rows)?, numbers(arguments.get(1), rows)?);
            sum(rows, |row| each(row).saturating_mul(positive(times(row))))
        }
        Growth::Padded => {
            let length = numbers(arguments.get(1), rows)?;
            sum(rows, |row| positive(length(row)).saturating_mul(CHARACTER_BYTES_MAX))
        }
        Growth::Resized => {
            let length = numbers(arguments.get(1), rows)?;
            sum(rows, |row| positive(length(row)).saturating_mul(ELEMENT_BYTES))
        }
        Growth::Replaced => {
            let (subject, with) = (row_bytes(arguments.first(), rows)?, row_bytes(arguments.get(2), rows)?);
            // A pattern may match between any two characters.
            sum(rows, |row| subject(row).saturating_add(1).saturating_mul(with(row).saturating_add(1)))
        }
        Growth::Series => {
            let one = || -> Result<Numbers> { Ok(Box::new(|_| Some(1))) };
            let (from, to) = match arguments.len() {
                1 => (one()?, numbers(arguments.first(), rows)?),
                _ => (numbers(arguments.first(), rows)?, numbers(arguments.get(1), rows)?),
            };
            let step = if arguments.len() > 2 { numbers(arguments.get(2), rows)? } else { one()? };
            sum(rows, |row| match (from(row), to(row), step(row)) {
                (Some(from), Some(to), Some(step)) if step != 0 => {
                    (i128::from(to) - i128::from(from)).unsigned_abs().div_euclid(u128::from(step.unsigned_abs()))
                        as u64
                        * ELEMENT_BYTES
                }
                _ => 0,
            })
        }
    })
}

const CHARACTER_BYTES_MAX: u64 = 4;
const ELEMENT_BYTES: u64 = 8;

fn sum(rows: usize, of: impl Fn(usize) -> u64) -> u64 {
    (0..rows).map(of).fold(0, u64::saturating_add)
}

fn positive(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn bytes(argument: &ColumnarValue, rows: usize) -> u64 {
    match argument {
        ColumnarValue::Array(array) => array.get_array_memory_size() as u64,
        ColumnarValue::Scalar(scalar) => (scalar.size() as u64).saturating_mul(rows as u64),
    }
}

type Numbers = Box<dyn Fn(usize) -> Option<i64>>;

/// The argument as whole numbers by row; nothing where it is none, whose error the function itself words.
fn numbers(argument: Option<&ColumnarValue>, rows: usize) -> Result<Numbers> {
    let Some(argument) = argument else { return Ok(Box::new(|_| None)) };
    let array = argument.to_array(if matches!(argument, ColumnarValue::Scalar(_)) { 1 } else { rows })?;
    let Ok(array) = cast(&array, &DataType::Int64) else { return Ok(Box::new(|_| None)) };
    let single = matches!(argument, ColumnarValue::Scalar(_));
    Ok(Box::new(move |row| {
        let numbers = array.as_primitive::<Int64Type>();
        let row = if single { 0 } else { row };
        (row < numbers.len() && numbers.is_valid(row)).then(|| numbers.value(row))
    }))
}

/// How long the argument is by row; a list counts as the share of its memory.
fn row_bytes(argument: Option<&ColumnarValue>, rows: usize) -> Result<Box<dyn Fn(usize) -> u64>> {
    let Some(argument) = argument else { return Ok(Box::new(|_| 0)) };
    let single = matches!(argument, ColumnarValue::Scalar(_));
    let array: ArrayRef = argument.to_array(if single { 1 } else { rows })?;
    let lengths = arrow::compute::kernels::length::length(&array).ok();
    let lengths = lengths
        .filter(|_| {
            matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::Utf8View)
        })
        .and_then(|lengths| cast(&lengths, &DataType::Int64).ok());
    let share = (array.get_array_memory_size() / array.len().max(1)) as u64;
    Ok(Box::new(move |row| match &lengths {
        Some(lengths) => {
            let lengths = lengths.as_primitive::<Int64Type>();
            let row = if single { 0 } else { row };
            if row < lengths.len() && lengths.is_valid(row) { positive(Some(lengths.value(row))) } else { 0 }
        }
        None => share,
    }))
}

/// Puts a bounded function where texts or bytes are joined by `||`. Runs when the types of both sides have met.
#[derive(Debug)]
struct BoundConcatenation {
    function: Arc<ScalarUDF>,
}

impl Default for BoundConcatenation {
    fn default() -> Self {
        Self {
            function: Arc::new(ScalarUDF::new_from_impl(Concatenation {
                signature: Signature::any(2, Volatility::Immutable),
            })),
        }
    }
}

impl BoundConcatenation {
    fn in_plan(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| Ok(self.in_expr(expr, &schema)))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })
    }

    fn in_expr(&self, expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right })
                if is_joined(left.get_type(schema).ok())
                    && left.get_type(schema).ok() == right.get_type(schema).ok() =>
            {
                let call = ScalarFunction::new_udf(self.function.clone(), vec![*left, *right]);
                Transformed::yes(Expr::ScalarFunction(call))
            }
            other => Transformed::no(other),
        }
    }
}

fn is_joined(kind: Option<DataType>) -> bool {
    use DataType::{Binary, LargeBinary, LargeUtf8, Utf8, Utf8View};
    matches!(kind, Some(Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary))
}

impl AnalyzerRule for BoundConcatenation {
    fn name(&self) -> &str {
        "bound_concatenation"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| self.in_plan(plan)).map(|plan| plan.data)
    }
}

/// `||` of two texts or two byte strings of one type, null where either is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Concatenation {
    signature: Signature,
}

impl ScalarUDFImpl for Concatenation {
    fn name(&self) -> &str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [left, right] if left == right => Ok(left.clone()),
            _ => plan_err!("|| joins two values of one type"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        check("||", reckon(Growth::Sum, &arguments.args, arguments.number_rows)?)?;
        let scalars = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if scalars { 1 } else { arguments.number_rows };
        let [left, right] = arguments.args.as_slice() else { return exec_err!("|| joins two values") };
        let joined = arrow::compute::kernels::concat_elements::concat_elements_dyn(
            &left.to_array(rows)?,
            &right.to_array(rows)?,
        )?;
        match scalars {
            true => Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&joined, 0)?)),
            false => Ok(ColumnarValue::Array(joined)),
        }
    }
}
