"""The parts that the dashboards are made of: plain dictionaries in the form of Grafana's dashboard JSON.

A panel knows its size, not its place: `dashboard` lays panels out from left to right, and numbers them.
"""

import pathlib

COLUMNS = 24
SQL = pathlib.Path(__file__).parent / "sql"

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
# Newer Grafana calls the plugin grafana-postgresql-datasource, and knows it by this name too.
POSTGRES = {"type": "postgres", "uid": "${postgres}"}

# What a panel shows instead of nothing where the servers answer no mntr.
NEEDS_MNTR = "Needs mntr, which the servers do not answer: zktrail check says what to allow"

KINDS = {"created": "green", "data_changed": "blue", "acl_changed": "purple", "deleted": "red"}
EVIDENCE = {"exact": "green", "coalesced": "yellow", "inferred": "orange"}


# Queries


def prom(expr, legend="__auto"):
    """A line over the time range for each series."""
    return {"expr": one_line(expr), "legendFormat": legend, "range": True, "instant": False, "editorMode": "code"}


def now(expr, legend="__auto"):
    """Only the end of the time range."""
    return {"expr": one_line(expr), "legendFormat": legend, "range": False, "instant": True, "editorMode": "code"}


def rows(expr):
    """The end of the time range, its labels as columns."""
    return {**now(expr), "format": "table"}


def sql(name, format="table"):
    """The query in sql/<name>.sql, without its comments."""
    lines = (SQL / f"{name}.sql").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
    return {"rawSql": text, "rawQuery": True, "format": format, "editorMode": "code"}


def one_line(expr):
    return " ".join(expr.split())


def quantile(q, metric, by, labels):
    """A quantile of a histogram; 0 where nothing was measured, because no line says less than that."""
    rated = f"sum by (le, {by}) (rate({metric}_bucket{{{labels}}}[$__rate_interval]))"
    nothing = f"0 * sum by ({by}) ({metric}_count{{{labels}}})"
    return f"(histogram_quantile({q}, {rated}) >= 0) or {nothing}"


# Panels


def panel(kind, title, description, targets, width, height, needs=None, **more):
    """`needs` is the four-letter word without which nothing is there to be shown."""
    defaults = more.pop("defaults", {})
    if needs:
        description = f"{description} Needs {needs}."
        defaults = {"noValue": NEEDS_MNTR, **defaults}
    source = POSTGRES if "rawSql" in targets[0] else PROMETHEUS
    named = [{"refId": chr(ord("A") + at), "datasource": source, **target} for at, target in enumerate(targets)]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": source,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        "options": more.pop("options", {}),
        "targets": named,
        **more,
    }


def stat(title, description, targets, unit="short", width=6, height=4, steps=None, texts=None, names=False, **more):
    """One number for each series, coloured by `steps`; `texts` are what numbers are called."""
    defaults = {"unit": unit, **more.pop("defaults", {})}
    defaults["thresholds"] = thresholds(steps or {None: "green"})
    defaults["color"] = {"mode": "thresholds"}
    if texts:
        defaults["mappings"] = mappings(texts)
    options = {
        "colorMode": more.pop("color", "background"),
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "name" if names else "auto",
    }
    return panel("stat", title, description, targets, width, height, defaults=defaults, options=options, **more)


def graph(title, description, targets, unit="short", width=8, height=8, colors=None, bars=False, limits=None, **more):
    """Lines over time, or stacked bars; `limits` draws lines where it becomes serious."""
    custom = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False}
    if bars:
        custom = {
            "drawStyle": "bars", "fillOpacity": 80, "lineWidth": 0, "showPoints": "never",
            "stacking": {"mode": "normal", "group": "A"},
        }
    defaults = {"unit": unit, "min": 0, "color": {"mode": "palette-classic"}, **more.pop("defaults", {})}
    if limits:
        custom["thresholdsStyle"] = {"mode": "dashed"}
        defaults["thresholds"] = thresholds({None: "transparent", **limits})
    defaults["custom"] = custom
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    overrides = [override(name, {"color": fixed(color)}) for name, color in (colors or {}).items()]
    overrides += more.pop("overrides", [])
    kept = {"defaults": defaults, "overrides": overrides, "options": options}
    return panel("timeseries", title, description, targets, width, height, **kept, **more)


def table(title, description, targets, columns=None, width=24, height=8, **more):
    """Rows; `columns` are properties of columns by name, `width` among them."""
    defaults = {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True}}
    overrides = [override(name, properties) for name, properties in (columns or {}).items()]
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
        "frameIndex": 0,
    }
    kept = {"defaults": {**defaults, **more.pop("defaults", {})}, "overrides": overrides, "options": options}
    return panel("table", title, description, targets, width, height, **kept, **more)


def timeline(title, description, targets, texts, width=12, height=6, **more):
    """What each series was, and when."""
    defaults = {
        "mappings": mappings(texts),
        "color": {"mode": "thresholds"},
        "thresholds": thresholds({None: "green"}),
        "custom": {"lineWidth": 0, "fillOpacity": 80},
        **more.pop("defaults", {}),
    }
    options = {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.8,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return panel("state-timeline", title, description, targets, width, height, defaults=defaults, options=options, **more)


# Fields


def thresholds(steps):
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps.items()]}


