use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::fold::Znode;
use super::rows::Needs;
use crate::history::error::HistoryError;
use crate::history::schema;

/// The columns of [`schema::ZNODES`], by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Path,
    Czxid,
    Mzxid,
    Pzxid,
    Ctime,
    Mtime,
    Version,
    Cversion,
    Aversion,
    EphemeralOwner,
    NodeType,
    NumChildren,
    Acl,
    Data,
    DataLength,
    DataHash,
    Uncertain,
}

impl Field {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "path" => Self::Path,
            "czxid" => Self::Czxid,
            "mzxid" => Self::Mzxid,
            "pzxid" => Self::Pzxid,
            "ctime" => Self::Ctime,
            "mtime" => Self::Mtime,
            "version" => Self::Version,
            "cversion" => Self::Cversion,
            "aversion" => Self::Aversion,
            "ephemeral_owner" => Self::EphemeralOwner,
            "node_type" => Self::NodeType,
            "num_children" => Self::NumChildren,
            "acl" => Self::Acl,
            "data" => Self::Data,
            "data_length" => Self::DataLength,
            "data_hash" => Self::DataHash,
            "uncertain" => Self::Uncertain,
            _ => return None,
        })
    }
}

enum Column {
    Int64(Int64Builder),
    Int32(Int32Builder),
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
    Bool(BooleanBuilder),
}

/// Collects znodes into batches of the chosen columns.
pub(crate) struct Output {
    schema: SchemaRef,
    columns: Vec<(Field, Column)>,
    rows: usize,
}

impl Output {
    /// `None` where an index is outside of [`schema::ZNODES`].
    pub(crate) fn new(indices: &[usize]) -> Option<Self> {
        let mut fields = Vec::with_capacity(indices.len());
        let mut columns = Vec::with_capacity(indices.len());
        for index in indices {
            let field = schema::ZNODES.fields().get(*index)?;
            fields.push(field.clone());
            let which = Field::of(field.name())?;
            columns.push((which, which.builder()));
        }
        Some(Self { schema: Arc::new(Schema::new(fields)), columns, rows: 0 })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// What must be read for these columns, and whether children's rows must be.
    pub(crate) fn needs(&self) -> (Needs, bool) {
        let any = |wanted: &[Field]| self.columns.iter().any(|(field, _)| wanted.contains(field));
        let (acl, data) = (any(&[Field::Acl]), any(&[Field::Data]));
        // Always: whether a row is newer than what the snapshot holds takes zxids and versions.
        let stat = true;
        let children = any(&[Field::Pzxid, Field::Cversion, Field::NumChildren]);
        (Needs { time: any(&[Field::Ctime, Field::Mtime]), stat, acl, data }, children)
    }

    pub(crate) fn push(&mut self, path: &str, znode: &Znode, uncertain: bool) {
        for (field, column) in &mut self.columns {
            field.append(column, path, znode, uncertain);
        }
        self.rows += 1;
    }

    /// The rows so far.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, HistoryError> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|(_, column)| column.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|source| HistoryError::Arrow { path: Path::new("the replay").to_owned(), source })
    }
}

impl Field {
    fn builder(self) -> Column {
        match self {
            Self::Path | Self::NodeType | Self::Acl => Column::Text(StringBuilder::new()),
            Self::Czxid | Self::Mzxid | Self::Pzxid | Self::EphemeralOwner | Self::DataHash => {
                Column::Int64(Int64Builder::new())
            }
            Self::Ctime | Self::Mtime => Column::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Self::Version | Self::Cversion | Self::Aversion | Self::NumChildren | Self::DataLength => {
                Column::Int32(Int32Builder::new())
            }
            Self::Data => Column::Binary(BinaryBuilder::new()),
            Self::Uncertain => Column::Bool(BooleanBuilder::new()),
        }
    }

    fn append(self, column: &mut Column, path: &str, znode: &Znode, uncertain: bool) {
        match column {
            Column::Int64(builder) => builder.append_option(match self {
                Self::Czxid => znode.czxid,
                Self::Mzxid => znode.mzxid,
                Self::Pzxid => znode.pzxid,
                Self::EphemeralOwner => Some(znode.ephemeral_owner),
                _ => znode.data_hash,
            }),
            Column::Int32(builder) => builder.append_option(match self {
                Self::Version => znode.version,
                Self::Cversion => znode.cversion,
                Self::Aversion => znode.aversion,
                Self::NumChildren => Some(znode.num_children),
                _ => znode.data_length,
            }),
            Column::Time(builder) => builder.append_option(if self == Self::Ctime { znode.ctime } else { znode.mtime }),
            Column::Text(builder) => builder.append_option(match self {
                Self::Path => Some(path),
                Self::NodeType => znode.node_type.get(),
                _ => znode.acl.get(),
            }),
            Column::Binary(builder) => builder.append_option(znode.data.get()),
            Column::Bool(builder) => builder.append_value(uncertain),
        }
    }
}

impl Column {
    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Binary(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
        }
    }
}
