-- Who holds the most ephemerals now?
--
-- $cluster  text  ''     one ensemble; '' stands for all
-- $under    path  /      only this znode and what is below it
-- $limit    int   20     at most so many sessions
--
-- Honest about who they are: a watch does not tell whose a session is, so `address` is null unless the servers' lists of
-- connections or an imported audit log told; `example` is one of its paths, which usually says. While `gaps` is not 0
-- nobody is looking: sessions may have ended since.
WITH owners AS (
    SELECT
        cluster,
        ephemeral_owner,
        count(*) AS ephemerals,
        min(path) AS example,
        count(DISTINCT parent(path)) AS parents,
        min(ctime) AS oldest,
        max(ctime) AS newest
    FROM znodes
    WHERE ephemeral_owner <> 0 AND $cluster IN ('', cluster) AND prefix(path, depth($under)) = $under
    GROUP BY cluster, ephemeral_owner
    ORDER BY count(*) DESC, cluster, ephemeral_owner
    LIMIT $limit
),
open_gaps AS (
    SELECT cluster, count(*) AS gaps FROM gaps WHERE to_time IS NULL GROUP BY cluster
)
SELECT
    owners.cluster, owners.ephemeral_owner, owners.ephemerals, example, parents, oldest, newest,
    sessions.address, sessions.opened_at, coalesce(gaps, 0) AS gaps
FROM owners
LEFT JOIN sessions ON sessions.cluster = owners.cluster AND sessions.session_id = owners.ephemeral_owner
LEFT JOIN open_gaps ON open_gaps.cluster = owners.cluster
ORDER BY ephemerals DESC, cluster, ephemeral_owner
