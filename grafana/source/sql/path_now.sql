WITH chosen AS (
    SELECT coalesce(nullif(${path:sqlstring}, ''), max(path)) AS path
    FROM (
        SELECT path FROM changes
        WHERE ${path:sqlstring} = '' AND time <= $__timeTo() AND cluster IN (${cluster:sqlstring})
        ORDER BY time DESC, seq DESC LIMIT 1
    ) AS latest
)
SELECT
    chosen.path,
    znodes.cluster,
    CASE WHEN znodes.cluster IS NULL THEN 'there is none now' ELSE coalesce(node_type, 'not ephemeral') END AS type,
    version,
    data_length AS bytes,
    num_children AS children,
    mtime AS changed,
    hex(nullif(ephemeral_owner, 0)) AS owner,
    left(data_text(data), 2000) AS value
FROM chosen
LEFT JOIN znodes ON znodes.path = chosen.path AND znodes.cluster IN (${cluster:sqlstring})
ORDER BY znodes.cluster
