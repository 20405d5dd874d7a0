"""Reads changes/**/*.parquet in a loop until standard input ends, and says what it saw.

usage: readers.py duckdb|polars|pyarrow|doubled FOLDER

Prints {"reader", "queries", "rows", "no_such_file", "wrong"}: `no_such_file` counts the queries that had listed a
file which was then exchanged away; `wrong` lists everything else that should not be. `doubled` is DuckDB, too, and prints
also {"doubled": [[zxid, path, kind, n], …]}: what it ever saw more than once at one zxid, and how often at most.
"""

import glob
import json
import select
import sys

WRONG_MAX = 20


def duckdb_reader(folder):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    query = (
        "SELECT count(*), count(DISTINCT seq), min(seq), max(seq) "
        f"FROM read_parquet('{folder}/changes/**/*.parquet', hive_partitioning = true)"
    )
    return lambda: connection.execute(query).fetchone()


def doubled_reader(folder):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    files = f"read_parquet('{folder}/changes/**/*.parquet', hive_partitioning = true)"
    query = (
        f"WITH rows AS (SELECT seq, zxid, path, kind FROM {files}), "
        "twins AS (SELECT zxid, path, kind, count(*) AS n FROM rows WHERE zxid IS NOT NULL GROUP BY ALL HAVING n > 1) "
        "SELECT count(*), count(DISTINCT seq), min(seq), max(seq), (SELECT list((zxid, path, kind, n)) FROM twins) FROM rows"
    )

    def read():
        *counts, twins = connection.execute(query).fetchone()
        for zxid, path, kind, n in twins or []:
            doubled[zxid, path, kind] = max(n, doubled.get((zxid, path, kind), 0))
        return counts

    return read


# By (zxid, path, kind): the most rows that one query of `doubled` saw.
doubled = {}


def polars_reader(folder):
    import polars

    def read():
        seqs = polars.scan_parquet(f"{folder}/changes/**/*.parquet", hive_partitioning=True).select("seq")
        return (
            seqs.select(
                polars.len().alias("n"),
                polars.col("seq").n_unique().alias("seqs"),
                polars.col("seq").min().alias("first"),
                polars.col("seq").max().alias("last"),
            )
            .collect()
            .row(0)
        )

    return read


def pyarrow_reader(folder):
    import pyarrow.compute as compute
    import pyarrow.dataset as dataset

    def read():
        changes = dataset.dataset(f"{folder}/changes", format="parquet", partitioning="hive")
        seq = changes.to_table(columns=["seq"])["seq"]
        return (len(seq), compute.count_distinct(seq).as_py(), compute.min(seq).as_py(), compute.max(seq).as_py())

    return read


def is_missing_file(error):
    return isinstance(error, FileNotFoundError) or "no such file" in str(error).lower()


def main(name, folder):
    readers = {"duckdb": duckdb_reader, "polars": polars_reader, "pyarrow": pyarrow_reader, "doubled": doubled_reader}
    read = readers[name](folder)
    queries = rows = no_such_file = 0
    wrong = []
    # End of input is the sign to stop; a started query is finished.
    while not select.select([sys.stdin], [], [], 0)[0]:
        if not glob.glob(f"{folder}/changes/**/*.parquet", recursive=True):
            select.select([sys.stdin], [], [], 0.05)
            continue
        queries += 1
        try:
            count, seqs, first, last = read()
        except Exception as error:
            if is_missing_file(error):
                no_such_file += 1
            elif len(wrong) < WRONG_MAX:
                wrong.append(f"{type(error).__name__}: {error}")
            continue
        problem = None
        if seqs != count:
            problem = f"{count} rows, but {seqs} seqs"
        elif name == "doubled":
            # An import may replace rows that never were: seqs then have holes.
            pass
        elif count and last - first + 1 != count:
            problem = f"{count} rows from seq {first} to {last}"
        elif count < rows:
            problem = f"{count} rows after {rows}"
        if problem and len(wrong) < WRONG_MAX:
            wrong.append(problem)
        rows = max(rows, count)
    summary = {"reader": name, "queries": queries, "rows": rows, "no_such_file": no_such_file, "wrong": wrong}
    if name == "doubled":
        summary["doubled"] = [[*key, n] for key, n in doubled.items()]
    print(json.dumps(summary))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
