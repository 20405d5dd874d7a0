-- How much of a window did nobody look at?
--
-- $since    from  required  the window's beginning
-- $until    to    required  its end
-- $cluster  text  ''        one ensemble; '' stands for all
WITH unseen AS (
    SELECT from_time, coalesce(to_time, least(now(), $until)) AS to_time, to_time IS NULL AS is_open FROM gaps
    WHERE from_time <= $until AND coalesce(to_time, $until) >= $since
        AND from_zxid <= $until_zxid AND coalesce(to_zxid, $until_zxid) >= $since_zxid
        AND $cluster IN ('', cluster)
)
SELECT
    (SELECT count(*) FROM unseen) AS gaps,
    (SELECT count(*) FROM unseen WHERE is_open) AS open_gaps,
    -- Overlapping ones, as of several paths, are as long as the longest of them at least.
    (SELECT CAST(max(date_part('epoch', least(to_time, $until)) - date_part('epoch', greatest(from_time, $since))) * 1e6
        AS BIGINT) FROM unseen) AS longest_micros,
    (SELECT CAST(date_part('epoch', min(from_time)) * 1e6 AS BIGINT) FROM coverage
        WHERE $cluster IN ('', cluster)) AS began_micros,
    (SELECT count(DISTINCT cluster) FROM coverage WHERE $cluster IN ('', cluster)) AS clusters,
    arrow_cast($since, 'Int64') AS since_micros
