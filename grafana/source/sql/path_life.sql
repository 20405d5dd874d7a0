-- The last 300 steps of one znode up to the end of the range, each with the value before it; without a chosen path, of the
-- one that changed last. Where it was there before recording began, the oldest snapshot shows it.
WITH chosen AS (
    SELECT coalesce(nullif(${path:sqlstring}, ''), max(path)) AS path
    FROM (
        SELECT path FROM changes
        WHERE ${path:sqlstring} = '' AND time <= $__timeTo() AND cluster IN (${cluster:sqlstring})
        ORDER BY time DESC, seq DESC LIMIT 1
    ) AS latest
),
steps AS (
    SELECT
        cluster, incarnation, time, path, kind, version, data, data_length, ephemeral_owner, session_id, evidence, missed,
        cause, zxid, position, ordinal, seq
    FROM changes
    WHERE cluster IN (${cluster:sqlstring}) AND time <= $__timeTo()
        AND (path = ${path:sqlstring} OR ${path:sqlstring} = '' AND path = (SELECT path FROM chosen))
    UNION ALL
    SELECT
        snapshots.cluster, incarnation, taken_at, path, 'snapshot', version, data, data_length, ephemeral_owner, NULL,
        'exact', 0, NULL, mzxid, position, 2147483647, snapshots.seq
    FROM snapshots
    JOIN (SELECT cluster, min(seq) AS seq FROM snapshots GROUP BY cluster) AS oldest
        ON oldest.cluster = snapshots.cluster AND oldest.seq = snapshots.seq
    WHERE snapshots.cluster IN (${cluster:sqlstring}) AND taken_at <= $__timeTo()
        AND (path = ${path:sqlstring} OR ${path:sqlstring} = '' AND path = (SELECT path FROM chosen))
),
values_beside AS (
    SELECT
        *,
        lag(data) OVER (PARTITION BY cluster, incarnation ORDER BY position, ordinal, seq) AS data_before
    FROM steps
    WHERE kind <> 'acl_changed'
    UNION ALL
    SELECT *, NULL FROM steps WHERE kind = 'acl_changed'
)
SELECT
    coalesce(time, $__timeTo()::timestamptz) AS time,
    cluster,
    coalesce(values_beside.path, chosen.path) AS path,
    coalesce(kind, 'nothing on record of this path up to here') AS kind,
    version,
    left(data_text(data_before), 2000) AS before,
    coalesce(
        left(data_text(data), 2000),
        CASE WHEN data IS NOT NULL THEN '(no text)' WHEN data_length > 0 THEN '(not recorded)' END
    ) AS after,
    evidence, missed, cause,
    hex(coalesce(session_id, nullif(ephemeral_owner, 0))) AS session,
    hex(zxid) AS zxid
FROM chosen
LEFT JOIN values_beside ON true
ORDER BY time DESC, position DESC, seq DESC
LIMIT 300
