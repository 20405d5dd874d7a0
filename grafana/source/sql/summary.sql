SELECT
    count(*) AS "Changes",
    count(DISTINCT path) AS "Paths",
    count(*) FILTER (WHERE kind = 'deleted') AS "Deleted",
    count(*) FILTER (
        WHERE ephemeral_owner = 0 AND path ~ '^(${config:regex})(/|$)'
    ) AS "Configuration",
    coalesce(sum(missed), 0) AS "Missed"
FROM changes
WHERE $__timeFilter(time) AND cluster IN (${cluster:sqlstring}) AND kind IN (${kind:sqlstring})
    AND prefix(path, depth(${under:sqlstring})) = ${under:sqlstring}
