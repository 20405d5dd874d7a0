-- from: change, snapshot
, begun AS (
    SELECT cluster, incarnation, min(seq) AS seq FROM snapshot GROUP BY cluster, incarnation
),
growth AS (
    SELECT snapshot.cluster, snapshot.incarnation, date_trunc('hour', taken_at) AS time, count(*) AS znodes
    FROM snapshot
    JOIN begun
        ON begun.cluster = snapshot.cluster AND begun.incarnation = snapshot.incarnation AND begun.seq = snapshot.seq
    GROUP BY snapshot.cluster, snapshot.incarnation, date_trunc('hour', taken_at)
    UNION ALL
    SELECT
        change.cluster,
        change.incarnation,
        date_trunc('hour', time),
        sum(CASE kind WHEN 'created' THEN 1 ELSE -1 END)
    FROM change
    JOIN begun ON begun.cluster = change.cluster AND begun.incarnation = change.incarnation AND change.seq > begun.seq
    WHERE kind IN ('created', 'deleted')
    GROUP BY change.cluster, change.incarnation, date_trunc('hour', time)
),
hourly AS (
    SELECT cluster, incarnation, time, sum(znodes) AS grown FROM growth GROUP BY cluster, incarnation, time
)
SELECT
    cluster,
    time,
    CAST(grown AS BIGINT) AS grown,
    CAST(sum(grown) OVER (PARTITION BY cluster, incarnation ORDER BY time) AS BIGINT) AS znodes
FROM hourly
