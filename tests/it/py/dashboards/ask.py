"""Asks everything that dashboards ask, of a real Prometheus and a real door, and says which panels stay empty.

usage: ask.py PROMETHEUS_URL DOOR_PORT SECONDS [--lively] [--path PATH] [--only KIND] DASHBOARD.json…

The time range is the last SECONDS. Prints a JSON object: `panels` (each with its rows by target), `empty` panels,
`needs_mntr` (panels that are empty and say that they need mntr), `wrong` (errors, and columns that are not there).
With --path that path is chosen, as by a click on it. With --lively a query that only says that there is nothing counts as
empty, and so does an annotation without events. --only prometheus or --only postgres leaves the other out.
"""

import argparse
import datetime
import json
import math
import re
import sys
import urllib.parse
import urllib.request

import psycopg

import boards
import expand

# Types whose values the data source reads as numbers, times, booleans or text.
NUMBERS = {20, 21, 23, 700, 701, 1700}
TIMES = {1082, 1114, 1184}
KNOWN = NUMBERS | TIMES | {16, 17, 25, 1042, 1043}
TIMEOUT_SECONDS = 60


class Sources:
    def __init__(self, url, port, seconds):
        self.url = url
        self.door = psycopg.connect(f"host=127.0.0.1 port={port} user=grafana dbname=zktrail", autocommit=True)
        until = datetime.datetime.now(expand.UTC)
        self.range = expand.Range(until - datetime.timedelta(seconds=seconds), until)

    def api(self, path, **query):
        text = urllib.parse.urlencode(query, doseq=True)
        # Straight to it, whatever proxy the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/api/v1/{path}?{text}", timeout=TIMEOUT_SECONDS) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error).get("error", str(error)))

    def series(self, expr, instant):
        """(labels, numbers that are finite) of each series."""
        if instant:
            answer = self.api("query", query=expr, time=self.range.until.timestamp())["result"]
            points = [(one["metric"], [one["value"]]) for one in answer]
        else:
            since, until = self.range.since.timestamp(), self.range.until.timestamp()
            answer = self.api("query_range", query=expr, start=since, end=until, step=self.range.interval)["result"]
            points = [(one["metric"], one["values"]) for one in answer]
        finite = [(labels, [float(value) for _, value in values if math.isfinite(float(value))]) for labels, values in points]
        return [(labels, values) for labels, values in finite if values]

    def rows(self, sql):
        """Names and types of the columns, and the rows."""
        cursor = self.door.execute(sql)
        return {column.name: column.type_code for column in cursor.description}, cursor.fetchall()


def variables(board, sources, path):
    """Every variable with all that it can be, and which of them can be nothing."""
    values, empty = {}, []
    for variable in board["templating"]["list"]:
        match variable["type"]:
            case "textbox":
                values[variable["name"]] = path if variable["name"] == "path" else variable["query"]
            case "custom":
                values[variable["name"]] = variable["query"].split(",")
            case "query":
                values[variable["name"]] = known_to_prometheus(variable, values, sources)
                if not values[variable["name"]]:
                    empty.append(f"variable {variable['name']}")
    return values, empty


def known_to_prometheus(variable, values, sources):
    query = expand.promql(variable["query"]["query"], values, sources.range)
    if labels := re.fullmatch(r"label_values\((.+), (\w+)\)", query):
        return sorted({labels_of.get(labels[2], "") for labels_of, _ in sources.series(labels[1], True)} - {""})
    expr = re.fullmatch(r"query_result\((.+)\)", query)[1]
    # As text: {label="value",…} number time, of which the variable's regular expression takes a part.
    regex = re.compile(variable["regex"].strip("/"))
    lines = ["{%s} 1 1" % ",".join(f'{key}="{value}"' for key, value in one.items()) for one, _ in sources.series(expr, True)]
    return sorted({match[1] for line in lines if (match := regex.search(line))})


def ask_prometheus(target, values, sources):
    """How many series, and the columns that a table would have."""
    found = sources.series(expand.promql(target["expr"], values, sources.range), target.get("instant", False))
    columns = {key for labels, _ in found for key in labels if key != "__name__"}
    return len(found), columns | {"Time", f"Value #{target['refId']}"}, []


