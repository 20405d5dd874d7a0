//! Functions that clients call while they look around. Each says what is true here; where PostgreSQL would tell of
//! something that there is not, the answer is null.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::{PgFacts, internal};

/// The subscripts of an array, as an array: what `generate_subscripts` unnests.
pub const SUBSCRIPTS: &str = "array_subscripts";

type Apply = Arc<dyn Fn(&[ArrayRef], usize) -> Result<ArrayRef> + Send + Sync>;

/// A function of any arguments, as many as are in the range, that gives one type.
struct Answer {
    name: String,
    signature: Signature,
    gives: DataType,
    apply: Apply,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.apply, &other.apply)
    }
}

impl Eq for Answer {}

impl Hash for Answer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Answer {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.gives.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays: Vec<ArrayRef> =
            args.args.into_iter().map(|argument| argument.into_array(rows)).collect::<Result<_>>()?;
        let result = (self.apply)(&arrays, rows)?;
        match scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

fn answer(
    name: &str,
    arguments: std::ops::RangeInclusive<usize>,
    gives: DataType,
    volatility: Volatility,
    apply: impl Fn(&[ArrayRef], usize) -> Result<ArrayRef> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    let forms = arguments.map(|count| match count {
        0 => TypeSignature::Nullary,
        count => TypeSignature::Any(count),
    });
    let signature = Signature::one_of(forms.collect(), volatility);
    Arc::new(ScalarUDF::from(Answer { name: name.to_owned(), signature, gives, apply: Arc::new(apply) }))
}

/// Null, whatever is asked.
fn null_text(name: &str, arguments: std::ops::RangeInclusive<usize>) -> Arc<ScalarUDF> {
    answer(name, arguments, DataType::Utf8, Volatility::Stable, |_, rows| {
        Ok(Arc::new(StringArray::from(vec![None::<&str>; rows])))
    })
}

fn flag(name: &str, arguments: std::ops::RangeInclusive<usize>, value: bool) -> Arc<ScalarUDF> {
    answer(name, arguments, DataType::Boolean, Volatility::Stable, move |_, rows| {
        Ok(Arc::new(BooleanArray::from(vec![value; rows])))
    })
}

fn number(name: &str, arguments: std::ops::RangeInclusive<usize>, value: Option<i32>) -> Arc<ScalarUDF> {
    answer(name, arguments, DataType::Int32, Volatility::Stable, move |_, rows| {
        Ok(Arc::new(Int32Array::from(vec![value; rows])))
    })
}

fn text(name: &str, value: impl Fn() -> Option<String> + Send + Sync + 'static) -> Arc<ScalarUDF> {
    answer(name, 0..=0, DataType::Utf8, Volatility::Stable, move |_, rows| {
        Ok(Arc::new(StringArray::from(vec![value(); rows])))
    })
}

/// The same in every session.
pub(super) fn shared() -> Vec<Arc<ScalarUDF>> {
    let mut functions = vec![
        flag("pg_type_is_visible", 1..=1, true),
        flag("pg_function_is_visible", 1..=1, true),
        flag("pg_operator_is_visible", 1..=1, true),
        flag("pg_opclass_is_visible", 1..=1, true),
        flag("pg_conversion_is_visible", 1..=1, true),
        flag("pg_collation_is_visible", 1..=1, true),
        flag("pg_is_in_recovery", 0..=0, false),
        flag("pg_is_other_temp_schema", 1..=1, false),
        flag("row_security_active", 1..=1, false),
        flag("has_column_privilege", 2..=4, true),
        flag("has_function_privilege", 2..=3, true),
        flag("has_sequence_privilege", 2..=3, true),
        flag("has_tablespace_privilege", 2..=3, true),
        flag("pg_has_role", 2..=3, true),
        number("pg_my_temp_schema", 0..=0, Some(0)),
        number("to_regtype", 1..=1, None),
    ];
    // Definitions and comments of what is not there, or has none.
    for (name, arguments) in [
        ("pg_get_serial_sequence", 2..=2),
        ("pg_get_viewdef", 1..=2),
        ("pg_get_indexdef", 1..=3),
        ("pg_get_ruledef", 1..=2),
        ("pg_get_triggerdef", 1..=2),
        ("pg_get_functiondef", 1..=1),
        ("pg_get_function_arguments", 1..=1),
        ("pg_get_function_identity_arguments", 1..=1),
        ("pg_get_function_result", 1..=1),
        ("pg_get_statisticsobjdef", 1..=1),
        ("pg_tablespace_location", 1..=1),
        ("pg_describe_object", 3..=3),
        ("obj_description", 1..=2),
        ("col_description", 2..=2),
        ("shobj_description", 2..=2),
        ("inet_client_hostname", 0..=0),
    ] {
        functions.push(null_text(name, arguments));
    }
    functions.push(answer("pg_char_to_encoding", 1..=1, DataType::Int32, Volatility::Immutable, |arguments, _| {
        let names = texts(arguments, 0)?;
        let code = |name: Option<&str>| name.map(|name| if name.eq_ignore_ascii_case("utf8") { 6 } else { -1 });
        Ok(Arc::new(names.iter().map(code).collect::<Int32Array>()))
    }));
    let subscripts = DataType::new_list(DataType::Int32, true);
    functions.push(answer(SUBSCRIPTS, 1..=1, subscripts, Volatility::Immutable, |arguments, _| {
        let lists = arguments.first().ok_or_else(|| internal("no argument"))?;
        let lists = lists
            .as_list_opt::<i32>()
            .ok_or_else(|| DataFusionError::Execution("generate_subscripts takes an array".to_owned()))?;
        let counted = lists.iter().map(|list| list.map(|list| (1..).take(list.len()).map(Some)));
        Ok(Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(counted)))
    }));
    // Rows of an index's columns; there are no indexes.
    let column = DataType::Struct(
        [Field::new("x", DataType::Int16, true), Field::new("n", DataType::Int32, true)].into_iter().collect(),
    );
    let gives = column.clone();
    functions.push(answer("_pg_expandarray", 1..=1, gives, Volatility::Immutable, move |_, rows| {
        Ok(arrow::array::new_null_array(&column, rows))
    }));
    functions.push(answer("like_escape", 2..=2, DataType::Utf8, Volatility::Immutable, |arguments, _| {
        let (patterns, escapes) = (texts(arguments, 0)?, texts(arguments, 1)?);
        let escaped = patterns.iter().zip(escapes.iter()).map(|(pattern, escape)| match (pattern, escape) {
            (Some(pattern), Some(escape)) => like_escape(pattern, escape).map(Some),
            _ => Ok(None),
        });
        Ok(Arc::new(escaped.collect::<Result<StringArray>>()?))
    }));
    functions.push(answer("json_build_object", 0..=40, DataType::Utf8, Volatility::Stable, json_build_object));
    functions.push(answer("pg_size_pretty", 1..=1, DataType::Utf8, Volatility::Immutable, |arguments, _| {
        let sizes = cast(arguments.first().ok_or_else(|| internal("no argument"))?, &DataType::Int64)?;
        let sizes = sizes.as_primitive::<Int64Type>();
        Ok(Arc::new(sizes.iter().map(|size| size.map(size_pretty)).collect::<StringArray>()))
    }));
    functions.push(answer("quote_literal", 1..=1, DataType::Utf8, Volatility::Immutable, |arguments, _| {
        let values = texts(arguments, 0)?;
        Ok(Arc::new(values.iter().map(|value| value.map(quoted)).collect::<StringArray>()))
    }));
    functions.push(answer("quote_nullable", 1..=1, DataType::Utf8, Volatility::Immutable, |arguments, _| {
        let values = texts(arguments, 0)?;
        let quoted = |value: Option<&str>| Some(value.map_or_else(|| "NULL".to_owned(), quoted));
        Ok(Arc::new(values.iter().map(quoted).collect::<StringArray>()))
    }));
    functions
}

