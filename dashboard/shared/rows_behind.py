"""The rows behind a number or a mark of a chart, and files of what is shown and of those rows.

What is asked for stands in `queries`, what shows it in `controls`. Nothing is drawn here.
"""

from dataclasses import replace
from typing import Any

import pandas as pd

from dashboard.i18n import Words
from dashboard.shared.memory import remembered
from dashboard.shared.queries import DrillDown, Mark, PageQuestion, metric, opened, question_of
from pipelines import metrics
from pipelines.metrics import Question
from pipelines.outputs import export

MIME = export.MIME
FILES = tuple(MIME)
FILE_ROWS = export.LIMIT
_STEPS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "booked": ("gross_margin", {}, None),
    "margin_reversed": ("margin_reversed", {}, None),
    "left": ("margin_erosion", {}, None),
}
_OUTCOMES = {"waiting": None, "to_supplier": "returned"}


def parts(key: str) -> tuple[str, ...]:
    """List the parts of a metric that have rows."""
    return metrics.PARTS if metric(key).denominator else metrics.PARTS[:1]


def _rows_of(
    asked: PageQuestion, key: str, part: str, at: Mark, is_dated: bool
) -> tuple[str, Question, dict[str, Any]]:
    """Give the metric, the question whose rows are those of a mark, and of which part and day they are."""
    chosen: dict[str, Any] = {name: [value] for name, value in at}
    basis = None
    if "state" in chosen and key == "promise_kept":
        key, part = f"promise_{chosen.pop('state')[0]}", metrics.PARTS[0]
    if "step" in chosen:
        step = chosen.pop("step")[0]
        key, more, basis = _STEPS.get(step, ("return_cost", {"component": [step]}, "order"))
        chosen |= more
    if "outcome" in chosen:
        chosen["outcome"] = [_OUTCOMES.get(v, v) for v in chosen["outcome"]]
    whole = metric(key).whole
    if part == metrics.PARTS[1] and whole is not None:
        chosen = {n: v for n, v in chosen.items() if n == "month" or (whole and n not in whole)}
    question = question_of(asked, key).under(**chosen)
    return key, question if is_dated else question.undated(), {"part": part, "basis": basis}


def key_of(asked: PageQuestion, key: str, at: Mark) -> str:
    """Give the metric whose rows are those of a mark.

    A promise's state and a step of the margin are metrics of their own.
    """
    return _rows_of(asked, key, metrics.PARTS[0], at, True)[0]


@remembered
def rows(asked: PageQuestion, key: str, part: str, at: Mark, is_dated: bool, limit: int) -> pd.DataFrame:
    """List the newest rows behind a part of a metric, or behind one mark of a chart of it."""
    key, question, of = _rows_of(asked, key, part, at, is_dated)
    return metrics.rows(opened(asked.source), key, question, limit=limit, **of)


@remembered
def rows_total(asked: PageQuestion, key: str, part: str, at: Mark, is_dated: bool) -> tuple[int, float]:
    """Count those rows and add up what they count."""
    key, question, of = _rows_of(asked, key, part, at, is_dated)
    return metrics.rows_total(opened(asked.source), key, question, **of)


def file_of_rows(
    asked: PageQuestion, title: str, key: str, part: str, at: Mark, is_dated: bool, form: str, language: str
) -> bytes:
    """Write those rows to a file of a format, with their context and checksum."""
    build = opened(asked.source)
    total, _ = rows_total(asked, key, part, at, is_dated)
    key, question, of = _rows_of(asked, key, part, at, is_dated)
    found = metrics.rows(build, key, question, limit=FILE_ROWS, **of)
    about = export.About(
        title, (key,), question=question, total=total, language=language, translated=Words(language).translated, **of
    )
    return export.to_bytes(found, export.context(build, about, len(found)), form, language)


def file_of_seen(
    asked: PageQuestion, title: str, behind: DrillDown | None, frame: pd.DataFrame, form: str, language: str
) -> bytes:
    """Write what a chart or table shows to a file of a format, with its context and checksum.

    Numbers are not rounded.
    """
    build = opened(asked.source)
    about = export.About(title, language=language, translated=Words(language).translated)
    if behind is not None:
        about = replace(
            about, metrics=(behind.key, *behind.also), by=behind.by, question=Question(where=dict(asked.where))
        )
        if behind.is_dated:
            days = about.question.but(since=asked.since, until=asked.until)
            about = replace(about, question=days, against=asked.against)
        if behind.by and "label" in frame and behind.by[0] not in frame:
            frame = frame.rename(columns={"label": behind.by[0]})
    return export.to_bytes(frame, export.context(build, about, len(frame)), form, language)
