SELECT
    greatest(from_time, $__timeFrom()::timestamptz) AS time,
    coalesce(to_time, $__timeTo()::timestamptz) AS timeend,
    cluster || ': nobody was looking at ' || path || ': ' || reason AS text,
    'gap,' || cluster AS tags
FROM gaps
WHERE from_time <= $__timeTo() AND coalesce(to_time, $__timeTo()::timestamptz) >= $__timeFrom()
    AND cluster IN (${cluster:sqlstring})
UNION ALL
SELECT
    $__timeFrom()::timestamptz, least(min(from_time), $__timeTo()::timestamptz),
    cluster || ': recording had not begun', 'gap,' || cluster
FROM coverage
WHERE cluster IN (${cluster:sqlstring})
GROUP BY cluster
HAVING min(from_time) > $__timeFrom()
ORDER BY time DESC
LIMIT 100
