//! Functions whose meaning depends on the types of their arguments, found as PostgreSQL finds it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::cast;
use super::regex::Pattern;
use super::time::zone::Zone;
use super::value::{self, Answer, Kind, Value};

/// What a function knows beside its arguments.
pub(super) struct Context {
    /// The session's.
    pub(super) zone: Zone,
    /// When the call was made, in microseconds: the same for all of its rows.
    pub(super) now: i64,
    patterns: RefCell<HashMap<(String, String), Arc<Pattern>>>,
}

/// Patterns kept for one batch: a pattern that differs from row to row is compiled each time.
const PATTERNS_KEPT_MAX: usize = 16;

impl Context {
    pub(super) fn new(options: &ConfigOptions) -> Result<Self, String> {
        let name = options.execution.time_zone.as_deref().unwrap_or(value::UTC);
        let zone = Zone::of_session(name)?;
        let now = chrono::Utc::now().timestamp_micros();
        Ok(Self { zone, now, patterns: RefCell::default() })
    }

    pub(super) fn pattern(&self, text: &str, flags: &str) -> Result<Arc<Pattern>, String> {
        let key = (text.to_owned(), flags.to_owned());
        if let Some(known) = self.patterns.borrow().get(&key) {
            return Ok(known.clone());
        }
        let pattern = Arc::new(Pattern::new(text, flags)?);
        let mut patterns = self.patterns.borrow_mut();
        if patterns.len() >= PATTERNS_KEPT_MAX {
            patterns.clear();
        }
        patterns.insert(key, pattern.clone());
        Ok(pattern)
    }
}

pub(super) type Call = fn(&Context, &[Value]) -> Answer;

/// Tells the scale of a numeric result from the types and the constants among the arguments.
pub(super) type Scale = fn(&[DataType], &[Option<ScalarValue>]) -> i8;

/// One meaning of a name: `split_part(text, text, int) text`.
///
/// - `variadic` before the last type: any number of it.
/// - `?` before the name: it is called with NULLs too; else any NULL gives NULL.
/// - `!` before the name: each row may differ.
pub(super) struct Meaning {
    pub(super) signature: &'static str,
    pub(super) call: Call,
    pub(super) scale: Option<Scale>,
}

pub(super) const fn meaning(signature: &'static str, call: Call) -> Meaning {
    Meaning { signature, call, scale: None }
}

pub(super) const fn scaled(signature: &'static str, call: Call, scale: Scale) -> Meaning {
    Meaning { signature, call, scale: Some(scale) }
}

struct Overload {
    text: &'static str,
    arguments: Vec<Kind>,
    variadic: bool,
    /// `None`: an array or a value of the first argument's kind.
    result: ResultKind,
    takes_null: bool,
    call: Call,
    scale: Option<Scale>,
}

enum ResultKind {
    Fixed(Kind),
    /// `any`: as the first argument.
    First,
    /// `any[]`: an array of the first argument's kind.
    ListOfFirst,
    /// `element`: of the first argument, an array.
    ElementOfFirst,
}

impl Overload {
    fn parse(meaning: &Meaning) -> Option<(String, bool, Self)> {
        let text = meaning.signature;
        let takes_null = text.contains('?');
        let volatile = text.contains('!');
        let plain = text.trim_start_matches(['?', '!']);
        let open = plain.find('(')?;
        let close = plain.rfind(')')?;
        let name = plain.get(..open)?.to_owned();
        let mut arguments = Vec::new();
        let mut variadic = false;
        for argument in plain.get(open + 1..close)?.split(',').map(str::trim).filter(|argument| !argument.is_empty()) {
            let kind = argument.strip_prefix("variadic ").inspect(|_| variadic = true).unwrap_or(argument);
            arguments.push(Kind::parse(kind)?);
        }
        let result = match plain.get(close + 1..)?.trim() {
            "any" => ResultKind::First,
            "any[]" => ResultKind::ListOfFirst,
            "element" => ResultKind::ElementOfFirst,
            fixed => ResultKind::Fixed(Kind::parse(fixed)?),
        };
        let overload =
            Self { text: plain, arguments, variadic, result, takes_null, call: meaning.call, scale: meaning.scale };
        Some((name, volatile, overload))
    }

