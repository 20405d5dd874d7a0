-- Ephemerals that went away twice or more within the range. A life counts where its beginning and its end are on record.
WITH lives AS (
    SELECT
        cluster, path, kind, time, ephemeral_owner, cause,
        CASE WHEN kind = 'deleted' AND kind_before = 'created' AND coalesce(czxid_before = czxid, true)
            THEN date_part('epoch', time) - date_part('epoch', time_before) END AS seconds
    FROM (
        SELECT
            *,
            lag(kind) OVER (PARTITION BY cluster, incarnation, path ORDER BY position, ordinal, seq) AS kind_before,
            lag(time) OVER (PARTITION BY cluster, incarnation, path ORDER BY position, ordinal, seq) AS time_before,
            lag(czxid) OVER (PARTITION BY cluster, incarnation, path ORDER BY position, ordinal, seq) AS czxid_before
        FROM changes
        WHERE kind IN ('created', 'deleted') AND $__timeFilter(time) AND cluster IN (${cluster:sqlstring})
            AND prefix(path, depth(${under:sqlstring})) = ${under:sqlstring}
    ) AS steps
    WHERE ephemeral_owner <> 0 OR coalesce(node_type = 'ephemeral', false)
)
SELECT
    coalesce(path, 'nobody came and went twice in this range') AS path,
    cluster, went, sessions, shortest, typical, last_went
FROM (VALUES (1)) AS one (one)
LEFT JOIN (
    SELECT
        path, cluster,
        count(*) FILTER (WHERE kind = 'deleted') AS went,
        count(DISTINCT ephemeral_owner) AS sessions,
        min(seconds) AS shortest,
        median(seconds) AS typical,
        max(time) FILTER (WHERE kind = 'deleted') AS last_went
    FROM lives
    GROUP BY path, cluster
    HAVING count(*) FILTER (WHERE kind = 'deleted') >= 2
    ORDER BY went DESC, path, cluster
    LIMIT 50
) AS flapping ON true
ORDER BY went DESC, path, cluster
