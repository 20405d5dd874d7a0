-- What lies between two intervals of a path is a gap, unless one was only rolled and the next goes on where it ended. A path
-- below another has gaps of its own only where it could not be read. Behind the last interval lies a gap if that ended for
-- good; one that was only rolled goes on in what is not in Parquet yet.
interval_of AS (
    SELECT
        * REPLACE (make_timestamp(epoch_us(from_time)) AS from_time, make_timestamp(epoch_us(to_time)) AS to_time),
        min(path) OVER (PARTITION BY cluster) AS scope
    FROM read_parquet(@{files:coverage}, hive_partitioning = true)
    WHERE aspect = 'data'
),
interval_pair AS (
    SELECT
        *,
        lead(seq) OVER life AS next_seq,
        lead(incarnation) OVER life AS next_incarnation,
        lead(from_time) OVER life AS next_from_time,
        lead(from_zxid) OVER life AS next_from_zxid,
        lead(missed_at_least) OVER life AS next_missed
    FROM interval_of
    WINDOW life AS (PARTITION BY cluster, path ORDER BY seq)
),
gap AS (
    SELECT
        cluster,
        path,
        to_time AS from_time,
        CASE WHEN next_seq IS NOT NULL THEN greatest(next_from_time, to_time) END AS to_time,
        to_zxid AS from_zxid,
        CASE WHEN next_incarnation = incarnation THEN greatest(next_from_zxid, to_zxid) ELSE next_from_zxid END AS to_zxid,
        CASE WHEN coalesce(ended, 'rolled') = 'rolled' THEN 'crashed' ELSE ended END AS reason,
        coalesce(next_missed, 0) AS missed_at_least,
        incarnation
    FROM interval_pair
    WHERE CASE
        WHEN path <> scope THEN ended = 'unreadable'
        WHEN next_seq IS NULL THEN coalesce(ended, 'rolled') <> 'rolled'
        ELSE NOT coalesce(
            ended = 'rolled' AND next_incarnation = incarnation
                AND next_from_time <= to_time AND next_from_zxid <= to_zxid,
            false
        )
    END
)
