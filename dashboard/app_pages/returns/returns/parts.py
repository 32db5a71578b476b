"""Sentences, columns and blocks of the page returns."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.app_pages.returns.returns import data, figures
from dashboard.i18n import Words
from dashboard.shared import charts
from dashboard.shared.blocks import ask_for as ask_for_of_blocks
from dashboard.shared.blocks import chart, nothing, pick, pick_one, section, table
from dashboard.shared.blocks import figures as tiles_of
from dashboard.shared.columns import Columns, day, number, of, percent, text
from dashboard.shared.filters import View
from dashboard.shared.findings import doubt_of, enough, few, ranked_of, reason, told, with_change
from dashboard.shared.queries import Change, Number, PageQuestion, currency
from pipelines.analyses.return_drivers import DAYS, READ


def ask_for(words: Words, part: str, facts: Sequence[str]) -> None:
    """Say that a part of a page waits for kinds of fact, and what to send to whom to get them."""
    ask_for_of_blocks(words, words("missing.title"), [part], facts, is_expanded=False)


def cohorts_columns(words: Words) -> Columns:
    """Show a month's observed and expected final rate."""
    return {
        "month": day(words("returns.month"), "YYYY-MM"),
        "n": number(words("returns.sold")),
        "observed": percent(words("returns.observed")),
        "value": percent(words("returns.projected")),
        "low": percent(words("products.low")),
        "high": percent(words("products.high")),
        "maturity": percent(words("returns.maturity")),
        "coverage": percent(words("returns.coverage")),
    }


def patterns_columns(words: Words) -> Columns:
    """Show buying patterns as shares of the crowd."""
    return of(
        words,
        "customers",
        pattern=("pattern", text),
        customers=("of_customers", percent),
        by_chance=("by_chance", percent),
        sold=("of_sold", percent),
        returned=("of_returned", percent),
        rate=("rate", percent),
        low=("low", percent),
        high=("high", percent),
    )


def backtest_columns(words: Words) -> Columns:
    """Show what was said of a month's final rate and what came."""
    return {"month": day(words("returns.month"), "YYYY-MM")} | of(
        words,
        "backtest",
        maturity_then=("maturity_then", percent),
        observed_then=("observed_then", percent),
        projected=("projected", percent),
        low=("low", percent),
        high=("high", percent),
        projected_now=("projected_now", percent),
        error=("error", percent),
        is_covered=("is_covered", st.column_config.CheckboxColumn),
        to_come=("to_come", number),
        came_since=("came_since", number),
    )


def still_to_come(words: Words, units: Number, value: Number) -> str:
    """Say what is still expected back, in units and money."""
    if units.status != "ok":
        return reason(words, units)
    if not enough(units):
        return few(words, units)
    amount = words.quantity(value.value, value.unit)
    return told(words, "returns.still", (units, value), units=words.number(units.value), amount=amount)


def shop_figure(words: Words, steps: pd.DataFrame, same: pd.DataFrame) -> str:
    """Say what moved a shop system's figure most: the largest step of its change.

    No step is named where the rate at equal age (`same`, one row) moved within noise: the step would be noise too.
    """
    parts = steps[steps["kind"] == "step"]
    if parts.empty:
        return words("returns.change")
    if len(same) and same["status"].iloc[0] == "ok" and bool(same["is_within_noise"].iloc[0]):
        amount = float(parts["amount"].sum())
        return told(words, "finding.shop_figure_noise", steps, points=words.signed(words.points(amount), amount))
    step, amount = parts.sort_values("amount", key=abs)[["step", "amount"]].iloc[-1]
    points = words.signed(words.points(amount), amount)
    return told(words, "finding.shop_figure", steps, step=words.value("step", step).lower(), points=points)


def same_age(words: Words, found: pd.DataFrame) -> str:
    """Say how the rate changed within the window both periods have lived through."""
    if found.empty or found["status"].iloc[0] != "ok":
        return words("finding.same_age_unknown")
    row = found.iloc[0]
    if not enough(row):
        return few(words, row)
    value, previous, difference, low, high = (float(row[c]) for c in ("value", "previous", "difference", "low", "high"))
    change = Change(value, previous, difference, low, high, bool(row["is_within_noise"]), "share", doubt_of(row))
    rate, days = words.percent(row["value"]), words.number(row["window_days"])
    sentence = told(words, "finding.same_age", (), rate=rate, days=days)  # the change says the cautions of both
    return with_change(words, sentence, change)


def gathered(words: Words, found: Any) -> str:
    """Say what share of returns a tenth of the customers brings, and what chance would make of it."""
    tenth = found.slices[found.slices["customers"] == 0.1]
    if tenth.empty:
        return words("finding.customers_unknown")
    row = tenth.iloc[0]
    share, chance = words.percent(row["returned"], 0), words.percent(row["by_chance"], 0)
    return told(words, "finding.customers", row, share=share, chance=chance)


def speed(words: Words, curve: pd.DataFrame) -> str:
    """Say after how many days half of what comes back is back; nothing without a curve."""
    half = curve.loc[curve["share"] >= 0.5].groupby("category", observed=True)["day"].min()
    if half.empty:
        return words("returns.tab_speed")
    return told(words, "finding.development", curve, days=words.number(half.median()))


def cautions(words: Words, months: pd.DataFrame) -> str:
    """Say how many months' intervals are wider, for a drift or for what is new; nothing when none."""
    said, of = months["caution"].fillna(""), words.number(len(months))
    counts = {code: int(said.str.contains(code).sum()) for code in ("delay_drift", "new_curve")}
    return " ".join(words(f"returns.cohorts_{code}", n=words.number(n), of=of) for code, n in counts.items() if n)


