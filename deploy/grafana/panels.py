"""Panels and boards as plain values, and the JSON that Grafana reads.

A board is a list of rows of panels; panels are laid side by side in the order they are named, on
a grid that is 24 wide. Nothing here knows what is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

JSON = dict[str, Any]

GRID_WIDTH: Final = 24
SCHEMA_VERSION: Final = 41
TAG: Final = "image-gateway"
DATASOURCE: Final[JSON] = {"type": "prometheus", "uid": "${datasource}"}
GREEN, AMBER, RED, BLUE = "green", "orange", "red", "blue"

Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from this value on, this colour. The first value is None: from the bottom."""

PLAIN: Final[Steps] = ((None, BLUE),)


@dataclass(frozen=True)
class Query:
    """One expression. In a table, `legend` is the heading of its values."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """What is shown in one frame. `unit` is Grafana's id of it."""

    kind: str
    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    width: int = 12
    height: int = 8
    steps: Steps = PLAIN
    at_most: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of a table: its labels as headings, in their order."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Of a table: the unit of each query's heading."""
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """What a value is called, and its colour."""
    stacked: bool = False
    decimals: int | None = None


@dataclass(frozen=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a board: the values of a label."""

    name: str
    label: str
    query: str
    default: str = ""


@dataclass(frozen=True)
class Board:
    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()
    since: str = "now-24h"


def stat(title: str, description: str, expr: str, *, legend: str = "", **more: Any) -> Panel:
    """One number; with a legend, that text instead of it."""
    asked = [Query(expr, legend)]
    return Panel("stat", title, description, asked, **{"width": 4, "height": 4, **more})


def lines(title: str, description: str, queries: Mapping[str, str], **more: Any) -> Panel:
    """`queries` are legend → expression."""
    asked = [Query(expr, legend) for legend, expr in queries.items()]
    return Panel("timeseries", title, description, asked, **more)


def bars(title: str, description: str, queries: Mapping[str, str], **more: Any) -> Panel:
    asked = [Query(expr, legend) for legend, expr in queries.items()]
    return Panel("bargauge", title, description, asked, **more)


def states(title: str, description: str, queries: Mapping[str, str], **more: Any) -> Panel:
    asked = [Query(expr, legend) for legend, expr in queries.items()]
    return Panel("state-timeline", title, description, asked, **more)


def table(title: str, description: str, queries: Mapping[str, str], **more: Any) -> Panel:
    """`queries` are heading → expression; what they have in common makes a line."""
    asked = [Query(expr, heading) for heading, expr in queries.items()]
    return Panel("table", title, description, asked, **{"width": GRID_WIDTH, **more})


# --- JSON ------------------------------------------------------------------------------------


def board_json(board: Board) -> JSON:
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": board.since, "to": "now"},
        "links": [_link()],
        "annotations": {"list": []},
        "templating": {"list": [_datasource(), *map(_variable, (_JOB, *board.variables))]},
        "panels": list(_laid_out(board.rows)),
    }


_JOB: Final = Variable("job", "Gateway", "label_values(gateway_build_info, job)", "image-gateway")


def _link() -> JSON:
    return {
        "title": "Image gateway",
        "type": "dashboards",
        "tags": [TAG],
        "icon": "external link",
        "tooltip": "The other boards of the gateway",
        "url": "",
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _datasource() -> JSON:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "options": [],
        "hide": 0,
        "refresh": 1,
        "includeAll": False,
        "multi": False,
        "skipUrlSync": False,
    }


def _variable(one: Variable) -> JSON:
    made: JSON = {
        "name": one.name,
        "label": one.label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": one.query, "refId": one.name},
        "options": [],
        "hide": 0,
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "includeAll": False,
        "multi": False,
        "skipUrlSync": False,
    }
    if one.default:
        made["current"] = {"text": one.default, "value": one.default}
    return made


def _laid_out(rows: Sequence[Row]) -> Iterator[JSON]:
    """Every row opens with its heading; a panel that finds no room begins a new line."""
    number, y = 0, 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": y, "w": GRID_WIDTH, "h": 1}
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            number += 1
            if x + panel.width > GRID_WIDTH:
                x, y, tallest = 0, y + tallest, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            yield _panel(panel, number, place)
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def _panel(panel: Panel, number: int, place: JSON) -> JSON:
    made = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "targets": [_target(panel, query, at) for at, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(panel))},
        "options": _options(panel),
    }
    if panel.kind == "table":
        made["transformations"] = _columns(panel)
    return made


def _letter(at: int) -> str:
    return chr(ord("A") + at)


def _target(panel: Panel, query: Query, at: int) -> JSON:
    at_once = panel.kind in ("stat", "bargauge", "table")
    return {
        "refId": _letter(at),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": at_once,
        "range": not at_once,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _defaults(panel: Panel) -> JSON:
    steps = [{"value": value, "color": color} for value, color in panel.steps]
    made: JSON = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "thresholds"},
        "custom": {},
    }
    if panel.at_most is not None:
        made["max"] = panel.at_most
    if panel.decimals is not None:
        made["decimals"] = panel.decimals
    if panel.words:
        words = {
            str(value): {"index": value, "text": text, "color": color}
            for value, (text, color) in panel.words.items()
        }
        made["mappings"] = [{"type": "value", "options": words}]
    if panel.kind == "timeseries":
        made |= {"min": 0, "color": {"mode": "palette-classic"}, "custom": _curve(panel)}
    if panel.kind == "bargauge":
        made["min"] = 0
    if panel.kind == "state-timeline":
        made["custom"] = {"fillOpacity": 70, "lineWidth": 0}
    return made


def _curve(panel: Panel) -> JSON:
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if panel.stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off" if panel.steps == PLAIN else "line"},
    }


def _options(panel: Panel) -> JSON:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "stat":
            return {
                "reduceOptions": last,
                "colorMode": "none" if panel.steps == PLAIN else "value",
                "graphMode": "none",
                "justifyMode": "auto",
                "orientation": "auto",
                "textMode": "name" if panel.queries[0].legend else "auto",
                "wideLayout": True,
            }
        case "bargauge":
            return {
                "reduceOptions": last,
                "displayMode": "lcd",
                "orientation": "horizontal",
                "showUnfilled": True,
                "valueMode": "color",
            }
        case "state-timeline":
            return {
                "alignValue": "left",
                "mergeValues": True,
                "rowHeight": 0.8,
                "showValue": "auto",
                "legend": _legend(),
                "tooltip": {"mode": "single", "sort": "none"},
            }
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}
        case _:
            return {"legend": _legend(), "tooltip": {"mode": "multi", "sort": "desc"}}


def _legend() -> JSON:
    return {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True}


def _overrides(panel: Panel) -> Iterator[JSON]:
    for heading, unit in panel.units.items():
        yield {
            "matcher": {"id": "byName", "options": heading},
            "properties": [{"id": "unit", "value": unit}],
        }


def _columns(panel: Panel) -> Sequence[JSON]:
    """Lines with the same labels become one; its values get their headings."""
    several = len(panel.queries) > 1
    values = {
        f"Value #{_letter(at)}" if several else "Value": query.legend
        for at, query in enumerate(panel.queries)
    }
    names = {**panel.columns, **values}
    organize = {
        "renameByName": names,
        "indexByName": {name: at for at, name in enumerate(names)},
        "includeByName": dict.fromkeys(names, True),
    }
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": organize},
    ]
