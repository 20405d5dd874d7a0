"""What dashboards are made of, and whether it fits together.

usage: boards.py DASHBOARD.json…

Says what does not: numbers that are there twice, panels over one another, data sources and variables that nobody defines,
links that lead nowhere.
"""

import json
import re
import sys

# Grafana's own: https://grafana.com/docs/grafana/latest/dashboards/variables/add-template-variables/#global-variables
BUILTIN = {"__interval", "__interval_ms", "__rate_interval", "__range", "__value", "__field", "__url_time_range"}
# What the macros of the PostgreSQL data source look like to whoever looks for variables.
MACROS = {"__timeFilter", "__timeFrom", "__timeTo", "__timeGroupAlias"}
USED = re.compile(r"\$(\w+)|\$\{(\w+)")
COLUMNS = 24
DATA_SOURCES = {"prometheus": "prometheus", "postgres": "postgres"}


def load(file):
    with open(file) as text:
        return json.load(text)


def panels(board):
    """All that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def overrides(panel):
    """The fields that a panel has properties for, by name."""
    matchers = [override["matcher"] for override in panel["fieldConfig"]["overrides"]]
    return [matcher["options"] for matcher in matchers if matcher["id"] == "byName"]


def wrong_in(board, uids):
    yield from numbers(board)
    yield from places(board)
    yield from data_sources(board)
    yield from variables(board)
    for link in re.findall(r'"/d/([\w-]+)', json.dumps(board)):
        if link not in uids:
            yield f"a link leads to {link}, which is no dashboard"
    for panel in panels(board):
        if len(panel["description"]) < 20 or not panel["description"].endswith("."):
            yield f"{panel['title']}: no description says what it means"


def numbers(board):
    ids = [panel["id"] for panel in board["panels"]]
    if len(set(ids)) != len(ids):
        yield f"an id is there twice: {ids}"
    titles = [panel["title"] for panel in board["panels"]]
    yield from (f"the title {title} is there twice" for title in titles if titles.count(title) > 1)
    for panel in panels(board):
        refs = [target["refId"] for target in panel["targets"]]
        if len(set(refs)) != len(refs):
            yield f"{panel['title']}: a refId is there twice: {refs}"


def places(board):
    taken = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        if at["x"] < 0 or at["x"] + at["w"] > COLUMNS:
            yield f"{panel['title']} is beside the page: {at}"
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if (x, y) in taken:
                    yield f"{panel['title']} lies over {taken[x, y]}"
                    return
                taken[x, y] = panel["title"]


def data_sources(board):
    known = {f"${{{one['name']}}}": one["query"] for one in board["templating"]["list"] if one["type"] == "datasource"}
    asking = [(panel["title"], panel) for panel in panels(board)]
    asking += [(panel["title"], target) for panel in panels(board) for target in panel["targets"]]
    asking += [(variable["name"], variable) for variable in board["templating"]["list"] if variable["type"] == "query"]
    asking += [(annotation["name"], annotation) for annotation in board["annotations"]["list"]]
    for name, one in asking:
        source = one["datasource"]
        if known.get(source["uid"]) != source["type"] or source["type"] not in DATA_SOURCES:
            yield f"{name}: nobody defines the data source {source}"


def variables(board):
    defined = {variable["name"] for variable in board["templating"]["list"]}
    text = json.dumps(board)
    used = {name for match in USED.findall(text) for name in match if name} - {"__all"} - MACROS
    yield from (f"nobody defines the variable {name}" for name in sorted(used - defined - BUILTIN))
    yield from (f"nobody uses the variable {name}" for name in sorted(defined - used))


def main(files):
    boards = [load(file) for file in files]
    uids = {board["uid"] for board in boards}
    wrong = [f"{board['title']}: {line}" for board in boards for line in wrong_in(board, uids)]
    if len(uids) != len(boards):
        wrong.append(f"a uid is there twice: {sorted(uids)}")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
