"""A frame as a table on the screen: coded values in the reader's words, rounded, its first rows.

The ways to its files and to the rows behind it are in `controls`.
"""

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.i18n import MISSING, Words
from dashboard.shared import take_away

SHOWN_ROWS = 500
MOST = 9  # columns of a table; the rest when the reader asks for them
CODED = {
    "country": "country",
    "method": "method",
    "stage": "stage",
    "promise_id": "promise",
    "return_reason": "return_reason",
    "category": "category",
    "role": "role",
    "mode": "mode",
    "status": "status",
    "pattern": "pattern",
    "data_status": "status",
    "reason": "return_reason",
    "state": "state",
    "disposition": "disposition",
    "component": "step",
    "outcome": "flow",
    "cause": "cause",
    "kind": "kind",
    "action": "kind",
    "action_status": "action_status",
    "relation": "relation",
    "through": "through",
    "what": "what",
    "inspection_outcome": "inspection_outcome",
    "from_stage": "stage",
    "to_stage": "stage",
    "duration_unit": "duration_unit",
    "responsible": "responsible",
    "channel": "channel",
    "return_channel": "return_channel",
    "waiting": "waiting",
    "next_promise": "promise",
    "scan_basis": "step_basis",
    "receipt_basis": "step_basis",
    "inspection_basis": "step_basis",
    "missed": "stage",
    "work_state": "work_state",
    "thing": "thing",
}


def _worded(words: Words, frame: pd.DataFrame) -> pd.DataFrame:
    """Put coded values into the reader's words."""
    coded = {column: kind for column, kind in CODED.items() if column in frame}
    if "rules" in frame:
        frame = frame.assign(rules=[words.rules(str(broken)) for broken in frame["rules"]])
    return frame.assign(
        **{
            column: ["" if pd.isna(code) else words.value(kind, code) for code in frame[column]]
            for column, kind in coded.items()
        }
    )


def _writer(words: Words, settings: dict[str, Any]) -> Callable[[Any], str] | None:
    """Give how the values of a column are written in the reader's language; None for what is no number, day or text."""
    kind = settings.get("type_config", {})
    form = str(kind.get("format") or "")
    if kind.get("type") == "text":
        return lambda value: MISSING if value is None or value != value else str(value)
    if kind.get("type") == "number" and form == "percent":
        return words.percent
    if kind.get("type") == "number" and form != "%d":
        digits = int(form[2:-1]) if form.startswith("%.") else 0
        return lambda value: words.number(value, digits)
    if kind.get("type") == "datetime":
        return words.hour
    if kind.get("type") == "date":
        return words.month if form == "YYYY-MM" else words.day
    return None


def _written(words: Words, frame: pd.DataFrame, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Write numbers, days and texts once, in the reader's language; they sort as what they are.

    Gives the frame with what is shown of each value, and the columns without a format of their own.
    """
    writers: dict[Any, Any] = {
        column: write for column in config if (write := _writer(words, config[column])) is not None
    }
    plain = {
        column: {**settings, "type_config": {k: v for k, v in settings["type_config"].items() if k != "format"}}
        if column in writers
        else settings
        for column, settings in config.items()
    }
    days = [c for c, s in config.items() if s.get("type_config", {}).get("type") in ("date", "datetime")]
    frame = frame.assign(**{column: pd.to_datetime(frame[column], errors="coerce") for column in days})
    return frame.reset_index(drop=True).style.format(writers), plain


def _texts(words: Words, frame: pd.DataFrame, config: dict[str, Any]) -> pd.DataFrame:
    """Write the first rows as texts under their headings; small charts of a cell are left out."""
    texts: dict[str, list[str]] = {}
    for column, settings in config.items():
        kind, values = settings.get("type_config", {}).get("type", ""), frame[column].head(take_away.ROWS)
        if kind.endswith("chart"):
            continue
        if kind in ("date", "datetime"):
            values = pd.to_datetime(values, errors="coerce")
        write = _writer(words, settings) or (lambda value: MISSING if value is None or value != value else str(value))
        texts[str(settings.get("label") or column)] = [write(value) for value in values]
    return pd.DataFrame(texts)


def _columns(words: Words, present: list[str], alt: str) -> list[str]:
    """Give the columns that are shown: the first MOST, and all where the reader asks for more."""
    if len(present) <= MOST:
        return present
    label = words("rows.more_columns", n=words.number(len(present) - MOST))
    is_all = st.toggle(label, key=f"more_{alt}_{'_'.join(present)}")
    return present if is_all else present[:MOST]


def frame_table(
    words: Words,
    frame: pd.DataFrame,
    alt: str,
    shown: dict[str, Any],
    *,
    rows: int,
    key: str = "",
    is_kept: bool = True,
) -> int | None:
    """Show the first rows of a frame; with a key, one can be chosen and its position is given back.

    Nine columns, the first of them pinned; the rest when the reader asks for them. One that is kept stands in the PDF
    of the page.
    """
    written, about = _table(words, frame, alt, shown, rows, is_kept)
    if not key:
        st.dataframe(written, alt=alt, placeholder=MISSING, **about)
        return None
    event = st.dataframe(
        written, alt=alt, placeholder=MISSING, key=key, on_select="rerun", selection_mode="single-row", **about
    )
    chosen = event["selection"]["rows"]
    return chosen[0] if chosen else None


def rows_table(words: Words, frame: pd.DataFrame, alt: str, shown: dict[str, Any], *, rows: int, key: str) -> list[int]:
    """Show the first rows of a frame, of which several can be chosen; their positions are given back."""
    written, about = _table(words, frame, alt, shown, rows, True)
    event = st.dataframe(
        written, alt=alt, placeholder=MISSING, key=key, on_select="rerun", selection_mode="multi-row", **about
    )
    return list(event["selection"]["rows"])


def _table(
    words: Words, frame: pd.DataFrame, alt: str, shown: dict[str, Any], rows: int, is_kept: bool
) -> tuple[Any, dict[str, Any]]:
    """Write the first rows of a frame as they are shown, and say how: columns, their order and the height."""
    total, frame = len(frame), frame.head(SHOWN_ROWS)
    present = [column for column in shown if column in frame]
    config = {column: shown[column] for column in present}
    height = 38 + 35 * min(max(len(frame), 1), rows)
    frame = _worded(words, frame)[present]
    for column in (c for c in present if config[c].get("type_config", {}).get("type") == "link"):
        frame[column] = [link if str(link).startswith(("https://", "http://")) else None for link in frame[column]]
    order = _columns(words, present, alt)
    if is_kept:
        take_away.part(f"{alt} {' '.join(present)}", _texts(words, frame, {c: config[c] for c in order}), alt, total)
    written, config = _written(words, frame, config)
    if order:
        config[order[0]] = {**config[order[0]], "pinned": True}
    return written, {"hide_index": True, "column_config": config, "column_order": order, "height": height}
