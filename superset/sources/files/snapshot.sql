snapshot AS (
    SELECT * REPLACE (make_timestamp(epoch_us(taken_at)) AS taken_at), try(decode(data)) AS value
    FROM read_parquet(@{files:snapshots}, hive_partitioning = true)
)
