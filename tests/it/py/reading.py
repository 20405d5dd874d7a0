"""Runs one reader's examples of docs/reading-parquet.md, and prints what they answered.

usage: reading.py PAGE READER DAY        in the folder that holds `history`

Prints {"kinds": […], "latest": […], "tree": […], "holes": […], "text": […]}: rows as lists, times in RFC 3339 UTC, bytes
as hexadecimal digits. The page's day is replaced by DAY.
"""

import datetime
import json
import re
import sys

ANSWERS = ["kinds", "latest", "tree", "holes", "text"]


def examples(page, reader):
    """The code of one section, as it stands there."""
    section = re.search(rf"^## {re.escape(reader)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    if section is None:
        raise SystemExit(f"the page has no section {reader}")
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", section.group(1), re.M | re.S))


def rows(answer):
    if hasattr(answer, "to_arrow_table"):
        return [tuple(row.values()) for row in answer.to_arrow_table().to_pylist()]
    if hasattr(answer, "collect"):
        return [tuple(row) for row in answer.collect()]
    if hasattr(answer, "rows"):
        return answer.rows()
    if hasattr(answer, "itertuples"):
        return list(answer.itertuples(index=False, name=None))
    return [(value,) for value in answer]


def plain(value):
    if value is None or value != value or type(value).__name__ == "NAType":
        return None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, datetime.datetime):
        utc = value.astimezone(datetime.timezone.utc) if value.tzinfo else value
        return utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value if isinstance(value, (int, str, float, bool)) else value.item()


def main(page, reader, day):
    with open(page, encoding="utf-8") as file:
        code = examples(file.read(), reader)
    year, month, date = day.split("-")
    code = code.replace("2026-11-20", day).replace("2026, 11, 20", f"{year}, {int(month)}, {int(date)}")
    names = {}
    exec(compile(code, f"{page}, {reader}", "exec"), names)
    answers = {name: [[plain(value) for value in row] for row in rows(names[name])] for name in ANSWERS}
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
