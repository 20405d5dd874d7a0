"""What Grafana makes of a query before a data source gets it: variables, then the macros of the PostgreSQL data source.

Variables: https://grafana.com/docs/grafana/latest/dashboards/variables/variable-syntax/
Macros: https://grafana.com/docs/grafana/latest/datasources/postgres/query-editor/#macros
"""

import datetime
import re

UTC = datetime.timezone.utc
VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)(?::(\w+))?\}")
# A macro's arguments end at the first parenthesis, and whatever looks like a macro has to be one.
MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
INTERVAL = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Range:
    """The time range, and the width of one point of a graph."""

    def __init__(self, since, until, points=200):
        self.since, self.until = since, until
        wanted = max((until - since).total_seconds() / points, 1)
        self.interval = next((step for step in (1, 2, 5, 10, 15, 30, 60, 300, 600, 3600) if step >= wanted), 86400)

    @property
    def seconds(self):
        return (self.until - self.since).total_seconds()

    def builtin(self):
        """Grafana's own variables."""
        return {
            "__interval": f"{self.interval}s",
            "__interval_ms": str(self.interval * 1000),
            "__rate_interval": f"{max(4 * self.interval, 10)}s",
            "__range": f"{round(self.seconds)}s",
            "__range_s": str(round(self.seconds)),
            "__from": str(round(self.since.timestamp() * 1000)),
            "__to": str(round(self.until.timestamp() * 1000)),
        }


def promql(text, variables, range):
    """A query as Prometheus gets it. A list is a variable of several values, which becomes a regular expression."""
    builtin = range.builtin()

    def value(name, _):
        if name in builtin:
            return builtin[name]
        if not isinstance(variables[name], list):
            return variables[name]
        # Within a string of PromQL, where a backslash itself is escaped.
        escaped = [re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", one.replace("\\", "\\" * 4)) for one in variables[name]]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

    return substitute(text, {**variables, **builtin}, value)


def sql(text, variables, range):
    """A query as the door gets it."""
    builtin = range.builtin()

    def value(name, style):
        if name in builtin:
            return builtin[name]
        values = many(variables[name])
        match style:
            case "sqlstring":
                return ",".join("'" + one.replace("'", "''") + "'" for one in values)
            case "regex":
                escaped = [re.sub(r"([\\^$*+?.()|[\]{}/])", r"\\\1", one) for one in values]
                return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
            case _:
                raise ValueError(f"${{{name}}} has no format that SQL can have: sqlstring, or regex between quotes")

    return MACRO.sub(lambda call: macro(call[1], call[2], range), substitute(text, {**variables, **builtin}, value))


def substitute(text, known, value):
    """What is no variable stays: a macro, or a dollar sign."""

    def one(match):
        name = match[1] or match[2]
        return value(name, match[3]) if name in known else match[0]

    return VARIABLE.sub(one, text)


def macro(name, arguments, range):
    arguments = [argument.strip(" ") for argument in arguments.split(",")]
    since, until = rfc3339(range.since), rfc3339(range.until)
    match name:
        case "__timeFilter":
            return f"{arguments[0]} BETWEEN {since} AND {until}"
        case "__timeFrom":
            return since
        case "__timeTo":
            return until
        case "__timeGroupAlias":
            width = seconds(arguments[1])
            return f'floor(extract(epoch from {arguments[0]})/{width})*{width} AS "time"'
        case _:
            raise ValueError(f"no dashboard may use the macro ${name}")


def rfc3339(time):
    """Without trailing zeros, as Go writes it."""
    text = time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"'{text}Z'"


def seconds(interval):
    number, unit = INTERVAL.fullmatch(interval.strip("'")).groups()
    value = float(number) * SECONDS[unit]
    return int(value) if value == int(value) else value


def many(value):
    return value if isinstance(value, list) else [value]
