-- from: change
SELECT
    cluster,
    time,
    kind,
    path,
    ephemeral_owner,
    missed,
    CASE
        WHEN kind = 'deleted' AND before_kind = 'created' AND coalesce(before_czxid = czxid, true)
            THEN date_part('epoch', time) - date_part('epoch', before_time)
    END AS lived_seconds
FROM (
    SELECT
        *,
        lag(kind) OVER life AS before_kind,
        lag(time) OVER life AS before_time,
        lag(czxid) OVER life AS before_czxid
    FROM change
    WHERE kind IN ('created', 'deleted')
    WINDOW life AS (PARTITION BY cluster, incarnation, path ORDER BY position, ordinal, seq)
) AS step
WHERE ephemeral_owner <> 0 OR coalesce(node_type = 'ephemeral', false)
