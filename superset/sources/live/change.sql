change AS (
    SELECT *, data_text(data) AS value FROM changes
)
