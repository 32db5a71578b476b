"""What is kept for the whole shop and not in a build: shown to who sees all of it, changed by who may."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from dashboard.shared import access
from pipelines.errors import AccessError
from pipelines.settings import Settings
from pipelines.why import why

if TYPE_CHECKING:
    from dashboard.shared.queries import Source


def kept(asked: "Source", read: Callable[[Settings], pd.DataFrame]) -> pd.DataFrame:
    """Read what is kept for the whole shop; within a scope none of it is shown."""
    found = read(Settings(asked.warehouse))
    return found.iloc[:0] if asked.scope else found


def changing(asked: "Source", what: str) -> Settings:
    """Give the settings for a change of what is everybody's, and write it down; raises AccessError for who may not."""
    access.changed(what)
    return whole_shop(asked)


def whole_shop(asked: "Source") -> Settings:
    """Give the settings of what is kept for the whole shop; raises AccessError within a scope."""
    if asked.scope:
        raise AccessError(why("whole_shop", scope=asked.scope.text))
    return Settings(asked.warehouse)
