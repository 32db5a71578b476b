"""What the page returns asks; nothing is drawn here."""

from dataclasses import replace

import pandas as pd

from dashboard.shared.memory import remembered
from dashboard.shared.queries import (
    PageQuestion,
    Source,
    by_month,
    can_compare,
    doubted,
    opened,
    question_of,
    stands_alone,
    table,
    undated,
)
from pipelines import analyses
from pipelines.analyses import model_report, return_drivers, unlocks
from pipelines.analyses.return_drivers import Worth

BACK = 0.995  # share of the returns back, from which a month is no test of a projection


@remembered
def cohorts(asked: PageQuestion) -> pd.DataFrame:
    """Give each month's observed and expected final rate.

    Columns: month, n, observed, value, low, high, coverage, caution, maturity.
    """
    final = by_month(asked, "ultimate_return_rate")[["month", "value", "low", "high", "n", "coverage", "caution"]]
    so_far = by_month(asked, "observed_return_rate")[["month", "value"]].rename(columns={"value": "observed"})
    back = by_month(asked, "maturity")[["month", "value"]].rename(columns={"value": "maturity"})
    return (
        final.merge(so_far, on="month", how="outer")
        .merge(back, on="month", how="outer")
        .sort_values("month", ignore_index=True)
    )


@remembered
def rate_change(asked: PageQuestion) -> pd.DataFrame:
    """Explain the change of a shop system's own figure: step, kind (total or step), amount (share)."""
    if asked.against is None or not can_compare(asked):
        return pd.DataFrame(columns=["step", "kind", "amount"])
    found = analyses.rate_change(
        opened(asked.source),
        (asked.since, asked.until),
        asked.against,
        question_of(asked, "ultimate_return_rate").undated(),
    )
    kind = ["total" if effect in ("previous", "current") else "step" for effect in found["effect"]]
    return found.rename(columns={"effect": "step", "points": "amount"}).assign(kind=kind)


@remembered
def same_window(asked: PageQuestion, *by: str) -> pd.DataFrame:
    """Compare both periods within the window both have lived through.

    Columns: label, value, previous, difference, low, high, is_within_noise, window_days.
    """
    if asked.against is None or not can_compare(asked):
        return pd.DataFrame()
    found = analyses.same_window(
        opened(asked.source),
        (asked.since, asked.until),
        asked.against,
        question_of(asked, "window_return_rate").undated(),
        by=by,
    )
    return found.rename(columns={by[0]: "label"}) if by and len(found) else found


@remembered
def customers(asked: PageQuestion) -> analyses.Concentration:
    """Say how returns gather on customers."""
    return analyses.customer_concentration(
        opened(asked.source), question_of(asked, "returned_units", "customer_concentration")
    )


@remembered
def development(asked: PageQuestion) -> pd.DataFrame:
    """Give each category's best known development curve: category, day, share, caution, reason.

    The cautions are of all that the shop sold: so much the curves rest on.
    """
    stands_alone(asked)
    curves = table(asked.source, "estimate_development_curve")
    curves = curves[~curves["is_dated"].astype(bool)]  # its days are not all days
    cell = ["source", "category", "channel", "window_days"]
    cells: pd.DataFrame = curves.groupby(cell, dropna=False)["returned"].max().reset_index()
    largest = cells.sort_values(by="returned", ascending=False).drop_duplicates("category")
    shown = curves.merge(largest[cell].head(8), on=cell)
    shown = shown[shown["day"] <= 100].sort_values(["category", "day"])
    return doubted(replace(undated(asked), where=()), shown, "observed_return_rate")


@remembered
def drift(asked: PageQuestion) -> pd.DataFrame:
    """Say per category whether returns still arrive as the curve says."""
    stands_alone(asked)
    return analyses.drift(opened(asked.source))


@remembered
def backtest(asked: PageQuestion, days_ago: int, by: str | None = None) -> pd.DataFrame:
    """Lay what would have been said so many days ago beside what has come, a month (and category) a row.

    The columns of metrics.backtest, and caution; `reason` goes with it.
    """
    question = question_of(asked, "ultimate_return_rate").undated()
    found = analyses.backtest(opened(asked.source), question, days_ago=(days_ago,), by=by)
    tested = found[found["status"].eq("ok") & (found["maturity_then"] < BACK)].reset_index(drop=True)
    return doubted(undated(asked), tested, "ultimate_return_rate")


def lacking(asked: Source, *facts: str) -> tuple[str, ...]:
    """Give those of these kinds of fact that no source fills."""
    return unlocks.lacking(opened(asked), *facts)


def models(asked: PageQuestion) -> dict[str, str]:
    """Give the sources that have a return model, each with why it is not used; nothing where it is."""
    return {source: version.why_not for source, version in model_report.models(opened(asked.source)).items()}


@remembered
def weights(asked: PageQuestion, source: str) -> pd.DataFrame:
    """Give what a source's model weighs. Columns: label, value (share), least, most."""
    stands_alone(asked)
    version = model_report.models(opened(asked.source))[source]
    return return_drivers.weights(version).rename(columns={"feature": "label"})


@remembered
def dependence(asked: PageQuestion, source: str) -> pd.DataFrame:
    """Give the mean probability by the value of a feature. Columns: feature, value, probability, lines."""
    stands_alone(asked)
    return return_drivers.dependence(model_report.models(opened(asked.source))[source])


@remembered
def judged(asked: PageQuestion, source: str) -> dict[str, float]:
    """Give the measures of a model on later lines by their name."""
    stands_alone(asked)
    build = opened(asked.source)
    found = model_report.part(build, model_report.models(build)[source], "overview")
    return dict(zip(found["measure"], found["value"].astype(float), strict=True)) if len(found) else {}


@remembered
def baskets(asked: PageQuestion, source: str) -> pd.DataFrame:
    """Give the lines of late by driver. Columns: label, lines, of_lines, value, others, returns."""
    stands_alone(asked)
    build = opened(asked.source)
    found = return_drivers.baskets(build, model_report.models(build)[source])
    return found.rename(columns={"driver": "label"})


@remembered
def worth(asked: PageQuestion, source: str, threshold: float, prevented: float) -> Worth:
    """Say what a warning would have been worth of late."""
    stands_alone(asked)
    build = opened(asked.source)
    return return_drivers.worth(build, model_report.models(build)[source], threshold, prevented)
