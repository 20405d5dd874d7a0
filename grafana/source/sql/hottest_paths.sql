SELECT
    coalesce(path, 'nothing changed in this range') AS path,
    cluster, changes, created, data_changed, deleted, missed, last
FROM (VALUES (1)) AS one (one)
LEFT JOIN (
    SELECT
        path, cluster,
        count(*) AS changes,
        count(*) FILTER (WHERE kind = 'created') AS created,
        count(*) FILTER (WHERE kind = 'data_changed') AS data_changed,
        count(*) FILTER (WHERE kind = 'deleted') AS deleted,
        sum(missed) AS missed,
        max(time) AS last
    FROM changes
    WHERE $__timeFilter(time) AND cluster IN (${cluster:sqlstring}) AND kind IN (${kind:sqlstring})
        AND prefix(path, depth(${under:sqlstring})) = ${under:sqlstring}
    GROUP BY path, cluster
    ORDER BY changes DESC, path, cluster
    LIMIT 50
) AS hottest ON true
ORDER BY changes DESC, path, cluster
