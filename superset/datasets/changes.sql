-- from: change
SELECT
    cluster,
    time,
    kind,
    path,
    CASE WHEN path = '/' THEN '/' ELSE '/' || split_part(path, '/', 2) END AS subtree,
    CASE
        WHEN ephemeral_owner <> 0 OR coalesce(node_type = 'ephemeral', false) THEN 'ephemeral'
        ELSE coalesce(node_type, 'not ephemeral')
    END AS node_type,
    CASE kind WHEN 'created' THEN 1 WHEN 'deleted' THEN -1 ELSE 0 END AS growth,
    version,
    data_length,
    evidence,
    missed,
    source,
    zxid,
    position,
    seq
FROM change
