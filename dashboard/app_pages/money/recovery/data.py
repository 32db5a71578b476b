"""What the page recovery asks; nothing is drawn here."""

import pandas as pd

from dashboard.shared.memory import remembered
from dashboard.shared.queries import PageQuestion, opened, question_of, stands_alone
from pipelines import analyses


@remembered
def plan(asked: PageQuestion, carbon_price: float) -> analyses.Plan:
    """Assign the inspected goods of the orders of the period to their best routes."""
    return analyses.dispose(opened(asked.source), question_of(asked, "dispose"), carbon_price=carbon_price)


@remembered
def recovery_rates(asked: PageQuestion) -> pd.DataFrame:
    """List what dispositions fetch, measured."""
    stands_alone(asked)
    return analyses.recovery_rates(opened(asked.source))
