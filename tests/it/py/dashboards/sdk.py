"""Reads dashboards as Grafana's own SDK knows them, writes them again, and says what was lost on the way.

usage: sdk.py DASHBOARD.json…

A field that a version of Grafana does not know, or that has another type there, does not come back. What an annotation
asks of its data source is not in the SDK at all: of it only that it is there is known here.
"""

import json
import re
import sys

from grafana_foundation_sdk.cog import plugins, runtime
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

# Of annotations: the plugins' own, of which the SDK knows only what Grafana itself asks.
OF_PLUGINS = re.compile(r"\.annotations\.list\[\d+\]\.(titleFormat|textFormat|tagKeys|step|target\.\w+) is lost")


def main(files):
    plugins.register_default_plugins()
    wrong = []
    for file in files:
        with open(file) as text:
            board = json.load(text)
        back = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
        wrong += [f"{board['title']}: {line}" for line in lost(board, back, "") if not OF_PLUGINS.fullmatch(line)]
        for panel in board["panels"]:
            if panel["type"] != "row" and runtime.panelcfg_config(panel["type"]) is None:
                wrong.append(f"{board['title']}: {panel['title']}: no panel is of the type {panel['type']}")
    print("\n".join(wrong))
    return 1 if wrong else 0


def lost(ours, back, place):
    if isinstance(ours, dict) and isinstance(back, dict):
        for key, value in ours.items():
            # What is null is not there.
            if key in back or value is None:
                yield from lost(value, back.get(key), f"{place}.{key}")
            else:
                yield f"{place}.{key} is lost"
    elif isinstance(ours, list) and isinstance(back, list) and len(ours) == len(back):
        for at, (one, other) in enumerate(zip(ours, back)):
            yield from lost(one, other, f"{place}[{at}]")
    elif ours != back or type(ours) is bool and type(back) is not bool:
        yield f"{place} is {ours!r}, and comes back as {back!r}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
