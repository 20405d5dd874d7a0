snapshot AS (
    SELECT *, data_text(data) AS value FROM snapshots
)
