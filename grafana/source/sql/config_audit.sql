-- What was changed beneath the configuration's prefixes, with the value before; gaps are rows of their own.
WITH known AS (
    SELECT
        cluster, incarnation, path, position, seq, 0 AS is_snapshot, kind, time, zxid, version, data, data_length, missed,
        evidence, ephemeral_owner, session_id
    FROM changes
    WHERE kind IN ('created', 'data_changed', 'deleted') AND time <= $__timeTo()
        AND cluster IN (${cluster:sqlstring}) AND path ~ '^(${config:regex})(/|$)'
    UNION ALL
    SELECT
        cluster, incarnation, path, position, seq, 1, 'snapshot', taken_at, mzxid, version, data, data_length, 0, 'exact',
        ephemeral_owner, NULL
    FROM snapshots
    WHERE taken_at <= $__timeTo() AND cluster IN (${cluster:sqlstring}) AND path ~ '^(${config:regex})(/|$)'
),
pairs AS (
    SELECT
        *,
        lag(data) OVER (PARTITION BY cluster, incarnation, path ORDER BY position, seq, is_snapshot) AS data_before,
        lag(version) OVER (PARTITION BY cluster, incarnation, path ORDER BY position, seq, is_snapshot) AS version_before
    FROM known
),
rows AS (
    SELECT
        time, cluster, path, kind, version, left(data_text(data_before), 2000) AS before,
        coalesce(
            left(data_text(data), 2000),
            CASE WHEN data IS NOT NULL THEN '(no text)' WHEN data_length > 0 THEN '(not recorded)' END
        ) AS after,
        evidence || CASE
            WHEN missed > 0 THEN ', ' || missed || ' missed in between'
            WHEN kind = 'data_changed' AND version <> version_before + 1 THEN ', others in between'
            ELSE ''
        END AS certainty,
        hex(session_id) AS session, hex(zxid) AS zxid, position, seq
    FROM pairs
    WHERE is_snapshot = 0 AND ephemeral_owner = 0 AND $__timeFilter(time)
    UNION ALL
    SELECT
        greatest(from_time, $__timeFrom()::timestamptz), cluster, path, 'gap', NULL, NULL, NULL,
        'nobody was looking: ' || reason
            || CASE WHEN to_time IS NULL THEN ', not over' ELSE ' until ' || to_char(to_time, 'YYYY-MM-DD HH24:MI:SS') || ' UTC' END,
        NULL, NULL, from_zxid, 0
    FROM gaps
    WHERE from_time <= $__timeTo() AND coalesce(to_time, $__timeTo()::timestamptz) >= $__timeFrom()
        AND cluster IN (${cluster:sqlstring})
)
SELECT
    coalesce(time, $__timeTo()::timestamptz) AS time,
    cluster,
    coalesce(path, 'nothing changed in this range') AS path,
    coalesce(kind, 'none') AS kind,
    version, before, after, certainty, session, zxid
FROM (VALUES (1)) AS one (one)
LEFT JOIN rows ON true
ORDER BY time DESC, position DESC, seq DESC
LIMIT 300
