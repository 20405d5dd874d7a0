-- from: gap
SELECT
    cluster,
    from_time AS time,
    to_time,
    path,
    reason,
    date_part('epoch', to_time) - date_part('epoch', from_time) AS seconds,
    CASE WHEN to_time IS NULL THEN 'lasts' ELSE 'over' END AS state,
    missed_at_least
FROM gap
