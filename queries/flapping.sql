-- Which ephemerals come and go again and again, and how long do they live?
--
-- $since    from  24h    changes from here on: an age (2h, 3d), a time in UTC (2026-11-20T03:12), a zxid (0x1000002a3)
-- $until    to    now    up to here, itself included
-- $cluster  text  ''     one ensemble; '' stands for all
-- $under    path  /      only this znode and what is below it
-- $times    int   2      only paths that went away so many times, at least
-- $limit    int   50     at most so many paths
--
-- Honest about lives that were not seen whole: a lifetime counts only where its beginning and its end are both on record
-- (`lives`, null seconds where there is none), `missed` changes have no row, and `gaps` is how many times within the window
-- nobody was looking at this path. Sequential names (locks, elections) are another path each time: see churn.
WITH steps AS (
    SELECT
        cluster, incarnation, path, kind, time, position, czxid, ephemeral_owner, missed,
        ephemeral_owner <> 0 OR coalesce(node_type = 'ephemeral', false) AS is_ephemeral,
        lead(kind) OVER life AS next_kind,
        lead(time) OVER life AS next_time,
        lead(czxid) OVER life AS next_czxid
    FROM changes
    WHERE kind IN ('created', 'deleted') AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
        AND time <= $until AND position <= $until_zxid
    WINDOW life AS (PARTITION BY cluster, incarnation, path ORDER BY position, ordinal, seq)
),
lives AS (
    SELECT
        *,
        CASE WHEN kind = 'created' AND next_kind = 'deleted' AND coalesce(next_czxid = czxid, true)
            THEN date_part('epoch', next_time) - date_part('epoch', time) END AS seconds
    FROM steps
    WHERE is_ephemeral AND time >= $since AND position >= $since_zxid
),
flapping AS (
    SELECT
        cluster,
        path,
        count(*) FILTER (WHERE kind = 'created') AS came,
        count(*) FILTER (WHERE kind = 'deleted') AS went,
        count(seconds) AS lives,
        round(min(seconds), 1) AS shortest_seconds,
        round(median(seconds), 1) AS median_seconds,
        round(max(seconds), 1) AS longest_seconds,
        count(DISTINCT ephemeral_owner) AS sessions,
        max(time) FILTER (WHERE kind = 'created') AS last_came,
        max(time) FILTER (WHERE kind = 'deleted') AS last_went,
        sum(missed) AS missed
    FROM lives
    GROUP BY cluster, path
    HAVING count(*) FILTER (WHERE kind = 'deleted') >= $times
    ORDER BY count(*) FILTER (WHERE kind = 'deleted') DESC, cluster, path
    LIMIT $limit
),
unseen AS (
    SELECT cluster, path FROM gaps
    WHERE from_time <= $until AND coalesce(to_time, $until) >= $since
        AND from_zxid <= $until_zxid AND coalesce(to_zxid, $until_zxid) >= $since_zxid
)
SELECT
    flapping.cluster, flapping.path, came, went, lives, shortest_seconds, median_seconds, longest_seconds, sessions,
    last_came, last_went, missed, count(unseen.path) AS gaps
FROM flapping
LEFT JOIN unseen ON unseen.cluster = flapping.cluster AND prefix(flapping.path, depth(unseen.path)) = unseen.path
GROUP BY
    flapping.cluster, flapping.path, came, went, lives, shortest_seconds, median_seconds, longest_seconds, sessions,
    last_came, last_went, missed
ORDER BY went DESC, cluster, path