    fn argument(&self, index: usize) -> Option<&Kind> {
        self.arguments.get(index).or_else(|| self.arguments.last().filter(|_| self.variadic))
    }

    /// How far the arguments are from what this one takes; `None` where it does not take them.
    fn distance(&self, given: &[Kind]) -> Option<u32> {
        let count_fits = match self.variadic {
            true => given.len() + 1 >= self.arguments.len(),
            false => given.len() == self.arguments.len(),
        };
        if !count_fits {
            return None;
        }
        let each = given.iter().enumerate().map(|(index, given)| distance(given, self.argument(index)?));
        each.sum()
    }
}

fn distance(given: &Kind, wanted: &Kind) -> Option<u32> {
    use Kind::{
        Any, Date, Float4, Float8, Int2, Int4, Int8, Interval, List, Numeric, Text, Time, Timestamp, Timestamptz,
        Unknown,
    };
    Some(match (given, wanted) {
        (given, wanted) if given == wanted => 0,
        (Unknown, Text) => 0,
        (Unknown, _) => 1,
        (Any, Any) => 0,
        (_, Any) => 40,
        (List(given), List(wanted)) => match (given.as_ref(), wanted.as_ref()) {
            (_, Any) => 10,
            (given, wanted) => distance(given, wanted)?,
        },
        (Int2, Int4) | (Int4, Int8) | (Float4, Float8) => 1,
        (Int2, Int8) => 2,
        // A literal of ours is a bigint, of PostgreSQL's an integer: whether it fits is seen when it comes.
        (Int8, Int4) => 3,
        (Int8 | Int4, Int2) => 12,
        (Int2 | Int4 | Int8 | Numeric, Float8) => 4,
        (Int2 | Int4 | Int8, Numeric) => 5,
        (Int2 | Int4 | Int8 | Numeric | Float8, Float4) => 8,
        (Date | Timestamp, Timestamptz) => 3,
        (Date, Timestamp) => 4,
        (Time, Interval) => 4,
        // A quoted literal is whatever is wanted, and a wrong one is refused when it is read.
        (Text, _) => 20,
        _ => return None,
    })
}

