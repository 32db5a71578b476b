"""What the page promises asks; nothing is drawn here."""

import pandas as pd

from dashboard.shared.memory import remembered
from dashboard.shared.queries import (
    EVERY_ROW,
    POLICY_STAGES,
    PageQuestion,
    by,
    crossed,
    cut,
    number,
    opened,
    question_of,
    table,
    undated,
)
from pipelines import analyses
from pipelines.people import work
from pipelines.warehouse.engine import looked_up

SHOWN_GROUPS = 15  # of the states of promises, in their chart


@remembered
def stages(asked: PageQuestion) -> pd.DataFrame:
    """Give each stage's waits in days and the promise on it.

    Columns: stage, p50, p90, low, high, caution, reason, promised (median over policies, 5 business days as 7).
    """
    half = by(asked, "stage_days(0.5)", "stage")[["label", "value"]].rename(columns={"label": "stage", "value": "p50"})
    most = by(asked, "stage_days(0.9)", "stage")[["label", "value", "low", "high", "caution", "reason"]].rename(
        columns={"label": "stage", "value": "p90"}
    )
    order = {"requested": 0, "handed_over": 1, "carrier_scan": 2, "received": 3, "inspected": 4}
    promises = table(asked.source, "dim_policy_promise")
    in_days = promises["duration"] * looked_up(
        promises["duration_unit"],
        {"clock_hours": 1 / 24, "calendar_days": 1.0, "business_days": 7 / 5, "carrier_days": 7 / 5},
    )
    promised = in_days.groupby(promises["from_stage"] + "-" + promises["to_stage"]).median().rename("promised")
    found = half.merge(most, on="stage").join(promised, on="stage")
    return found.sort_values(
        "stage", key=lambda stage: stage.str.replace(r"-.*$", "", regex=True).map(order), ignore_index=True
    )


def by_part(asked: PageQuestion, key: str, dimension: str, part: str) -> pd.DataFrame:
    """Answer a metric per group and part of it, known ones only.

    Columns: label, part, value, coverage, caution, reason.
    """
    found = crossed(asked, key, dimension, part)
    return found.rename(columns={dimension: "label", part: "part"})[_PARTS].reset_index(drop=True)


_PARTS = ["label", "part", "value", "coverage", "caution", "reason"]
_WAY = (*POLICY_STAGES, "cancelled", "rejected", "expired", "lost")


def funnel(asked: PageQuestion) -> pd.DataFrame:
    """Give the units that reached each stage, in the order of the way back.

    Label, value; stages nobody records are left out.
    """
    found = by(asked, "stage_reached", "stage")[["label", "value"]]
    return found.sort_values("label", key=lambda s: s.map(_WAY.index), ignore_index=True)


@remembered
def ways_back(asked: PageQuestion) -> pd.DataFrame:
    """Cross where it was bought with where it came back.

    Columns: channel, return_channel, returned, kept, days (p90 to the refund).
    """
    cells = ["channel", "return_channel"]
    parts = {"returned": "confirmed_units", "kept": "promise_kept", "days": "days_to_refund(0.9)"}
    if any(number(asked, key).lacks for key in parts.values()):
        return pd.DataFrame(columns=[*cells, *parts])
    found = [cut(asked, key, *cells).set_index(cells)["value"].rename(name) for name, key in parts.items()]
    return (
        pd.concat(found, axis=1, sort=False)
        .dropna(subset=["returned"])
        .sort_values("returned", ascending=False)
        .reset_index()
    )


def promise_names(asked: PageQuestion) -> list[str]:
    """List the promises somebody made, the least kept first."""
    return list(dict.fromkeys(promise_states(asked)["label"]))


@remembered
def control(asked: PageQuestion, promise: str) -> pd.DataFrame:
    """Give the control chart of a promise, week by week; the days of the view do not matter."""
    return analyses.control_chart(opened(asked.source), promise, question_of(asked, "promise_kept").undated())


@remembered
def offer(asked: PageQuestion, promise: str, at: float) -> analyses.Offer | None:
    """Give the promise that could be made today for the whole selection; the days of the view do not matter."""
    found = analyses.offers(
        opened(asked.source), promise, at, question_of(asked, "promise_at").undated(), by_lane=False
    )
    return found[0] if found else None


@remembered
def offers(asked: PageQuestion, promise: str, at: float) -> pd.DataFrame:
    """List the promise that could be made today lane by lane, busiest first."""
    found = analyses.offers(opened(asked.source), promise, at, question_of(asked, "promise_at").undated())
    return pd.DataFrame([o.row() for o in found]).rename(columns={"market": "country", "unit": "duration_unit"})


@remembered
def milestones(asked: PageQuestion) -> pd.DataFrame:
    """List open returns by the latest day of each step that keeps the refund's date; the days do not matter."""
    return analyses.milestones(opened(asked.source), question_of(asked, "promise_kept").undated())


@remembered
def owed(asked: PageQuestion) -> pd.DataFrame:
    """List open withdrawals that the law adds to, or will within five days; the days of the view do not matter."""
    question = question_of(asked, analyses.OWED_KEY).undated()
    work = analyses.owed_by_law(opened(asked.source), question, limit=EVERY_ROW)
    places = table(asked.source, "dim_place").drop_duplicates("place_id").set_index("place_id")["name"]
    return work.assign(place=looked_up(work["place_id"], places).fillna(work["place_id"]))


def to_decide(waiting: pd.DataFrame) -> pd.DataFrame:
    """Mark the goods that wait at a site for a decision: the column is_listed."""
    return work.to_decide(waiting)


def waiting_by(asked: PageQuestion, dimension: str) -> pd.DataFrame:
    """Give the margin that waits per stage or site: label, value, low, high."""
    return by(undated(asked), "margin_waiting", dimension)


@remembered
def promise_states(asked: PageQuestion, dimension: str = "promise_id") -> pd.DataFrame:
    """Count returns under promise per group.

    Columns: label, state, n, caution, reason, and a site's name; the least kept first, of many groups the largest.
    """
    if number(asked, "promise_kept").lacks:
        return pd.DataFrame(columns=["label", "state", "n", "caution", "reason"])
    found = analyses.promise_states(opened(asked.source), question_of(asked, "promise_kept"), by=(dimension,))
    found = found.rename(columns={dimension: "label"}).assign(label=lambda f: f["label"].fillna(""))
    states = ["kept", "broken", "undetermined", "expired"]
    found = found.loc[found[states].sum(axis=1).nlargest(SHOWN_GROUPS).index]
    order = (found["kept"] / (found["kept"] + found["broken"]).clip(lower=1)).sort_values().index
    about = ["label", "caution", "reason"]
    long = found.loc[order, [*about, *states]].melt(about, var_name="state", value_name="n")
    if dimension == "place_id":
        places = table(asked.source, "dim_place").drop_duplicates("place_id").set_index("place_id")["name"]
        long["name"] = looked_up(long["label"], places)
    return long
