-- The newest 500 changes. What was not observed is a row of its own; a range in which nothing happened says so.
SELECT
    coalesce(time, $__timeTo()::timestamptz) AS time,
    cluster,
    coalesce(kind, 'none') AS kind,
    coalesce(path, 'nothing changed in this range') AS path,
    version, value, bytes, evidence, missed, cause, session, zxid
FROM (VALUES (1)) AS one (one)
LEFT JOIN (
    SELECT * FROM (
        SELECT
            time, cluster, kind, path, version,
            coalesce(
                left(data_text(data), 500),
                CASE WHEN data IS NOT NULL THEN '(no text)' WHEN data_length > 0 THEN '(not recorded)' END
            ) AS value,
            data_length AS bytes, evidence, missed, cause,
            hex(coalesce(session_id, nullif(ephemeral_owner, 0))) AS session,
            hex(zxid) AS zxid, position, seq
        FROM changes
        WHERE $__timeFilter(time) AND cluster IN (${cluster:sqlstring}) AND kind IN (${kind:sqlstring})
            AND prefix(path, depth(${under:sqlstring})) = ${under:sqlstring}
        UNION ALL
        SELECT
            greatest(from_time, $__timeFrom()::timestamptz), cluster, 'gap', path, NULL,
            'nobody was looking: ' || reason
                || CASE WHEN to_time IS NULL THEN ', not over' ELSE ' until ' || to_char(to_time, 'YYYY-MM-DD HH24:MI:SS') || ' UTC' END,
            NULL, NULL, missed_at_least, NULL, NULL, NULL, from_zxid, 0
        FROM gaps
        WHERE from_time <= $__timeTo() AND coalesce(to_time, $__timeTo()::timestamptz) >= $__timeFrom()
            AND cluster IN (${cluster:sqlstring})
            AND (prefix(path, depth(${under:sqlstring})) = ${under:sqlstring} OR prefix(${under:sqlstring}, depth(path)) = path)
    ) AS rows
    ORDER BY time DESC, position DESC, seq DESC
    LIMIT 500
) AS found ON true
ORDER BY time DESC, position DESC, seq DESC
