-- Which znodes and which subtrees are the biggest now?
--
-- $cluster  text  ''     one ensemble; '' stands for all
-- $under    path  /      only this znode and what is below it
-- $depth    int   2      subtrees down to so many names deep
-- $limit    int   10     at most so many znodes, and so many subtrees
--
-- Honest about sizes: `bytes` is the length of whole values, also of those recorded in part or not at all; `unknown` counts
-- znodes whose length is not on record, which add nothing. While `gaps` is not 0 nobody is looking: the tree is as it was
-- when the gap began.
WITH tree AS (
    SELECT cluster, path, data_length, num_children FROM znodes
    WHERE $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
),
znode_rows AS (
    SELECT cluster, 'znode' AS what, path, 1 AS znodes, data_length AS bytes, num_children AS children, 0 AS unknown
    FROM tree
    WHERE data_length IS NOT NULL
    ORDER BY data_length DESC, cluster, path
    LIMIT $limit
),
subtrees AS (
    SELECT
        cluster,
        'subtree' AS what,
        prefix(path, deep.value) AS path,
        count(*) AS znodes,
        coalesce(sum(data_length), 0) AS bytes,
        max(num_children) FILTER (WHERE depth(path) = deep.value) AS children,
        count(*) FILTER (WHERE data_length IS NULL) AS unknown
    FROM tree
    CROSS JOIN generate_series(0, $depth) AS deep(value)
    WHERE depth(path) >= deep.value AND deep.value >= depth($under)
    GROUP BY cluster, prefix(path, deep.value)
),
subtree_rows AS (
    SELECT * FROM subtrees ORDER BY bytes DESC, cluster, path LIMIT $limit
),
open_gaps AS (
    SELECT cluster, count(*) AS gaps FROM gaps WHERE to_time IS NULL GROUP BY cluster
),
both AS (
    SELECT * FROM znode_rows UNION ALL SELECT * FROM subtree_rows
)
SELECT both.cluster, what, path, znodes, bytes, children, unknown, coalesce(gaps, 0) AS gaps
FROM both
LEFT JOIN open_gaps ON open_gaps.cluster = both.cluster
ORDER BY what DESC, bytes DESC, both.cluster, path
