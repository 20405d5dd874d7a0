-- Which znodes were deleted, and what was their last value?
--
-- $since    from  24h    changes from here on: an age (2h, 3d), a time in UTC (2026-11-20T03:12), a zxid (0x1000002a3)
-- $until    to    now    up to here, itself included
-- $cluster  text  ''     one ensemble; '' stands for all
-- $under    path  /      only this znode and what is below it
-- $ephemerals  bool  false  ephemerals too
-- $limit    int   100    at most so many of an ensemble, the latest
--
-- Honest about what can be brought back: `last_data` is the value to write again (base64 in JSON and CSV) and `last_value`
-- the same as text; `certainty` says where the last value is not on record, was recorded in part, or may have changed
-- before the deletion. Only paths that do not exist since are listed. Gaps are rows of their own (kind `gap`): what came
-- and went within one left no trace.
WITH gone AS (
    SELECT DISTINCT cluster, path FROM changes
    WHERE kind = 'deleted' AND time >= $since AND time <= $until AND position >= $since_zxid AND position <= $until_zxid
        AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
),
known AS (
    SELECT cluster, incarnation, path, position, ordinal, seq, 0 AS is_snapshot, kind, time, zxid, version, data,
        data_length, missed, evidence, source, cause,
        ephemeral_owner <> 0 OR coalesce(node_type = 'ephemeral', false) AS is_ephemeral
    FROM changes
    WHERE kind IN ('created', 'data_changed', 'deleted') AND time <= $until AND position <= $until_zxid
        AND EXISTS (SELECT 1 FROM gone WHERE gone.cluster = changes.cluster AND gone.path = changes.path)
    UNION ALL
    SELECT cluster, incarnation, path, position, 2147483647, seq, 1, 'snapshot', taken_at, mzxid, version, data,
        data_length, 0, 'exact', 'snapshot', NULL, ephemeral_owner <> 0
    FROM snapshots
    WHERE taken_at <= $until AND position <= $until_zxid
        AND EXISTS (SELECT 1 FROM gone WHERE gone.cluster = snapshots.cluster AND gone.path = snapshots.path)
),
pairs AS (
    SELECT
        *,
        lag(data) OVER life AS last_data,
        lag(data_length) OVER life AS last_length,
        lag(version) OVER life AS last_version,
        lag(is_ephemeral) OVER life AS was_ephemeral,
        lead(kind) OVER life AS next_kind
    FROM known
    WINDOW life AS (PARTITION BY cluster, path ORDER BY incarnation, position, seq, is_snapshot)
),
rows AS (
    SELECT
        cluster, time, path, kind, cause, last_version, data_text(last_data) AS last_value,
        evidence || CASE
            WHEN missed > 0 THEN ', ' || missed || ' missed before it'
            WHEN source = 'rescan' THEN ', found after a gap: the value may have changed in it'
            WHEN last_data IS NULL THEN ', last value not recorded'
            WHEN length(encode(last_data, 'hex')) / 2 <> last_length THEN ', value masked or recorded in part'
            ELSE ''
        END AS certainty,
        zxid, last_data, incarnation, position, seq
    FROM pairs
    WHERE kind = 'deleted' AND next_kind IS NULL AND time >= $since AND position >= $since_zxid
        AND ($ephemerals OR NOT (is_ephemeral OR coalesce(was_ephemeral, false)))
    UNION ALL
    SELECT
        cluster, from_time, path, 'gap', NULL, NULL, NULL,
        reason || CASE WHEN to_time IS NULL THEN ', not over' ELSE ' until ' || to_char(to_time, 'YYYY-MM-DD HH24:MI:SS') END,
        NULL, NULL, incarnation, from_zxid, 9223372036854775807
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
SELECT cluster, time, path, kind, cause, last_version, last_value, certainty, zxid, last_data
FROM latest
WHERE place <= $limit
ORDER BY cluster, incarnation, position, zxid IS NULL, time, seq, path
