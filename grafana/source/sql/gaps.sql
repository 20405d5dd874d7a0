SELECT
    coalesce(from_time, $__timeFrom()::timestamptz) AS "from",
    CASE WHEN found.cluster IS NULL THEN $__timeTo()::timestamptz ELSE to_time END AS "to",
    seconds,
    found.cluster,
    path,
    coalesce(reason, 'no gap in this range') AS reason,
    missed_at_least AS missed
FROM (VALUES (1)) AS one (one)
LEFT JOIN (
    SELECT
        from_time, to_time, cluster, path, reason, missed_at_least,
        date_part('epoch', coalesce(to_time, now())) - date_part('epoch', from_time) AS seconds
    FROM gaps
    WHERE from_time <= $__timeTo() AND coalesce(to_time, $__timeTo()::timestamptz) >= $__timeFrom()
        AND cluster IN (${cluster:sqlstring})
    UNION ALL
    SELECT
        $__timeFrom()::timestamptz, least(min(from_time), $__timeTo()::timestamptz), cluster, '/',
        'recording had not begun', NULL,
        date_part('epoch', least(min(from_time), $__timeTo()::timestamptz)) - date_part('epoch', $__timeFrom()::timestamptz)
    FROM coverage
    WHERE cluster IN (${cluster:sqlstring})
    GROUP BY cluster
    HAVING min(from_time) > $__timeFrom()
    ORDER BY from_time DESC
    LIMIT 100
) AS found ON true
ORDER BY from_time DESC
