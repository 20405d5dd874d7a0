-- Which paths change most?
--
-- $since    from  24h    changes from here on: an age (2h, 3d), a time in UTC (2026-11-20T03:12), a zxid (0x1000002a3)
-- $until    to    now    up to here, itself included
-- $cluster  text  ''     one ensemble; '' stands for all
-- $under    path  /      only this znode and what is below it
-- $limit    int   20     at most so many paths
--
-- Honest about what has no row: `missed` changes are proved by version arithmetic and count for the order; `gaps` is how
-- many times within the window nobody was looking at this path, so that its numbers are lower bounds where it is not 0.
WITH counted AS (
    SELECT
        cluster,
        path,
        count(*) AS changes,
        sum(missed) AS missed,
        count(*) FILTER (WHERE kind = 'created') AS created,
        count(*) FILTER (WHERE kind = 'data_changed') AS data_changed,
        count(*) FILTER (WHERE kind = 'acl_changed') AS acl_changed,
        count(*) FILTER (WHERE kind = 'deleted') AS deleted,
        min(time) AS first,
        max(time) AS last
    FROM changes
    WHERE time >= $since AND time <= $until AND position >= $since_zxid AND position <= $until_zxid
        AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
    GROUP BY cluster, path
),
hottest AS (
    SELECT * FROM counted ORDER BY changes + missed DESC, cluster, path LIMIT $limit
),
unseen AS (
    SELECT cluster, path FROM gaps
    WHERE from_time <= $until AND coalesce(to_time, $until) >= $since
        AND from_zxid <= $until_zxid AND coalesce(to_zxid, $until_zxid) >= $since_zxid
)
SELECT
    hottest.cluster, hottest.path, changes, missed, created, data_changed, acl_changed, deleted, first, last,
    count(unseen.path) AS gaps
FROM hottest
LEFT JOIN unseen ON unseen.cluster = hottest.cluster AND prefix(hottest.path, depth(unseen.path)) = unseen.path
GROUP BY hottest.cluster, hottest.path, changes, missed, created, data_changed, acl_changed, deleted, first, last
ORDER BY changes + missed DESC, cluster, path