def ask_door(target, values, sources, lively):
    columns, rows = sources.rows(expand.sql(target["rawSql"], values, sources.range))
    unknown = [name for name, kind in columns.items() if kind not in KNOWN]
    wrong = [f"column {name} has the type {columns[name]}, which Grafana reads as text" for name in unknown]
    if target["format"] == "time_series":
        names = list(columns)
        at = names.index("time")
        if columns["time"] not in TIMES | NUMBERS or not any(kind in NUMBERS for kind in list(columns.values())[at + 1 :]):
            wrong.append(f"no time series: {columns}")
        if [row[at] for row in rows] != sorted(row[at] for row in rows):
            wrong.append("not in the order of time")
    if lively and "cluster" in columns:
        at = list(columns).index("cluster")
        rows = [row for row in rows if row[at] is not None]
    return len(rows), set(columns), wrong


def look(board, sources, lively, only, path):
    values, empty = variables(board, sources, path)
    told = {"panels": [], "empty": empty, "needs_mntr": [], "wrong": []}

    def ask(target, kind):
        try:
            if kind == "prometheus":
                return ask_prometheus(target, values, sources)
            return ask_door(target, values, sources, lively)
        except (ValueError, psycopg.Error) as error:
            return 0, set(), [f"{error}"]

    # Where no agent can be chosen, several agents on one ensemble are one: else every figure is there twice.
    agents_are_one = "agent" not in values
    for panel in boards.panels(board):
        kind = panel["datasource"]["type"]
        if only and kind != only:
            continue
        counts, columns = {}, set()
        for target in panel["targets"]:
            count, names, wrong = ask(target, kind)
            counts[target["refId"]] = count
            columns |= names
            if agents_are_one and "instance" in names:
                wrong.append("a series for each agent")
            told["wrong"] += [f"{panel['title']} {target['refId']}: {line}" for line in wrong]
        told["panels"].append({"title": panel["title"], "rows": counts})
        if panel["type"] == "table" and all(counts.values()):
            missing = [name for name in boards.overrides(panel) if name not in columns]
            told["wrong"] += [f"{panel['title']}: there is no column {name}" for name in missing]
        if not any(counts.values()):
            says = panel["fieldConfig"]["defaults"].get("noValue", "")
            told["needs_mntr" if says.startswith("Needs mntr") else "empty"].append(panel["title"])
        elif lively and not all(counts.values()):
            told["empty"] += [f"{panel['title']} {ref}" for ref, count in counts.items() if not count]
    for annotation in board["annotations"]["list"]:
        kind = annotation["datasource"]["type"]
        if only and kind != only:
            continue
        target = annotation["target"] if kind == "postgres" else {"expr": annotation["expr"], "refId": "Anno"}
        count, columns, wrong = ask(target, kind)
        told["wrong"] += [f"annotation {annotation['name']}: {line}" for line in wrong]
        if kind == "postgres" and not wrong and not {"time", "text", "tags"} <= columns:
            told["wrong"].append(f"annotation {annotation['name']} has the columns {sorted(columns)}")
        if lively and not count:
            told["empty"].append(f"annotation {annotation['name']}")
    return told


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("url")
    arguments.add_argument("port", type=int)
    arguments.add_argument("seconds", type=float)
    arguments.add_argument("files", nargs="+")
    arguments.add_argument("--lively", action="store_true")
    arguments.add_argument("--path", default="")
    arguments.add_argument("--only", choices=["prometheus", "postgres"])
    given = arguments.parse_args()
    sources = Sources(given.url, given.port, given.seconds)
    told = {"panels": [], "empty": [], "needs_mntr": [], "wrong": []}
    for file in given.files:
        board = boards.load(file)
        for key, lines in look(board, sources, given.lively, given.only, given.path).items():
            told[key] += [{**line, "board": board["title"]} if key == "panels" else f"{board['title']}: {line}" for line in lines]
    json.dump(told, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
