"""Rules that a page keeps, read from the app as it came: what may stand in a title, have a colour or be compared.

A title that says an estimate rests on FEWEST cases and an interval; green and red on a change beyond noise that is not
zero as it is written; a stock is not compared with a flow; what people did after a promise is shown and judges nothing;
every table pins its first column; every chart and table can be taken away; every chart has a name and a table.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pandas as pd
import plotly.graph_objects as go
from streamlit.proto.Metric_pb2 import Metric

from dashboard.shared import blocks, findings, queries, tokens
from dashboard.shared.queries import Change
from dashboard.shared.twin import twin
from pipelines import metrics
from tests.pages import lines

Rests = dict[str, list[Any]]
"""The numbers that a sentence was made of, by the sentence."""

JUDGING = {Metric.MetricColor.GREEN, Metric.MetricColor.RED}
ASSOCIATIONS = ("repeat",)
"""Charts of what goes with something and is confounded with all else that differs."""
AS_OF_TODAY = findings.STOCKS | queries.GROWING
MANY = re.compile(r"[+−]([\d\s.,\u00a0\u202f]+)[\s\u00a0]?%")


@contextmanager
def recorded() -> Iterator[Rests]:
    """Take down what each sentence rests on while pages are drawn."""
    doubt_of, cautious = findings.doubt_of, findings.cautious
    rests: Rests = {}
    pending: list[Any] = []
    depth = [0]

    def asked(found: Any) -> str:
        if not depth[0]:
            pending.append(found)
        depth[0] += 1
        try:
            return doubt_of(found)
        finally:
            depth[0] -= 1

    def said(words: Any, sentence: str, *why: str) -> str:
        whole = cautious(words, sentence, *why)
        earlier = [one for known, of in rests.items() if known in sentence for one in of]
        rests[whole] = [*pending, *earlier]
        pending.clear()
        return whole

    with patch.object(findings, "doubt_of", asked), patch.object(findings, "cautious", said):
        yield rests


@contextmanager
def charted() -> Iterator[dict[str, go.Figure]]:
    """Take down the figures beside which a page puts the way to their tables, by key."""
    beside, drawn = blocks.table_beside, dict[str, go.Figure]()

    def kept(words: Any, line: Any, figure: go.Figure, title: str, key: str) -> None:
        drawn[key] = figure
        beside(words, line, figure, title, key)

    with patch.object(blocks, "table_beside", kept):
        yield drawn


def of_charts(app: Any, drawn: dict[str, go.Figure]) -> list[str]:
    """Give charts without a name, without a table that says what their marks say, or without a way to it."""
    charts, words = app.get("plotly_chart"), app.session_state["view"].words
    found = ["a chart has no name" for chart in charts if not chart.proto.alt.strip()]
    found += [f"{len(charts)} charts, {len(drawn)} tables"] if len(charts) != len(drawn) else []
    buttons = {button.key for button in app.button}
    for key, figure in drawn.items():
        table = twin(figure, words)
        found += [f"the table of {key} says nothing"] if table.empty or not table.iloc[:, -1].all() else []
        found += [f"no way to the table of {key}"] if f"{key}_table_button" not in buttons else []
    return found


def of_rules(app: Any, rests: Rests) -> list[str]:
    """Give what is wrong with a page by these rules."""
    checks: tuple[Callable[[Any], list[str]], ...] = (of_colours, of_comparisons, of_associations, of_tables)
    return [*of_titles(app, rests), *(one for check in checks for one in check(app))]


def of_titles(app: Any, rests: Rests) -> list[str]:
    """Give titles that rest on too few cases or on a change without an interval."""
    found = []
    for title in (str(e.value) for e in (*app.title, *app.header)):
        for one in rests.get(title, ()):
            if isinstance(one, Change):
                found += [f"change without an interval in {title!r}"] if one.is_within_noise is None else []
            elif not isinstance(one, pd.DataFrame) and _has(one, "n") and _has(one, "low"):
                found += [f"too few cases in {title!r}"] if not findings.enough(one) else []
    return found


def _has(one: Any, name: str) -> bool:
    return name in one if isinstance(one, (pd.Series, dict)) else hasattr(one, name)


def _tiles(app: Any) -> Iterator[tuple[str, Any]]:
    """Give the tiles that show metrics, each with its key."""
    words = app.session_state["view"].words
    keys = {findings.name(words, metric.key): metric.key for metric in metrics.catalogue()}
    for tile in app.metric:
        name = re.sub(r":orange\[[^]]*\] ", "", tile.label)
        if name in keys:
            yield keys[name], tile


def of_colours(app: Any) -> list[str]:
    """Give changes in green or red that chance explains, that rest on few cases, or that are zero as written."""
    asked, found = app.session_state["view"].asked, []
    for key, tile in _tiles(app):
        if tile.proto.color in JUDGING:
            number, change = queries.number(asked, key), queries.change(asked, key)
            is_judged = change is not None and change.is_within_noise is False and number.n >= findings.FEWEST
            found += [] if is_judged else [f"{tile.label} is coloured: {tile.delta}"]
            found += [f"{tile.label} is coloured at zero: {tile.delta}"] if findings.is_nothing(tile.delta) else []
    ink = {colour for ground in tokens.INK.values() for name, colour in ground.items() if name in ("green", "red")}
    for body in (str(e.proto.body) for e in app.get("html")):
        for colour, text in re.findall(r"color:(#[0-9A-F]{6})\">([^<]*)<", body):
            found += [f"zero is coloured: {text}"] if colour in ink and findings.is_nothing(text) else []
    return found


def of_comparisons(app: Any) -> list[str]:
    """Give comparisons of what is not alike, signed zeros, and percentages that say nothing."""
    found = []
    for key, tile in _tiles(app):
        text = str(tile.delta or "")
        if key in AS_OF_TODAY and re.match(r"[+−]", text):
            found.append(f"{tile.label} is as of today and compared: {text}")
        if re.match(r"[+−]", text) and findings.is_nothing(text):
            found.append(f"{tile.label}: a zero with a sign: {text}")
        for many in MANY.findall(text):
            whole = re.sub(r"[.,]\d{1,2}$", "", re.sub(r"\s", "", many))
            found += [f"{tile.label}: {text}"] if int(re.sub(r"\D", "", whole)) >= 100 * findings.MOST_TIMES else []
    return found


def of_associations(app: Any) -> list[str]:
    """Give confounded associations that got a number in their title, or a colour."""
    found = []
    for key in ASSOCIATIONS:
        part = app.session_state["page_said"].parts.get(key)
        if part is not None:
            found += [f"{key} has a number in its title: {part.title}"] if re.search(r"\d", part.title) else []
            colours = {trace.marker.color for trace in go.Figure(part.shown).data}
            found += [f"{key} is drawn in {colours}"] if colours != {tokens.QUIET} else []
    return found


def of_tables(app: Any) -> list[str]:
    """Give tables whose first column moves away, and charts and tables that cannot be taken away."""
    found = []
    for table in app.dataframe:
        order = list(table.proto.column_order)
        settings = json.loads(table.proto.columns or "{}")
        found += [f"{order[0]} is not pinned"] if order and not settings.get(order[0], {}).get("pinned") else []
    keys = [str(one.key) for one in app.get("download_button")]
    parts = app.session_state["page_said"].parts
    for form in ("csv", "xlsx", "parquet"):
        files = sum(key.endswith(f"_seen_{form}") for key in keys)
        found += [f"{len(parts)} charts and tables, {files} as {form}"] if files < len(parts) else []
    groups = [b.key for b in app.button if re.fullmatch(r"(tiles|figures)_.*_rows", str(b.key))]
    found += ["numbers without a way to their rows"] if (app.metric or lines(app)) and not groups else []
    typed = sum(bool(table.proto.editing_mode) for table in app.dataframe)  # what is typed is no answer
    drawn = len(app.get("plotly_chart")) + len(app.dataframe) - typed + len(groups)
    files = sum(key.endswith("_seen_xlsx") for key in keys)
    found += [f"{drawn} charts, tables and groups of numbers, {files} files"] if files != drawn else []
    charts = [key for key, part in parts.items() if isinstance(part.shown, dict)]
    found += [f"{key} has no {form}" for key in charts for form in ("png", "svg") if f"{key}_{form}" not in keys]
    return found