def pointed(words: Words, who: pd.DataFrame) -> str:
    """Say whom most returns point at, by their reasons."""
    ranked = ranked_of(who)
    if ranked.empty:
        return words("returns.tab_reasons")
    first = ranked.iloc[0]
    named = words.value("preventable_by", first["label"]).lower()
    return told(words, "finding.top_preventable", first, who=named, share=words.percent(first["value"]))


def inspected(words: Words, outcomes: pd.DataFrame) -> str:
    """Say what inspection found most where goods were not as announced."""
    other = outcomes[outcomes["label"] != "match"].sort_values("value", ascending=False)
    if other.empty or other["value"].iloc[0] <= 0:
        return words("returns.inspection")
    first = words.value("inspection_outcome", other["label"].iloc[0]).lower()
    found, total = words.number(other["value"].sum()), words.number(float(outcomes["value"].sum()))
    return told(words, "finding.inspected", outcomes, n=found, of=total, outcome=first)


def backtested(words: Words, frame: pd.DataFrame, days: int) -> str:
    """Say how far off the projections of some days ago were, in points, and how many held.

    A row a month, or a month and category.
    """
    known = frame.dropna(subset=["error"])
    if known.empty:
        return told(words, "finding.backtest_unknown", (), days=words.number(days))
    held = known["is_covered"].dropna()
    return told(
        words,
        "finding.backtest_cells" if "category" in frame else "finding.backtest",
        frame,
        days=words.number(days),
        points=words.points(known["error"].abs().mean()),
        n=words.number(len(known)),
        held=words.number(int(held.sum())),
        of=words.number(len(held)),
    )


def drifting(words: Words, frame: pd.DataFrame) -> str:
    """Say whether returns still arrive as fast as they used to."""
    off = frame[frame["is_drifting"].astype(bool)] if len(frame) else frame
    if off.empty:
        return words("finding.drift_none")
    row = off.sort_values("z", key=abs).iloc[-1]
    where = words.value("category", row["category"]) if not pd.isna(row["category"]) else words("finding.everywhere")
    return told(
        words,
        "finding.drift",
        row,
        where=where,
        factor=words.percent(abs(row["factor"] - 1), 0),
        way=words("finding.later" if row["factor"] > 1 else "finding.earlier"),
    )


THRESHOLDS, PREVENTED = (0.3, 0.5, 0.7), (0.05, 0.1, 0.2)


def drivers(view: View) -> None:
    """Show what a return model weighs, the baskets of late by driver, and what a warning would have been worth."""
    words, asked = view.words, view.asked
    models = data.models(asked)
    if not models:
        nothing(words("drivers.none"))
        return
    source = pick_one(words("drivers.source"), "driver_source", {s: s for s in models}) if len(models) > 1 else None
    source = source or next(iter(models))
    if models[source]:
        nothing(words.translated(models[source]))
    weights = data.weights(asked, source)
    if weights.empty:
        return
    _weights(words, asked, source, weights)
    if not models[source]:
        _baskets(words, asked, source)
        _worth(words, asked, source)


def _weights(words: Words, asked: PageQuestion, source: str, weights: pd.DataFrame) -> None:
    judged = data.judged(asked, source)
    first = weights.iloc[0]
    said = words("drivers.title", first=words.value("feature", first["label"]), share=words.percent(first["value"], 0))
    note = words("drivers.note", auc=words.number(judged["auc"], 2), lines=words.number(judged["lines_judged"]))
    section(said, words, note=note)
    figure = charts.ranked(weights.head(10), words, "share", words("drivers.weight"), "feature")
    chart(figure, said, "drivers", None, weights)
    curves = data.dependence(asked, source)
    names = {f: words.value("feature", f) for f in weights["label"] if f in set(curves["feature"])}
    if names:
        feature = pick_one(words("drivers.pick"), "driver", names)
        shown = curves[curves["feature"] == feature]
        kind = READ[feature]
        what = words(f"drivers.read_{kind}", name=names[feature])
        chart(figures.dependence(shown, words, kind, what), what, "dependence", None, shown)


def _baskets(words: Words, asked: PageQuestion, source: str) -> None:
    found = data.baskets(asked, source)
    if found.empty:
        return
    said = words("drivers.baskets")  # a driver goes with returns: no number, no colour, no money
    section(said, words, note=words("drivers.baskets_note", days=words.number(DAYS)))
    shown = found.assign(label=[words.value("driver", d) for d in found["label"]])
    columns = of(
        words,
        "drivers",
        label=("driver", text),
        lines=("lines", number),
        of_lines=("of_lines", percent),
        value=("with", percent),
        others=("without", percent),
        returns=("returns", number),
    )
    table(words, shown, said, columns, rows=6)


def _worth(words: Words, asked: PageQuestion, source: str) -> None:
    section(words("drivers.worth"), words, note=words("drivers.worth_note", days=words.number(DAYS)))
    at = {str(t): words("drivers.at", share=words.percent(t, 0)) for t in THRESHOLDS}
    by = {str(p): words("drivers.by", share=words.percent(p, 0)) for p in PREVENTED}
    threshold = float(pick(words("drivers.worth"), "warn_at", at))
    prevented = float(pick(words("drivers.prevented"), "warn_by", by))
    found = data.worth(asked, source, threshold, prevented)
    tiles_of(
        words,
        ("drivers.warned", words.number(found.lines), words("drivers.warned_help", of=words.number(found.of_lines))),
        ("drivers.expected", words.number(found.returns), words("drivers.expected_help")),
        (
            "drivers.kept",
            words.number(found.prevented),
            words("drivers.assumed_help", share=words.percent(prevented, 0)),
        ),
        (
            "drivers.saved",
            words.money(found.saved, currency(asked.source)),
            words("drivers.saved_help", kg=words.number(found.saved_kg)),
        ),
    )
