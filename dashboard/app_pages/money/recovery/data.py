"""What the page recovery asks; nothing is drawn here."""

from dataclasses import replace

import pandas as pd

from dashboard.shared.frames import SHOWN_ROWS
from dashboard.shared.memory import remembered
from dashboard.shared.queries import PageQuestion, opened, question_of, stands_alone
from pipelines import analyses


@remembered
def plan(asked: PageQuestion, carbon_price: float) -> analyses.Plan:
    """Assign the inspected goods of the orders of the period to their best routes; list those that lost most by it."""
    plan = analyses.dispose(opened(asked.source), question_of(asked, "dispose"), carbon_price=carbon_price)
    return replace(plan, items=plan.items.nlargest(SHOWN_ROWS, "regret"))


@remembered
def recovery_rates(asked: PageQuestion) -> pd.DataFrame:
    """List what dispositions fetch, measured."""
    stands_alone(asked)
    return analyses.recovery_rates(opened(asked.source))
