"""What a page needs to know of the reader's theme. The colours themselves are in `tokens`."""

from typing import Literal

import streamlit as st


def is_dark() -> bool:
    """Say whether the ground is dark."""
    return st.context.theme.type == "dark"


def first_button() -> Literal["primary", "secondary"]:
    """Give the kind of the button that a page is there for.

    On a dark ground Streamlit writes white on the accent, under 3:1; there a button with a border is read by everybody.
    """
    return "secondary" if is_dark() else "primary"