def mappings(texts):
    """Numbers, or texts, to (text, colour)."""
    named = {}
    for at, (value, (text, color)) in enumerate(texts.items()):
        named[str(value)] = {"text": text, "color": color, "index": at}
    return [{"type": "value", "options": named}]


def fixed(color):
    return {"mode": "fixed", "fixedColor": color}


def override(name, properties):
    """Properties of the field of this name; `width` and `cell` are those of a table's column."""
    short = {"width": "custom.width", "cell": "custom.cellOptions", "inspect": "custom.inspect", "title": "displayName"}
    listed = [{"id": short.get(key, key), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": listed}


# Variables


def data_source(name, label, plugin):
    return {
        "name": name, "label": label, "type": "datasource", "query": plugin, "current": {}, "hide": 0, "refresh": 1,
        "regex": "", "multi": False, "includeAll": False, "options": [], "skipUrlSync": False,
    }


def values_of(name, label, description, query, kind=1, regex=""):
    """What Prometheus knows; all of it by default."""
    return {
        "name": name, "label": label, "description": description, "type": "query", "datasource": PROMETHEUS,
        "query": {"qryType": kind, "query": query, "refId": name},
        "current": {"text": ["All"], "value": ["$__all"]}, "multi": True, "includeAll": True, "refresh": 2, "sort": 1,
        "hide": 0, "regex": regex, "options": [], "skipUrlSync": False,
    }


def chosen_of(name, label, description, values):
    """Some of a few values; all of them by default."""
    options = [{"text": "All", "value": "$__all", "selected": True}]
    options += [{"text": value, "value": value, "selected": False} for value in values]
    return {
        "name": name, "label": label, "description": description, "type": "custom", "query": ",".join(values),
        "current": {"text": ["All"], "value": ["$__all"]}, "multi": True, "includeAll": True, "hide": 0,
        "options": options, "skipUrlSync": False,
    }


def typed(name, label, description, text):
    """What a person types."""
    chosen = {"text": text, "value": text, "selected": True}
    return {
        "name": name, "label": label, "description": description, "type": "textbox", "query": text, "current": chosen,
        "hide": 0, "options": [chosen], "skipUrlSync": False,
    }


DATASOURCE = data_source("datasource", "Prometheus", "prometheus")
CLUSTER = values_of(
    "cluster", "Cluster", "Ensembles, by the names that the agent gives them.", "label_values(zktrail_recording, cluster)"
)
AGENT = values_of(
    "agent", "Agent", "Agents, by the addresses at which they are scraped.", "label_values(zktrail_build_info, instance)"
)
SERVER = values_of(
    "server", "Server", "Servers that the agent asks, by their client ports.",
    'label_values(zk_up{cluster=~"$cluster"}, zk_host)',
)
PREFIX = values_of(
    "prefix", "Prefix", "Prefixes that the agent counts by (--subtree); all else is other.",
    'label_values(zktrail_subtree_znodes{cluster=~"$cluster"}, prefix)',
)


# Annotations


def event(name, color, expr, title, text):
    """What Prometheus says happened; neighbouring points become one region."""
    return {
        "name": name, "datasource": PROMETHEUS, "enable": True, "hide": False, "iconColor": color,
        "expr": one_line(expr), "step": "15s", "titleFormat": title, "textFormat": text, "tagKeys": "cluster",
    }


def event_of_history(name, color, query):
    """What the history says happened."""
    return {
        "name": name, "datasource": POSTGRES, "enable": True, "hide": False, "iconColor": color,
        "target": {"refId": "Anno", **sql(query)},
    }


GAPS = event(
    "Nobody was looking", "orange", 'max by (cluster) (zktrail_gap_open{cluster=~"$cluster"}) == 1',
    "{{cluster}}: nobody was looking",
    "The ensemble was not observed: what changed then is known only as far as a rescan found it.",
)


# The whole


def dashboard(name, title, description, variables, sections, annotations, since="now-1h"):
    """Sections are (title, panels)."""
    panels, y = [], 0
    for section, members in sections:
        panels.append({"type": "row", "title": section, "collapsed": False, "panels": [], "gridPos": place(0, y, COLUMNS, 1)})
        y += 1
        x = height = 0
        for member in members:
            size = member["gridPos"]
            if x + size["w"] > COLUMNS:
                x, y, height = 0, y + height, 0
            panels.append({**member, "gridPos": place(x, y, size["w"], size["h"])})
            x, height = x + size["w"], max(height, size["h"])
        y += height
    return {
        "uid": f"zktrail-{name}",
        "title": f"zktrail: {title}",
        "description": description,
        "tags": ["zktrail", "zookeeper"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "links": [
            {
                "type": "dashboards", "tags": ["zktrail"], "title": "zktrail", "asDropdown": False, "includeVars": True,
                "keepTime": True, "targetBlank": False, "icon": "external link", "tooltip": "", "url": "",
            }
        ],
        "annotations": {"list": annotations},
        "templating": {"list": variables},
        "panels": [{"id": at, **one} for at, one in enumerate(panels, 1)],
    }


def place(x, y, w, h):
    return {"x": x, "y": y, "w": w, "h": h}
