use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Names of PostgreSQL's that are not answered here, with what can be done instead.
const REFUSED: &[(&str, &str)] = &[
    ("json_agg", "use array_agg or string_agg"),
    ("jsonb_agg", "use array_agg or string_agg"),
    ("json_object_agg", ""),
    ("jsonb_object_agg", ""),
    ("json_build_object", ""),
    ("jsonb_build_object", ""),
    ("json_build_array", ""),
    ("jsonb_build_array", ""),
    ("row_to_json", ""),
    ("to_json", ""),
    ("to_jsonb", ""),
    ("json_each", "use json_object_keys and ->"),
    ("jsonb_each", "use jsonb_object_keys and ->"),
    ("json_each_text", "use json_object_keys and ->>"),
    ("jsonb_each_text", "use jsonb_object_keys and ->>"),
    ("jsonb_set", ""),
    ("jsonb_pretty", ""),
    ("jsonb_path_query", "use #> or ->"),
    ("current_time", "a time with time zone is not kept: use localtime or now()"),
    ("timeofday", "use clock_timestamp()"),
    ("array_fill", ""),
    ("setseed", ""),
    ("similar_to_escape", ""),
    ("to_ascii", ""),
    ("normalize", ""),
    ("unistr", ""),
    ("string_to_table", "it stands in FROM or at the top of a select list"),
    ("regexp_split_to_table", "it stands in FROM or at the top of a select list"),
    ("regexp_matches", "use regexp_match, or regexp_split_to_table"),
    ("mode", ""),
    ("percentile_disc", "use percentile_cont"),
    ("row", ""),
];

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    REFUSED.iter().map(|(name, instead)| Arc::new(ScalarUDF::from(Refused::new(name, instead)))).collect()
}

/// A function that says why it does not answer.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Refused {
    name: &'static str,
    instead: &'static str,
    signature: Signature,
}

impl Refused {
    fn new(name: &'static str, instead: &'static str) -> Self {
        Self { name, instead, signature: Signature::user_defined(Volatility::Volatile) }
    }

    fn error(&self) -> DataFusionError {
        let instead = if self.instead.is_empty() { String::new() } else { format!(": {}", self.instead) };
        DataFusionError::Plan(format!("the function {} is not supported{instead}", self.name))
    }
}

impl ScalarUDFImpl for Refused {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
        Err(self.error())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(self.error())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Err(self.error())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(self.error())
    }
}
