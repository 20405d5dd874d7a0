SELECT incarnation, seq, kind, path, version, aversion, zxid, position, ordinal, czxid, node_type, ephemeral_owner,
       data, data_length, acl, evidence, missed, source, cause, session_id, cxid, time_source
FROM changes ORDER BY incarnation, position, zxid NULLS LAST, ordinal, seq;

SELECT path, czxid, mzxid, pzxid, version, cversion, aversion, node_type, num_children, acl, data, data_length
FROM znodes ORDER BY path;

SELECT path, version, data FROM znodes_at({unseen}) ORDER BY path;

SELECT path, from_zxid, to_zxid, reason, missed_at_least FROM gaps WHERE to_time IS NOT NULL ORDER BY from_time, path;

SELECT source, aspect, path, ended, count(*) AS n FROM coverage GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;

SELECT session_id, address_source FROM sessions ORDER BY session_id;

SELECT operation, path, user_name, result FROM audit ORDER BY seq;

SELECT count(*) AS snapshots, max(seq) AS last FROM (SELECT DISTINCT seq FROM snapshots);
