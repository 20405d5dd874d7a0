"""Writes the dashboards, and the page of their panels, into the folder above. With --check only says whether they are the same."""

import json
import pathlib
import re
import sys

import agent
import ensemble_health
import what_changed

FOLDER = pathlib.Path(__file__).resolve().parent.parent
BOARDS = {"ensemble-health": ensemble_health, "what-changed": what_changed, "agent": agent}


def files():
    built = {name: module.build() for name, module in BOARDS.items()}
    written = {f"{name}.json": json.dumps(board, indent=1, ensure_ascii=False) + "\n" for name, board in built.items()}
    return {**written, "panels.md": page(built.values())}


def page(boards):
    """What every panel shows, for people who read before they import."""
    lines = [
        "# Panels",
        "",
        "What each panel of the dashboards shows and what to do about it. This page is made with them, by",
        "`python3 grafana/source/build.py`.",
        "",
        "The last column is the word that the servers have to answer for it: without `mntr` its panels stay empty, and say so.",
        "Servers allow only `srvr` by default; `zktrail check` names the line of zoo.cfg. An AdminServer (`--admin-url`) answers",
        "what the words do. Panels without a word show what the agent knows by itself.",
    ]
    for board in boards:
        lines += ["", f"## {board['title'].removeprefix('zktrail: ').capitalize()}", "", board["description"]]
        for panel in board["panels"]:
            if panel["type"] == "row":
                lines += ["", f"### {panel['title']}", "", "| panel | what it shows | word |", "| --- | --- | --- |"]
            else:
                lines.append(f"| {panel['title']} | {panel['description']} | {word(panel)} |")
    return "\n".join(lines) + "\n"


def word(panel):
    """What a server has to answer before the panel has something to show."""
    asked = " ".join(target.get("expr", "") for target in panel["targets"])
    if panel["fieldConfig"]["defaults"].get("noValue", "").startswith("Needs mntr"):
        return "`mntr`"
    if re.search(r"zktrail_(connection_samples_total|sessions_connected)", asked):
        return "`cons`"
    if re.search(r"\bzk_|zktrail_(ensemble_|server_)", asked):
        return "`srvr`"
    return ""


def main():
    check = sys.argv[1:] == ["--check"]
    stale = []
    for name, text in files().items():
        file = FOLDER / name
        if file.exists() and file.read_text() == text:
            continue
        stale.append(name)
        if not check:
            file.write_text(text)
    if check and stale:
        sys.exit(f"not what grafana/source/build.py writes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
