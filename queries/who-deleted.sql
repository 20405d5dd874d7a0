-- Who deleted which znodes, when, and from where?
--
-- $since    from  24h    changes from here on: an age (2h, 3d), a time in UTC (2026-11-20T03:12), a zxid (0x1000002a3)
-- $until    to    now    up to here, itself included
-- $cluster  text  ''     one ensemble; '' stands for all
-- $under    path  /      only this znode and what is below it
-- $ephemerals  bool  false  ephemerals too
-- $seconds  int   5      by how much the clocks of the servers and of their audit logs may differ
-- $limit    int   100    at most so many of an ensemble, the latest
--
-- Honest about who it was: `known_by` says from what session, user and address are known, or why nobody is named. Watches
-- do not tell who deletes: only the transaction log does, and an imported audit log. Its lines and the deletions are paired
-- by session, path and order, where no session is known by path and order alone, and only where their numbers agree. An
-- address without a line of the audit log is where the session was last seen, not where it was then. Gaps are rows of
-- their own (kind `gap`): who deleted what in them left no trace here, but in the audit log.
WITH written AS (
    SELECT
        cluster, incarnation, position, zxid, ordinal, seq, time, kind, path, cause, evidence, missed, source,
        CASE
            WHEN session_id IS NOT NULL THEN session_id
            WHEN ephemeral_owner <> 0 AND (kind = 'created' OR cause IN ('session_closed', 'expired'))
                THEN ephemeral_owner
        END AS session_id,
        CASE
            WHEN session_id = 0 THEN 'the ensemble itself: an empty container, or a TTL that has run out'
            WHEN kind = 'deleted' AND cause IN ('session_closed', 'expired') AND ephemeral_owner <> 0
                THEN 'the end of the session that held it'
            WHEN session_id IS NOT NULL THEN 'session by the transaction log'
            WHEN ephemeral_owner <> 0 AND kind = 'created' THEN 'session by the ephemeral''s owner'
        END AS session_by,
        -- 0: nobody asked for it; 1: paired by session; 2: by path alone.
        CASE
            WHEN session_id = 0 OR kind = 'deleted' AND cause IN ('session_closed', 'expired') THEN 0
            WHEN session_id IS NOT NULL OR ephemeral_owner <> 0 AND kind = 'created' THEN 1
            ELSE 2
        END AS own_pairing,
        ephemeral_owner
    FROM changes
    WHERE time >= $since - INTERVAL '1 hour' AND time <= $until + INTERVAL '1 hour'
        AND position >= $since_zxid AND position <= $until_zxid
        AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under AND kind = 'deleted'
),
lines AS (
    SELECT
        cluster, seq, time, path, session_id, user_name, address,
        'deleted' AS kind
    FROM audit
    WHERE result = 'success' AND operation = 'delete'
        AND session_id <> 0 AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
        AND time >= $since - INTERVAL '1 hour' AND time <= $until + INTERVAL '1 hour'
),
nameless AS (
    SELECT DISTINCT cluster, path FROM written WHERE own_pairing = 2
),
-- Changes and lines in one row after the other. A change whose session is known counts also among those of its path.
both AS (
    SELECT
        own_pairing AS pairing, true AS is_own, 0 AS is_line, cluster, kind, path,
        CASE own_pairing WHEN 1 THEN session_id ELSE 0 END AS session_key,
        incarnation, position, zxid, ordinal, seq, time, cause, evidence, missed, source, ephemeral_owner,
        session_id, session_by, CAST(NULL AS text) AS user_name, CAST(NULL AS text) AS address
    FROM written
    UNION ALL
    SELECT
        2, false, 0, cluster, kind, path, 0,
        incarnation, position, zxid, ordinal, seq, time, cause, evidence, missed, source, ephemeral_owner,
        session_id, session_by, NULL, NULL
    FROM written WHERE own_pairing = 1 AND EXISTS (
        SELECT 1 FROM nameless WHERE nameless.cluster = written.cluster AND nameless.path = written.path
    )
    UNION ALL
    SELECT
        1, false, 1, cluster, kind, path, session_id AS session_key, 0, 0, NULL, 0, seq, time, NULL, NULL, 0, NULL, 0,
        session_id, NULL, user_name, address
    FROM lines WHERE EXISTS (
        SELECT 1 FROM written
        WHERE own_pairing = 1 AND written.cluster = lines.cluster AND written.session_id = lines.session_id
            AND written.path = lines.path
    )
    UNION ALL
    SELECT
        2, false, 1, cluster, kind, path, 0, 0, 0, NULL, 0, seq, time, NULL, NULL, 0, NULL, 0,
        session_id, NULL, user_name, address
    FROM lines WHERE EXISTS (
        SELECT 1 FROM nameless WHERE nameless.cluster = lines.cluster AND nameless.path = lines.path
    )
),
steps AS (
    SELECT
        *,
        extract(epoch FROM time) - lag(extract(epoch FROM time)) OVER (
            PARTITION BY pairing, cluster, kind, path, session_key ORDER BY time, is_line, seq
        ) AS since_last
    FROM both
),
-- Whatever follows on another within the clocks' difference belongs together.
islands AS (
    SELECT
        *,
        sum(CASE WHEN since_last <= $seconds THEN 0 ELSE 1 END) OVER (
            PARTITION BY pairing, cluster, kind, path, session_key ORDER BY time, is_line, seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS island
    FROM steps
),
places AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY pairing, cluster, kind, path, session_key, island, is_line
            ORDER BY incarnation, position, zxid IS NULL, ordinal, CASE is_line WHEN 1 THEN time END, seq
        ) AS place,
        sum(is_line) OVER (PARTITION BY pairing, cluster, kind, path, session_key, island) AS line_count,
        sum(1 - is_line) OVER (PARTITION BY pairing, cluster, kind, path, session_key, island) AS change_count,
        sum(missed) OVER (PARTITION BY pairing, cluster, kind, path, session_key, island) AS missed_count
    FROM islands
),
-- Of each place there is one change at most, and one line.
pairs AS (
    SELECT
        cluster, kind, path, line_count, change_count,
        pairing <> 0 AND line_count = change_count AND (pairing = 1 OR missed_count = 0) AS is_paired,
        max(CASE is_line WHEN 0 THEN incarnation END) AS incarnation,
        max(CASE is_line WHEN 0 THEN position END) AS position,
        max(CASE is_line WHEN 0 THEN zxid END) AS zxid,
        max(CASE is_line WHEN 0 THEN ordinal END) AS ordinal,
        max(CASE is_line WHEN 0 THEN seq END) AS seq,
        max(CASE is_line WHEN 0 THEN time END) AS time,
        max(cause) AS cause,
        max(evidence) AS evidence,
        max(missed) AS missed,
        max(source) AS source,
        max(CASE is_line WHEN 0 THEN ephemeral_owner END) AS ephemeral_owner,
        max(CASE is_line WHEN 0 THEN session_id END) AS session_id,
        max(session_by) AS session_by,
        max(CASE is_line WHEN 1 THEN session_id END) AS line_session,
        max(user_name) AS line_user,
        max(address) AS line_address
    FROM places
    GROUP BY cluster, kind, path, pairing, session_key, island, place, line_count, change_count, missed_count
    HAVING max(CASE WHEN is_own THEN 1 ELSE 0 END) = 1
),
named AS (
    SELECT
        cluster, incarnation, position, zxid, ordinal, seq, time, kind, path, cause, evidence, missed, source,
        is_paired, line_count, change_count,
        CASE
            WHEN session_id <> 0 THEN session_id
            WHEN session_id IS NULL AND is_paired THEN line_session
        END AS session_id,
        CASE WHEN is_paired THEN line_user END AS line_user,
        CASE WHEN is_paired THEN line_address END AS line_address,
        CASE
            WHEN session_by IS NOT NULL THEN session_by
            WHEN is_paired THEN 'session by the audit log, paired by path and order'
            WHEN line_count > 0 THEN 'not known: at that time there are ' || change_count || ' such changes on record, '
                || line_count || ' in the audit log'
            WHEN source IN ('txnlog', 'observer') THEN 'not known'
            ELSE 'not known: watches do not tell, and no audit line is near'
        END AS session_by
    FROM pairs
    WHERE time >= $since AND time <= $until AND ($ephemerals OR ephemeral_owner = 0)
),
authored AS (
    SELECT
        named.*,
        coalesce(line_user, sessions.user_name) AS user_name,
        coalesce(line_address, sessions.address) AS address,
        session_by || CASE
            WHEN line_address IS NOT NULL AND session_by LIKE '%audit log%' THEN ''
            WHEN line_address IS NOT NULL THEN '; user and address by the audit log'
            WHEN sessions.address IS NULL THEN ''
            WHEN sessions.user_name IS NOT NULL THEN '; user by other lines of the audit log'
            ELSE ''
        END || CASE
            WHEN line_address IS NOT NULL OR sessions.address IS NULL THEN ''
            ELSE '; address by ' || sessions.address_source || ' at '
                || to_char(sessions.address_at, 'YYYY-MM-DD HH24:MI:SS')
                || CASE WHEN hosts > 1 THEN ', one of ' || hosts || ' hosts' ELSE '' END
        END AS known_by
    FROM named
    LEFT JOIN sessions ON sessions.cluster = named.cluster AND sessions.session_id = named.session_id
),
rows AS (
    SELECT
        cluster, time, path, kind, cause, session_id, user_name, address, known_by,
        evidence || CASE
            WHEN missed > 0 THEN ', ' || missed || ' missed before it'
            WHEN source = 'rescan' THEN ', found after a gap: deleted at some time in it'
            ELSE ''
        END AS certainty,
        zxid, incarnation, position, ordinal, seq
    FROM authored
    UNION ALL
    SELECT
        cluster, from_time, path, 'gap', NULL, NULL, NULL, NULL, NULL,
        reason || CASE WHEN to_time IS NULL THEN ', not over' ELSE ' until ' || to_char(to_time, 'YYYY-MM-DD HH24:MI:SS') END,
        NULL, incarnation, from_zxid, 2147483647, 9223372036854775807
    FROM gaps
    WHERE from_time <= $until AND coalesce(to_time, $until) >= $since
        AND from_zxid <= $until_zxid AND coalesce(to_zxid, $until_zxid) >= $since_zxid
        AND $cluster IN ('', cluster)
        AND (prefix(path, depth($under)) = $under OR prefix($under, depth(path)) = path)
),
latest AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY cluster
            ORDER BY incarnation DESC, position DESC, zxid IS NULL DESC, time DESC, ordinal DESC, seq DESC, path
        ) AS place
    FROM rows
)
SELECT cluster, time, path, kind, cause, session_id, user_name, address, known_by, certainty, zxid
FROM latest
WHERE place <= $limit
ORDER BY cluster, incarnation, position, zxid IS NULL, time, ordinal, seq, path
