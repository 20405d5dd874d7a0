change AS (
    SELECT * REPLACE (make_timestamp(epoch_us(time)) AS time), try(decode(data)) AS value
    FROM read_parquet(@{files:changes}, hive_partitioning = true)
)
