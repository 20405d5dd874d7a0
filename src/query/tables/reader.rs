use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use crate::history::part::Part;

/// Lets DataFusion read parts: through [`Part::open`], which survives the exchange of a day, and with the footer that
/// the part keeps.
#[derive(Debug)]
pub(super) struct PartReaders;

impl ParquetFileReaderFactory for PartReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        partitioned_file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let part = partitioned_file
            .extension::<Arc<Part>>()
            .cloned()
            .ok_or_else(|| DataFusionError::Internal("a file of a scan is no part".to_owned()))?;
        let metrics = ParquetFileMetrics::new(partition_index, partitioned_file.object_meta.location.as_ref(), metrics);
        Ok(Box::new(PartReader { part, file: None, metrics }))
    }
}

/// Reads one part. The file is opened at the first byte asked for, so that a pruned part costs no descriptor.
struct PartReader {
    part: Arc<Part>,
    file: Option<Arc<File>>,
    metrics: ParquetFileMetrics,
}

impl PartReader {
    async fn ranges(&mut self, ranges: Vec<Range<u64>>) -> parquet::errors::Result<Vec<Bytes>> {
        let total: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.metrics.bytes_scanned.add(usize::try_from(total).unwrap_or(usize::MAX));
        let (part, file) = (self.part.clone(), self.file.clone());
        let (file, read) =
            tokio::task::spawn_blocking(move || read(&part, file, &ranges)).await.map_err(external)??;
        self.file = Some(file);
        Ok(read)
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> ParquetError {
    ParquetError::External(Box::new(error))
}

fn read(
    part: &Part,
    file: Option<Arc<File>>,
    ranges: &[Range<u64>],
) -> parquet::errors::Result<(Arc<File>, Vec<Bytes>)> {
    let file = match file {
        Some(file) => file,
        None => Arc::new(part.open().map_err(external)?),
    };
    let mut read = Vec::with_capacity(ranges.len());
    for range in ranges {
        let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(external)?;
        // A footer that lies must not make us ask for more memory than the file has bytes.
        if range.end > part.bytes {
            return Err(ParquetError::EOF(format!(
                "{}: bytes {}..{} asked for, the file has {}",
                part.path().display(),
                range.start,
                range.end,
                part.bytes
            )));
        }
        let mut buffer = vec![0; length];
        file.read_exact_at(&mut buffer, range.start).map_err(external)?;
        read.push(Bytes::from(buffer));
    }
    Ok((file, read))
}

impl AsyncFileReader for PartReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            let read = self.ranges(vec![range]).await?;
            read.into_iter().next().ok_or_else(|| ParquetError::General("nothing was read".to_owned()))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        self.ranges(ranges).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let part = self.part.clone();
        async move {
            let metadata = tokio::task::spawn_blocking(move || part.metadata()).await.map_err(external)?;
            Ok(metadata.map_err(external)?.metadata().clone())
        }
        .boxed()
    }
}
