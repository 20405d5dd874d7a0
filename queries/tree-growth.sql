-- How does the tree grow, and where?
--
-- $since    from  7d     from here on: an age (2h, 3d), a time in UTC (2026-11-20T03:12), a zxid (0x1000002a3)
-- $until    to    now    up to here, itself included
-- $cluster  text  ''     one ensemble; '' stands for all
-- $under    path  /      only this znode and what is below it
-- $names    int   1      count by the first so many names of the path
-- $every    text  day    hour, day, week or month
--
-- Honest about two ways to count: `snapshot` rows count what was there, `changes` rows what was seen to come and go in the
-- time that begins at `time`. Where `gaps` is not 0 the latter are lower bounds; a time in which nobody was looking at all has
-- no row (see the report `gaps`). Bytes are those of whole values; a value
-- whose length is not on record adds nothing.
WITH rows AS (
    SELECT
        cluster, 'changes' AS what, date_trunc($every, time) AS time, prefix(path, $names) AS subtree,
        CAST(NULL AS BIGINT) AS znodes, CAST(NULL AS BIGINT) AS bytes,
        count(*) FILTER (WHERE kind = 'created') AS created,
        count(*) FILTER (WHERE kind = 'deleted') AS deleted,
        count(*) FILTER (WHERE kind = 'created') - count(*) FILTER (WHERE kind = 'deleted') AS net,
        coalesce(sum(data_length) FILTER (WHERE kind IN ('created', 'data_changed')), 0) AS bytes_written
    FROM changes
    WHERE time >= $since AND time <= $until AND position >= $since_zxid AND position <= $until_zxid
        AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
    GROUP BY date_trunc($every, time), cluster, prefix(path, $names)
    UNION ALL
    SELECT
        cluster, 'snapshot', taken_at, prefix(path, $names), count(*), coalesce(sum(data_length), 0),
        NULL, NULL, NULL, NULL
    FROM snapshots
    WHERE taken_at >= $since AND taken_at <= $until AND position >= $since_zxid AND position <= $until_zxid
        AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
    GROUP BY taken_at, cluster, prefix(path, $names)
),
unseen AS (
    SELECT cluster, date_trunc($every, from_time) AS first_time, coalesce(to_time, $until) AS last_time FROM gaps
    WHERE from_time <= $until AND coalesce(to_time, $until) >= $since
        AND from_zxid <= $until_zxid AND coalesce(to_zxid, $until_zxid) >= $since_zxid
)
SELECT
    rows.cluster, rows.time, what, subtree, znodes, bytes, created, deleted, net, bytes_written,
    count(unseen.cluster) AS gaps
FROM rows
LEFT JOIN unseen
    ON unseen.cluster = rows.cluster AND what = 'changes' AND rows.time BETWEEN unseen.first_time AND unseen.last_time
GROUP BY rows.time, what, rows.cluster, subtree, znodes, bytes, created, deleted, net, bytes_written
ORDER BY time, what DESC, cluster, subtree