/// In the greatest unit of which there are at least ten, rounded.
fn size_pretty(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    const BELOW: i64 = 10 * 1024;
    let (mut size, mut unit) = (i128::from(bytes), 0);
    while size.abs() >= i128::from(BELOW) && unit + 1 < UNITS.len() {
        size = (size + if size < 0 { -512 } else { 512 }) / 1024;
        unit += 1;
    }
    format!("{size} {}", UNITS.get(unit).copied().unwrap_or_default())
}

/// A LIKE pattern whose escape character is another one, or none where it is empty, as one with the backslash.
fn like_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut characters = escape.chars();
    let (escape, None) = (characters.next(), characters.next()) else {
        return Err(DataFusionError::Execution("invalid escape string: it must be one character or none".to_owned()));
    };
    let mut escaped = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        if Some(c) == escape {
            let next = rest.next();
            let next = next.ok_or_else(|| {
                DataFusionError::Execution("LIKE pattern must not end with escape character".to_owned())
            })?;
            escaped.push('\\');
            escaped.push(next);
        } else if c == '\\' {
            escaped.push_str("\\\\");
        } else {
            escaped.push(c);
        }
    }
    Ok(escaped)
}

/// `json_build_object(name, value, …)` over numbers, flags and texts.
fn json_build_object(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    if !arguments.len().is_multiple_of(2) {
        return Err(DataFusionError::Execution("argument list must have even number of elements".to_owned()));
    }
    let texts: Vec<StringArray> = (0..arguments.len()).map(|at| texts(arguments, at)).collect::<Result<_>>()?;
    let bare = |at: usize| {
        let data_type = arguments.get(at).map(|argument| argument.data_type());
        data_type.is_some_and(|of| of.is_numeric() || *of == DataType::Boolean)
    };
    let mut objects = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut members = Vec::with_capacity(texts.len() / 2);
        for (pair, columns) in texts.chunks_exact(2).enumerate() {
            let [names, values] = columns else { continue };
            let name = serde_json::Value::from(names.value(row));
            let value = match values.is_null(row) {
                true => "null".to_owned(),
                false if bare(pair * 2 + 1) => values.value(row).to_owned(),
                false => serde_json::Value::from(values.value(row)).to_string(),
            };
            members.push(format!("{name} : {value}"));
        }
        objects.push(format!("{{{}}}", members.join(", ")));
    }
    Ok(Arc::new(StringArray::from(objects)))
}

