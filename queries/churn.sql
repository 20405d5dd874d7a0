-- How many changes of each kind are there an hour?
--
-- $since    from  24h    changes from here on: an age (2h, 3d), a time in UTC (2026-11-20T03:12), a zxid (0x1000002a3)
-- $until    to    now    up to here, itself included
-- $cluster  text  ''     one ensemble; '' stands for all
-- $under    path  /      only this znode and what is below it
--
-- Honest about hours that nobody saw whole: `gaps` counts those that touch the hour, `unseen_seconds` is how long the
-- longest of them lasted within it. An hour without a row had neither a change nor a gap, or lies before recording began:
-- the report `gaps` says when that was.
WITH counted AS (
    SELECT
        cluster,
        date_trunc('hour', time) AS hour,
        count(*) AS changes,
        count(*) FILTER (WHERE kind = 'created') AS created,
        count(*) FILTER (WHERE kind = 'data_changed') AS data_changed,
        count(*) FILTER (WHERE kind = 'acl_changed') AS acl_changed,
        count(*) FILTER (WHERE kind = 'deleted') AS deleted,
        sum(missed) AS missed,
        count(DISTINCT path) AS paths
    FROM changes
    WHERE time >= $since AND time <= $until AND position >= $since_zxid AND position <= $until_zxid
        AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
    GROUP BY cluster, date_trunc('hour', time)
),
unseen AS (
    SELECT cluster, greatest(from_time, $since) AS began, least(coalesce(to_time, now()), $until) AS ended
    FROM gaps
    WHERE from_time <= $until AND coalesce(to_time, $until) >= $since
        AND from_zxid <= $until_zxid AND coalesce(to_zxid, $until_zxid) >= $since_zxid
        AND $cluster IN ('', cluster)
        AND (prefix(path, depth($under)) = $under OR prefix($under, depth(path)) = path)
),
unseen_hours AS (
    SELECT
        cluster,
        began,
        ended,
        unnest(generate_series(date_trunc('hour', began), date_trunc('hour', ended), INTERVAL '1 hour')) AS hour
    FROM unseen
    WHERE began <= ended
),
blind AS (
    SELECT
        cluster,
        arrow_cast(hour, 'Timestamp(Microsecond, Some("UTC"))') AS hour,
        count(*) AS gaps,
        max(date_part('epoch', least(ended, hour + INTERVAL '1 hour')) - date_part('epoch', greatest(began, hour)))
            AS unseen_seconds
    FROM unseen_hours
    GROUP BY cluster, hour
)
SELECT
    coalesce(counted.cluster, blind.cluster) AS cluster,
    coalesce(counted.hour, blind.hour) AS hour,
    coalesce(changes, 0) AS changes,
    coalesce(created, 0) AS created,
    coalesce(data_changed, 0) AS data_changed,
    coalesce(acl_changed, 0) AS acl_changed,
    coalesce(deleted, 0) AS deleted,
    coalesce(missed, 0) AS missed,
    coalesce(paths, 0) AS paths,
    coalesce(gaps, 0) AS gaps,
    round(coalesce(unseen_seconds, 0), 1) AS unseen_seconds
FROM counted
FULL OUTER JOIN blind ON blind.cluster = counted.cluster AND blind.hour = counted.hour
ORDER BY hour, cluster
