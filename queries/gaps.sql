-- When was nobody looking, and how sure are we of the rest?
--
-- $since    from  24h    changes from here on: an age (2h, 3d), a time in UTC (2026-11-20T03:12), a zxid (0x1000002a3)
-- $until    to    now    up to here, itself included
-- $cluster  text  ''     one ensemble; '' stands for all
--
-- Honest about both: the rows `gap` say what was not observed (`to_time` null: it lasts), with `zxids` the transactions that
-- passed meanwhile, and `missed` the changes proved lost. `before` is the time before recording began. The rows `rows` count
-- what was recorded in the window by its evidence (`about`): exact, coalesced (certain, value overtaken), inferred (certain,
-- place bounded); their `missed` are those that no gap counts already. Nothing that this does not list is in doubt, but for
-- ACLs: they are read from time to time.
SELECT cluster, what, path, about, from_time, to_time, seconds, zxids, changes, missed
FROM (
    SELECT
        cluster, 1 AS place, 'gap' AS what, path, reason AS about, from_time, to_time,
        round(date_part('epoch', coalesce(to_time, least(now(), $until))) - date_part('epoch', from_time), 1) AS seconds,
        CASE WHEN to_zxid >= from_zxid THEN to_zxid - from_zxid END AS zxids, CAST(NULL AS BIGINT) AS changes, missed_at_least AS missed
    FROM gaps
    WHERE from_time <= $until AND coalesce(to_time, $until) >= $since
        AND from_zxid <= $until_zxid AND coalesce(to_zxid, $until_zxid) >= $since_zxid
        AND $cluster IN ('', cluster)
    UNION ALL
    SELECT
        cluster, 0, 'before', '/', 'recording had not begun', NULL, min(from_time), NULL, NULL, NULL, 0
    FROM coverage
    WHERE $cluster IN ('', cluster)
    GROUP BY cluster
    HAVING min(from_time) > $since AND min(from_zxid) >= $since_zxid
    UNION ALL
    SELECT
        cluster, 2, 'rows', '/', evidence, min(time), max(time), NULL, NULL, count(*),
        coalesce(sum(missed) FILTER (WHERE source <> 'rescan'), 0)
    FROM changes
    WHERE time >= $since AND time <= $until AND position >= $since_zxid AND position <= $until_zxid
        AND $cluster IN ('', cluster)
    GROUP BY cluster, evidence
)
ORDER BY place, cluster, CASE WHEN what = 'gap' THEN from_time END, path, about
