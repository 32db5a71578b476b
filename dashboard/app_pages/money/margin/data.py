"""What the page margin asks; nothing is drawn here."""

import pandas as pd

from dashboard.shared.memory import remembered
from dashboard.shared.queries import SHOWN_STYLES, PageQuestion, crossed, opened, question_of, stands_alone
from pipelines import analyses
from pipelines.people import work


@remembered
def waterfall(asked: PageQuestion) -> pd.DataFrame:
    """Give the steps from the gross margin of sales to what returns leave of it."""
    return analyses.waterfall(opened(asked.source), question_of(asked, "margin_erosion", "gross_margin"))


@remembered
def erosion(asked: PageQuestion) -> pd.DataFrame:
    """Give the margin lost per category and what became of the goods: label, part, value."""
    found = crossed(asked, "margin_erosion", "category", "outcome")[["category", "outcome", "value"]].set_axis(
        ["label", "part", "value"], axis=1
    )
    return found.assign(part=found["part"].fillna("waiting").replace("returned", "to_supplier"))


EROSION_CUTS = analyses.EROSION_CUTS


@remembered
def erosion_by(asked: PageQuestion, by: str) -> pd.DataFrame:
    """Cut the erosion of margin by what no metric knows, per unit sold and returned."""
    found = analyses.erosion_by(opened(asked.source), by, question_of(asked, "margin_erosion", "erosion_by"))
    if by == "style_id":
        found = found.assign(group=analyses.product_names(opened(asked.source), "style_id", found["group"]))
    return found.head(SHOWN_STYLES)


@remembered
def cost_tornado(asked: PageQuestion) -> pd.DataFrame:
    """Say what each assumed parameter does to the cost of returns."""
    return analyses.cost_tornado(opened(asked.source), question_of(asked, "return_cost")).head(10)


@remembered
def claims(asked: PageQuestion) -> pd.DataFrame:
    """List lost parcels, marked where they are to claim (is_listed)."""
    return work.to_claim(analyses.claims(opened(asked.source), question_of(asked, "claims_open_amount")))


@remembered
def lost_sales(asked: PageQuestion) -> pd.DataFrame:
    """Estimate the margin missed while goods were away."""
    return analyses.lost_sales(opened(asked.source), question_of(asked, "lost_sales"))


@remembered
def repeat_rates(asked: PageQuestion) -> pd.DataFrame:
    """Say how many customers ordered again, by what became of their order."""
    stands_alone(asked)
    return analyses.repeat_rates(opened(asked.source))


@remembered
def markdown_curve(asked: PageQuestion) -> pd.DataFrame:
    """Estimate what goods lose a week."""
    stands_alone(asked)
    return analyses.markdown_curve(opened(asked.source))
