-- from: change, snapshot
, known AS (
    SELECT
        cluster, incarnation, path, position, seq, 0 AS is_snapshot, kind, time, version, value, missed, evidence,
        ephemeral_owner
    FROM change
    WHERE kind IN ('created', 'data_changed', 'deleted') AND (path LIKE '%/config' OR path LIKE '%/config/%')
    UNION ALL
    SELECT
        cluster, incarnation, path, position, seq, 1, 'snapshot', taken_at, version, value, 0, 'exact', ephemeral_owner
    FROM snapshot
    WHERE path LIKE '%/config' OR path LIKE '%/config/%'
),
pairs AS (
    SELECT
        *,
        lag(kind) OVER life AS before_kind,
        lag(value) OVER life AS before_value,
        lag(version) OVER life AS before_version
    FROM known
    WINDOW life AS (PARTITION BY cluster, incarnation, path ORDER BY position, seq, is_snapshot)
)
SELECT
    cluster,
    time,
    path,
    kind,
    version,
    CASE WHEN coalesce(before_kind, 'deleted') <> 'deleted' THEN before_value END AS before,
    value AS after,
    CASE
        WHEN missed > 0 THEN evidence || ', ' || CAST(missed AS VARCHAR) || ' missed in between'
        WHEN kind <> 'deleted' AND value IS NULL THEN evidence || ', value not recorded as text'
        WHEN kind = 'data_changed' AND before_value IS NULL THEN evidence || ', value before not recorded as text'
        WHEN kind = 'data_changed' AND version <> before_version + 1 THEN evidence || ', others in between'
        ELSE evidence
    END AS certainty
FROM pairs
WHERE is_snapshot = 0 AND ephemeral_owner = 0
