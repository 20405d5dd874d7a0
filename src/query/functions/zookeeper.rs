//! Functions of paths and values: ours alone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::cast::{as_binary_array, as_int64_array, as_string_array};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

use crate::zk;

/// The names of [`all`], and of the one whose other meaning is PostgreSQL's.
pub const NAMES: [&str; 7] = ["parent", "name", "depth", "prefix", "data_text", "decode", "hex"];

/// - `parent(path)`: the path above, null for `/`.
/// - `name(path)`: the last name, empty for `/`.
/// - `depth(path)`: how many names it has, 0 for `/`.
/// - `prefix(path, n)`: its first `n` names, all of it where it has no more.
/// - `data_text(data)`: the value as text; null where it is not UTF-8.
/// - `decode(path, data)`: the value as JSON. JSON passes through; every other format is null until its decoder comes. It
///   stands beside PostgreSQL's `decode(text, format)`.
/// - `hex(id)`: a number as ZooKeeper's own tools show it, `0x…`.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    use DataType::{Binary, Int32, Int64, Utf8};
    let text = |name: &str, of: fn(&str) -> Option<&str>| {
        function(name, vec![Utf8], Utf8, move |arguments| {
            let [path] = arguments else { return wrong_arguments() };
            Ok(Arc::new(as_string_array(path)?.iter().map(|path| path.and_then(of)).collect::<StringArray>()))
        })
    };
    vec![
        text("parent", zk::parent),
        text("name", |path| Some(zk::name(path))),
        function("depth", vec![Utf8], Int32, |arguments| {
            let [path] = arguments else { return wrong_arguments() };
            let depth = |path| i32::try_from(zk::depth(path)).unwrap_or(i32::MAX);
            Ok(Arc::new(as_string_array(path)?.iter().map(|path| path.map(depth)).collect::<Int32Array>()))
        }),
        function("prefix", vec![Utf8, Int64], Utf8, |arguments| {
            let [path, names] = arguments else { return wrong_arguments() };
            let pairs = as_string_array(path)?.iter().zip(as_int64_array(names)?.iter());
            let prefix = |(path, names): (Option<_>, Option<i64>)| {
                Some(zk::prefix(path?, usize::try_from(names?.max(0)).unwrap_or(usize::MAX)))
            };
            Ok(Arc::new(pairs.map(prefix).collect::<StringArray>()))
        }),
        function("data_text", vec![Binary], Utf8, |arguments| {
            let [data] = arguments else { return wrong_arguments() };
            Ok(Arc::new(as_binary_array(data)?.iter().map(utf8).collect::<StringArray>()))
        }),
        function("hex", vec![Int64], Utf8, |arguments| {
            let [id] = arguments else { return wrong_arguments() };
            let id: &Int64Array = as_int64_array(id)?;
            Ok(Arc::new(id.iter().map(|id| id.map(|id| format!("{id:#x}"))).collect::<StringArray>()))
        }),
    ]
}

fn utf8(data: Option<&[u8]>) -> Option<&str> {
    data.and_then(|data| std::str::from_utf8(data).ok())
}

fn wrong_arguments() -> Result<ArrayRef> {
    datafusion::common::internal_err!("a function was called with other arguments than its signature has")
}

fn function(
    name: &str,
    inputs: Vec<DataType>,
    output: DataType,
    apply: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    let implementation = move |arguments: &[ColumnarValue]| {
        let all_scalars = arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let result = apply(&arrays)?;
        if all_scalars && result.len() == 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    };
    Arc::new(create_udf(name, inputs, output, Volatility::Immutable, Arc::new(implementation)))
}
