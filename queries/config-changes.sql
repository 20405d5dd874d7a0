-- What was changed in the configuration, and what was the value before?
--
-- $since    from  24h    changes from here on: an age (2h, 3d), a time in UTC (2026-11-20T03:12), a zxid (0x1000002a3)
-- $until    to    now    up to here, itself included
-- $cluster  text  ''     one ensemble; '' stands for all
-- $under    path  /config  only this znode and what is below it
-- $limit    int   200    at most so many rows of an ensemble, the latest
--
-- Honest about `before` and `after`: `certainty` says where one of them is not on record or not the value in between, and
-- where the order is only bounded. Gaps are rows of their own (kind `gap`): what was changed in them and changed back left
-- no trace. Values are as they were recorded: masked, cut or withheld, and null where they are no text.
WITH known AS (
    SELECT cluster, incarnation, path, position, seq, 0 AS is_snapshot, kind, time, zxid, version, data, data_length,
        missed, evidence, ephemeral_owner
    FROM changes
    WHERE kind IN ('created', 'data_changed', 'deleted') AND time <= $until AND position <= $until_zxid
        AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
    UNION ALL
    SELECT cluster, incarnation, path, position, seq, 1, 'snapshot', taken_at, mzxid, version, data, data_length,
        0, 'exact', ephemeral_owner
    FROM snapshots
    WHERE taken_at <= $until AND position <= $until_zxid
        AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
),
pairs AS (
    SELECT
        *,
        lag(kind) OVER life AS before_kind,
        lag(data) OVER life AS before_data,
        lag(version) OVER life AS before_version
    FROM known
    WINDOW life AS (PARTITION BY cluster, incarnation, path ORDER BY position, seq, is_snapshot)
),
rows AS (
    SELECT
        cluster, time, path, kind, version, data_text(before_data) AS before, data_text(data) AS after,
        evidence || CASE
            WHEN missed > 0 THEN ', ' || missed || ' missed in between'
            WHEN kind <> 'deleted' AND data IS NULL THEN ', value not recorded'
            WHEN kind <> 'created' AND before_data IS NULL THEN ', value before not recorded'
            WHEN kind = 'data_changed' AND before_version IS NOT NULL AND version IS NOT NULL
                AND version <> before_version + 1 THEN ', others in between'
            ELSE ''
        END AS certainty,
        zxid, incarnation, position, seq
    FROM pairs
    WHERE is_snapshot = 0 AND ephemeral_owner = 0 AND time >= $since AND position >= $since_zxid
    UNION ALL
    SELECT
        cluster, from_time, path, 'gap', NULL, NULL, NULL,
        reason || CASE WHEN to_time IS NULL THEN ', not over' ELSE ' until ' || to_char(to_time, 'YYYY-MM-DD HH24:MI:SS') END,
        NULL, incarnation, from_zxid, 9223372036854775807
    FROM gaps
    WHERE from_time <= $until AND coalesce(to_time, $until) >= $since
        AND from_zxid <= $until_zxid AND coalesce(to_zxid, $until_zxid) >= $since_zxid
        AND $cluster IN ('', cluster)
        AND (prefix(path, depth($under)) = $under OR prefix($under, depth(path)) = path)
),
latest AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY cluster
            ORDER BY incarnation DESC, position DESC, zxid IS NULL DESC, time DESC, seq DESC, path
        ) AS place
    FROM rows
)
SELECT cluster, time, path, kind, version, before, after, certainty, zxid
FROM latest
WHERE place <= $limit
ORDER BY cluster, incarnation, position, zxid IS NULL, time, seq, path