fn quoted(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if doubled.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// What depends on whose session it is.
pub(super) fn of_session(facts: &Arc<PgFacts>) -> Vec<Arc<ScalarUDF>> {
    let with = |of: fn(&PgFacts) -> Option<String>| {
        let facts = facts.clone();
        move || of(&facts)
    };
    let mut functions = vec![
        text("version", with(|facts| Some(facts.version.clone()))),
        text("session_user", with(|facts| Some(facts.user.clone()))),
        text("current_user", with(|facts| Some(facts.user.clone()))),
        text("user", with(|facts| Some(facts.user.clone()))),
        text("current_role", with(|facts| Some(facts.user.clone()))),
        text("current_database", with(|facts| Some(facts.database.to_owned()))),
        text("current_catalog", with(|facts| Some(facts.database.to_owned()))),
        text("inet_server_addr", with(|facts| Some(facts.server.ip().to_string()))),
        text("inet_client_addr", with(|facts| Some(facts.client.ip().to_string()))),
        number("inet_server_port", 0..=0, Some(i32::from(facts.server.port()))),
        number("inet_client_port", 0..=0, Some(i32::from(facts.client.port()))),
        number("pg_backend_pid", 0..=0, Some(facts.pid)),
    ];
    let started = facts.started.0;
    let zoned = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    functions.push(answer("pg_postmaster_start_time", 0..=0, zoned, Volatility::Stable, move |_, rows| {
        let times = arrow::array::TimestampMicrosecondArray::from(vec![started; rows]);
        Ok(Arc::new(times.with_timezone("UTC")))
    }));
    let of_get = facts.clone();
    functions.push(answer("current_setting", 1..=2, DataType::Utf8, Volatility::Stable, move |arguments, rows| {
        let names = texts(arguments, 0)?;
        let missing_ok = match arguments.get(1) {
            Some(flags) => flags.as_boolean_opt().is_some_and(|flags| !flags.is_empty() && flags.value(0)),
            None => false,
        };
        let mut values = Vec::with_capacity(rows);
        for name in names.iter() {
            let Some(name) = name else {
                values.push(None);
                continue;
            };
            match (of_get.setting)(name) {
                None if !missing_ok => {
                    let text = format!("unrecognized configuration parameter \"{name}\"");
                    return Err(DataFusionError::Execution(text));
                }
                value => values.push(value),
            }
        }
        Ok(Arc::new(StringArray::from(values)))
    }));
    let of_set = facts.clone();
    functions.push(answer("set_config", 3..=3, DataType::Utf8, Volatility::Volatile, move |arguments, _| {
        let (names, values) = (texts(arguments, 0)?, texts(arguments, 1)?);
        let mut set = Vec::with_capacity(names.len());
        for (name, value) in names.iter().zip(values.iter()) {
            let (Some(name), Some(value)) = (name, value) else {
                return Err(DataFusionError::Execution("set_config takes a name and a value".to_owned()));
            };
            (of_set.set)(name, value).map_err(DataFusionError::Execution)?;
            set.push((of_set.setting)(name));
        }
        Ok(Arc::new(StringArray::from(set)))
    }));
    for (name, cancels) in [("pg_cancel_backend", true), ("pg_terminate_backend", false)] {
        let facts = facts.clone();
        functions.push(answer(name, 1..=1, DataType::Boolean, Volatility::Volatile, move |arguments, _| {
            if !cancels {
                let text = "pg_terminate_backend is not supported: pg_cancel_backend ends the query alone";
                return Err(DataFusionError::NotImplemented(text.to_owned()));
            }
            let pids = cast(arguments.first().ok_or_else(|| internal("no argument"))?, &DataType::Int64)?;
            let pids = pids.as_primitive::<Int64Type>();
            let cancel = |pid: Option<i64>| pid.map(|pid| i32::try_from(pid).is_ok_and(|pid| (facts.cancel)(pid)));
            Ok(Arc::new(pids.iter().map(cancel).collect::<BooleanArray>()))
        }));
    }
    let user = facts.user.clone();
    functions.push(answer("pg_get_userbyid", 1..=1, DataType::Utf8, Volatility::Stable, move |_, rows| {
        Ok(Arc::new(StringArray::from(vec![user.as_str(); rows])))
    }));
    functions
}

fn texts(arguments: &[ArrayRef], at: usize) -> Result<StringArray> {
    let argument = arguments.get(at).ok_or_else(|| internal("an argument is missing"))?;
    Ok(cast(argument, &DataType::Utf8)?.as_string::<i32>().clone())
}
