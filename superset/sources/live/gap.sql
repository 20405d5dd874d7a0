gap AS (
    SELECT cluster, path, from_time, to_time, from_zxid, to_zxid, reason, missed_at_least, incarnation FROM gaps
)
