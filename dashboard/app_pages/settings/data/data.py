"""What the page data asks; nothing is drawn here."""

import pandas as pd

from dashboard.shared.queries import Source
from dashboard.shared.whole import kept
from pipelines import metrics
from pipelines.analyses import unlocks
from pipelines.metrics import Metric
from pipelines.warehouse import state

Missing = unlocks.Missing


def catalogue() -> tuple[Metric, ...]:
    """Give every metric's declaration."""
    return metrics.catalogue()


def loads(asked: Source) -> pd.DataFrame:
    """List loads with the rows read, accepted, duplicate and quarantined."""
    return kept(asked, state.loads)


def unread_fields(asked: Source) -> pd.DataFrame:
    """Count fields that could not be read, of accepted rows."""
    return kept(asked, state.unread_fields)


def builds(asked: Source) -> pd.DataFrame:
    """List builds with the rows of each table and what changed."""
    return kept(asked, state.builds)
