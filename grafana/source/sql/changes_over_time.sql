-- Every kind is there from the first bar on, so that the legend stays what it is.
SELECT "time", metric, sum(changes) AS changes
FROM (
    SELECT $__timeGroupAlias(time, $__interval), kind AS metric, count(*) AS changes
    FROM changes
    WHERE $__timeFilter(time) AND cluster IN (${cluster:sqlstring}) AND kind IN (${kind:sqlstring})
        AND prefix(path, depth(${under:sqlstring})) = ${under:sqlstring}
    GROUP BY 1, 2
    UNION ALL
    SELECT
        floor(extract(epoch FROM $__timeFrom()::timestamptz) * 1000 / $__interval_ms) * $__interval_ms / 1000,
        kind, 0
    FROM (VALUES ('created'), ('data_changed'), ('acl_changed'), ('deleted')) AS kinds (kind)
    WHERE kind IN (${kind:sqlstring})
) AS buckets
GROUP BY 1, 2
ORDER BY 1, 2
