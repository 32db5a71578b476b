"""What a page says to a reader's software beside what Streamlit says: its language, and what is no list."""

from functools import cache
from pathlib import Path

import streamlit as st


@cache
def _script() -> str:
    return Path(__file__).with_suffix(".html").read_text(encoding="utf-8")


def say(language: str) -> None:
    """Say the language of the page; the script is ours alone, and no text of a shop or a reader goes into it."""
    st.html(_script().replace("{language}", language), unsafe_allow_javascript=True)
