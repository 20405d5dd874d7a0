SELECT
    time,
    cluster || ': ' || kind || ' ' || path AS text,
    'configuration,' || kind || ',' || cluster AS tags
FROM changes
WHERE $__timeFilter(time) AND cluster IN (${cluster:sqlstring}) AND path ~ '^(${config:regex})(/|$)'
    AND ephemeral_owner = 0
ORDER BY time DESC
LIMIT 200
