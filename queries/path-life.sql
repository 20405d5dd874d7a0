-- What is the whole life of one path?
--
-- $path     path  required  the znode
-- $since    from  1970-01-01  from here on: an age (2h, 3d), a time in UTC (2026-11-20T03:12), a zxid (0x1000002a3)
-- $until    to    now    up to here, itself included
-- $cluster  text  ''     one ensemble; '' stands for all
-- $limit    int   1000   at most so many rows of an ensemble, the latest
--
-- Honest about its beginning and its holes: the first row is what the oldest snapshot shows (kind `snapshot`) where it was
-- there before recording began; `missed` changes lie just before their row, and a gap's in it (a row that was found after a
-- gap counts its own once more); gaps are rows of their own (kind `gap`).
-- `evidence` says how each row is known: `exact`, `coalesced` (its value was overtaken), `inferred` (its place is bounded).
WITH first_snapshot AS (
    SELECT cluster, min(seq) AS seq FROM snapshots GROUP BY cluster
),
rows AS (
    SELECT
        cluster, time, kind, version, data_text(data) AS value, data_length, ephemeral_owner, evidence, missed, cause,
        czxid, zxid, incarnation, position, ordinal, seq
    FROM changes
    WHERE path = $path AND $cluster IN ('', cluster)
        AND time >= $since AND time <= $until AND position >= $since_zxid AND position <= $until_zxid
    UNION ALL
    SELECT
        snapshots.cluster, taken_at, 'snapshot', version, data_text(data), data_length, ephemeral_owner, 'exact', 0, NULL,
        czxid, mzxid, incarnation, position, 2147483647, snapshots.seq
    FROM snapshots
    JOIN first_snapshot ON first_snapshot.cluster = snapshots.cluster AND first_snapshot.seq = snapshots.seq
    WHERE path = $path AND $cluster IN ('', snapshots.cluster)
        AND taken_at >= $since AND taken_at <= $until AND position >= $since_zxid AND position <= $until_zxid
    UNION ALL
    SELECT
        cluster, from_time, 'gap', NULL, NULL, NULL, NULL,
        reason || CASE WHEN to_time IS NULL THEN ', not over' ELSE ' until ' || to_char(to_time, 'YYYY-MM-DD HH24:MI:SS') END,
        missed_at_least, NULL, NULL, NULL, incarnation, from_zxid, 2147483647, 9223372036854775807
    FROM gaps
    WHERE prefix($path, depth(path)) = path AND $cluster IN ('', cluster)
        AND from_time <= $until AND coalesce(to_time, $until) >= $since
        AND from_zxid <= $until_zxid AND coalesce(to_zxid, $until_zxid) >= $since_zxid
),
latest AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY cluster ORDER BY incarnation DESC, position DESC, zxid IS NULL DESC, time DESC, seq DESC
        ) AS place
    FROM rows
)
SELECT cluster, time, kind, version, value, data_length, ephemeral_owner, evidence, missed, cause, czxid, zxid
FROM latest
WHERE place <= $limit
ORDER BY cluster, incarnation, position, zxid IS NULL, time, ordinal, seq
