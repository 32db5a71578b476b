"""Pages that stay open longer than their build is kept: what is asked of them then is answered by the newest one.

Later loads drop earlier builds. A part of a page that is drawn anew alone still holds the build that its page began
with; where that one is gone, the whole page is drawn anew instead.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import streamlit as st

from dashboard.shared.builds import SEEN, Source
from dashboard.shared.filters import View
from pipelines.errors import WarehouseMissing
from pipelines.warehouse.build import is_there

P = ParamSpec("P")
T = TypeVar("T")


def renewed(part: Callable[Concatenate[View, P], T]) -> Callable[Concatenate[View, P], T]:
    """Draw a part of a view, or the whole page anew where the build of the view is gone."""

    @wraps(part)
    def drawn(view: View, /, *args: P.args, **options: P.kwargs) -> T:
        try:
            return part(view, *args, **options)
        except WarehouseMissing:
            again(view.source)
            raise

    return drawn


def again(source: Source) -> None:
    """Draw the page anew where its build is gone and readers see another one by now; else nothing."""
    if source.build_id != SEEN.id(source.warehouse) and not is_there(source.warehouse, source.build_id):
        st.rerun()