/// A name with all of its meanings.
pub(super) struct Function {
    name: String,
    signature: Signature,
    overloads: Vec<Overload>,
    /// How it is written where it is an operator.
    operator: Option<&'static str>,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Groups meanings by their names.
pub(super) fn functions(meanings: &[&[Meaning]]) -> Vec<Arc<ScalarUDF>> {
    let mut by_name: Vec<(String, bool, Vec<Overload>)> = Vec::new();
    for meaning in meanings.iter().copied().flatten() {
        let Some((name, volatile, overload)) = Overload::parse(meaning) else {
            debug_assert!(false, "{} is no signature", meaning.signature);
            continue;
        };
        match by_name.iter_mut().find(|(known, _, _)| *known == name) {
            Some((_, _, overloads)) => overloads.push(overload),
            None => by_name.push((name, volatile, vec![overload])),
        }
    }
    by_name
        .into_iter()
        .map(|(name, volatile, overloads)| {
            let volatility = if volatile { Volatility::Volatile } else { Volatility::Stable };
            let operator = super::operators::written(&name);
            Arc::new(ScalarUDF::from(Function {
                name,
                signature: Signature::user_defined(volatility),
                overloads,
                operator,
            }))
        })
        .collect()
}

impl Function {
    fn find(&self, given: &[Kind]) -> Result<&Overload> {
        let near = self.overloads.iter().filter_map(|overload| Some((overload.distance(given)?, overload)));
        // The first of equals: the lists begin with what PostgreSQL prefers.
        near.min_by_key(|(distance, _)| *distance).map(|(_, overload)| overload).ok_or_else(|| {
            let given: Vec<String> = given.iter().map(ToString::to_string).collect();
            let forms: Vec<&str> = self.overloads.iter().map(|overload| overload.text).collect();
            match self.operator {
                Some(operator) => {
                    DataFusionError::Plan(format!("there is no operator {}", given.join(&format!(" {operator} "))))
                }
                None => DataFusionError::Plan(format!(
                    "there is no function {}({}). There is {}",
                    self.name,
                    given.join(", "),
                    forms.join("; ")
                )),
            }
        })
    }
}

fn kinds<'a>(types: impl Iterator<Item = &'a DataType>) -> Vec<Kind> {
    types.map(Kind::of).collect()
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let names: Vec<String> = arguments.iter().map(|argument| argument.schema_name().to_string()).collect();
        Ok(match self.operator {
            Some(operator) => names.join(&format!(" {operator} ")),
            None => format!("{}({})", self.name, names.join(",")),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        datafusion::common::internal_err!("{} answers by return_field_from_args", self.name)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.find(&kinds(given.iter()))?;
        // Each argument is brought to its type as it is read, as PostgreSQL would.
        Ok(given.to_vec())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let given = kinds(types.iter());
        let overload = self.find(&given)?;
        let constants: Vec<Option<ScalarValue>> =
            args.scalar_arguments.iter().map(|constant| constant.cloned()).collect();
        let scale = overload.scale.map_or_else(|| scale_of(types.first()), |scale| scale(&types, &constants));
        let first = given.first().cloned().unwrap_or(Kind::Text);
        let kind = match &overload.result {
            ResultKind::Fixed(kind) => kind.clone(),
            ResultKind::First => first,
            ResultKind::ListOfFirst => Kind::List(Box::new(first)),
            ResultKind::ElementOfFirst => match first {
                Kind::List(element) => *element,
                _ => Kind::Text,
            },
        };
        Ok(Arc::new(Field::new(&self.name, kind.arrow(scale), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let given = kinds(args.arg_fields.iter().map(|field| field.data_type()));
        let overload = self.find(&given)?;
        let context = Context::new(&args.config_options).map_err(DataFusionError::Execution)?;
        let all_scalars = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let volatile = self.signature.volatility == Volatility::Volatile;
        let rows = if all_scalars && !volatile { 1 } else { args.number_rows };
        let answer = overload.answer(&context, &args.args, &given, rows, args.return_field.data_type());
        let array = answer.map_err(|error| match self.operator {
            Some(_) => DataFusionError::Execution(error),
            None => DataFusionError::Execution(format!("{}: {error}", self.name)),
        })?;
        if all_scalars && !volatile {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// The scale of a decimal, 0 of whole numbers.
pub(super) fn scale_of(data_type: Option<&DataType>) -> i8 {
    match data_type {
        Some(DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => *scale,
        Some(DataType::List(field)) => scale_of(Some(field.data_type())),
        _ => 0,
    }
}

impl Overload {
    fn answer(
        &self,
        context: &Context,
        arguments: &[ColumnarValue],
        given: &[Kind],
        rows: usize,
        result: &DataType,
    ) -> Result<ArrayRef, String> {
        let fit = |index: usize, value: Value| match (given.get(index), self.argument(index)) {
            (Some(given), Some(wanted)) => cast::implicit(context, value, given, wanted),
            _ => Ok(value),
        };
        // What is the same for all rows is read once.
        let mut row = Vec::with_capacity(arguments.len());
        for (index, argument) in arguments.iter().enumerate() {
            row.push(match argument {
                ColumnarValue::Scalar(scalar) => {
                    let one = scalar.to_array().map_err(|error| error.to_string())?;
                    fit(index, value::read(one.as_ref(), 0)?)?
                }
                ColumnarValue::Array(_) => Value::Null,
            });
        }
        let mut answers = Vec::with_capacity(rows);
        for number in 0..rows {
            for ((index, argument), slot) in arguments.iter().enumerate().zip(row.iter_mut()) {
                if let ColumnarValue::Array(array) = argument {
                    *slot = fit(index, value::read(array.as_ref(), number)?)?;
                }
            }
            let null = !self.takes_null && row.iter().any(Value::is_null);
            answers.push(if null { Value::Null } else { (self.call)(context, &row)? });
        }
        value::build(result, answers)
    }
}
