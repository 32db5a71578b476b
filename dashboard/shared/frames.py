"""A frame as a table on the screen: coded values in the reader's words, rounded, its first rows.

The ways to its files and to the rows behind it are in `controls`.
"""

from typing import Any

import pandas as pd
import streamlit as st

from dashboard.i18n import MISSING, Words

SHOWN_ROWS = 500
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
}


def _worded(words: Words, frame: pd.DataFrame) -> pd.DataFrame:
    """Put coded values into the reader's words."""
    coded = {column: kind for column, kind in CODED.items() if column in frame}
    return frame.assign(
        **{
            column: ["" if pd.isna(code) else words.value(kind, code) for code in frame[column]]
            for column, kind in coded.items()
        }
    )


def _rounded(frame: pd.DataFrame, config: dict[str, Any]) -> pd.DataFrame:
    """Round what a column shows: tenths of a percent, whole amounts."""
    digits = {"percent": 3, "localized": 0}
    forms = {column: digits.get(str(settings["type_config"].get("format")), -1) for column, settings in config.items()}
    return frame.assign(
        **{column: frame[column].astype(float).round(places) for column, places in forms.items() if places >= 0}
    )


def frame_table(
    words: Words, frame: pd.DataFrame, alt: str, shown: dict[str, Any], *, rows: int, key: str = ""
) -> int | None:
    """Show the first rows of a frame; with a key, one can be chosen and its position is given back."""
    frame = frame.head(SHOWN_ROWS)
    present = [column for column in shown if column in frame]
    config = {column: shown[column] for column in present}
    height = 38 + 35 * min(max(len(frame), 1), rows)
    frame = _rounded(_worded(words, frame), config)
    for column in (c for c in present if config[c].get("type_config", {}).get("type") == "link"):
        frame[column] = [link if str(link).startswith(("https://", "http://")) else None for link in frame[column]]
    if not key:
        st.dataframe(frame[present], hide_index=True, column_config=config, height=height, alt=alt, placeholder=MISSING)
        return None
    event = st.dataframe(
        frame[present],
        hide_index=True,
        column_config=config,
        height=height,
        alt=alt,
        key=key,
        on_select="rerun",
        selection_mode="single-row",
    )
    chosen = event["selection"]["rows"]
    return chosen[0] if chosen else None
