"""Sentences, columns and blocks of the page promises."""

from functools import partial

import pandas as pd
import streamlit as st

from dashboard.i18n import Words
from dashboard.shared.columns import Columns, day, instant, number, of, percent, text
from dashboard.shared.findings import FEWEST, Finding, few, likely_late, of_enough, told
from pipelines.analyses import Offer


def offers_columns(words: Words) -> Columns:
    """Show what could be promised lane by lane."""
    return of(
        words,
        "promises",
        country=("country", text),
        method=("method", text),
        carrier=("carrier", text),
        possible=("possible", number),
        low=("from", number),
        high=("to", number),
        published=("published", number),
        duration_unit=("unit", text),
        kept=("kept_now", percent),
        a_month=("a_month", number),
        n=("sample", number),
        coverage=("coverage", percent),
        reason=("why", text),
    )


def prices_columns(words: Words, unit: str) -> Columns:
    """Show what each duration would keep and break."""
    within = words("promises.within", unit=words.value("duration_unit", unit))
    return {
        "duration": number(within),
        **of(
            words,
            "promises",
            kept=("would_keep", percent),
            low=("from", percent),
            high=("to", percent),
            broken_a_month=("broken_a_month", number),
        ),
    }


def ways_back_columns(words: Words) -> Columns:
    """Show where it was bought and where it came back."""
    return of(
        words,
        "promises",
        channel=("bought", text),
        return_channel=("came_back", text),
        returned=("returned", number),
        kept=("kept", percent),
        days=("days", partial(number, digits=1)),
    )


def waiting_goods_columns(words: Words, currency: str) -> Columns:
    """Show what waits on its way back, by site and stage."""
    unit = words.unit(currency)
    return {
        **of(words, "promises", place=("place", text), waiting=("where", text), units=("units", number)),
        "margin": number(f"{words('promises.margin')} ({unit})"),
        "value": number(f"{words('promises.cost')} ({unit})"),
    }


def due_columns(words: Words, currency: str) -> Columns:
    """Show open returns with a promise: whose, where, how long, how much."""
    shown = of(
        words,
        "promises",
        return_id=("return", text),
        promise_id=("promise", text),
        due_at=("due", instant),
        days_left=("days_left", lambda label: number(label, 1)),
        age_days=("age", lambda label: number(label, 1)),
    )
    money = {"amount": number(f"{words('promises.amount')} ({words.unit(currency)})")}
    return (
        shown
        | money
        | of(
            words,
            "promises",
            country=("country", text),
            method=("method", text),
            carrier=("carrier", text),
            place=("place", text),
        )
    )


def milestones_columns(words: Words) -> Columns:
    """Show open returns by the latest day of each step that keeps the refund's date."""
    return of(
        words,
        "promises",
        return_id=("return", text),
        stage=("stage", text),
        promise_id=("promise", text),
        due_at=("due", instant),
        scan_by=("scan_by", day),
        scan_basis=("step_basis", text),
        receipt_by=("receipt_by", day),
        receipt_basis=("step_basis", text),
        inspection_by=("inspection_by", day),
        inspection_basis=("step_basis", text),
        missed=("missed", text),
        refund_by=("refund_by", day),
    )


def owed_columns(words: Words, currency: str) -> Columns:
    """Show open withdrawals by what the law adds to them."""
    unit = words.unit(currency)
    first = of(words, "promises", return_id=("return", text), due_on=("due", day), days_late=("days_late", number))
    money = {
        n: number(f"{words(f'promises.{key}')} ({unit})", 2)
        for n, key in (("amount", "owed_amount"), ("surcharge", "owed_surcharge"), ("next_surcharge", "next_surcharge"))
    }
    last = of(
        words,
        "promises",
        share=("owed_share", percent),
        next_on=("next_on", day),
        next_share=("next_share", percent),
        is_assumed=("owed_assumed", st.column_config.CheckboxColumn),
        rule=("owed_rule", text),
        country=("country", text),
        method=("method", text),
        carrier=("carrier", text),
        place=("place", text),
    )
    return first | money | last


def risk_columns(words: Words, currency: str) -> Columns:
    """Show open returns by the probability that they break a promise."""
    shown = of(
        words,
        "promises",
        probability=("probability", percent),
        next_promise=("next", text),
        next_probability=("next_probability", percent),
        expected_at=("expected", day),
        late_at=("late", day),
        stage=("stage", text),
    )
    first = {
        "return_id": text(words("promises.return")),
        "at_stake": number(f"{words('promises.at_stake')} ({words.unit(currency)})"),
    }
    return first | shown | {k: v for k, v in due_columns(words, currency).items() if k not in first}


def states(words: Words, frame: pd.DataFrame) -> str:
    """Say how many promises were kept, broken and still run."""
    if frame.empty:
        return words("promises.tab_states")
    total = frame.groupby("state", observed=True)["n"].sum()
    parts = {"kept": "kept", "broken": "broken", "running": "undetermined"}
    counted = {name: words.number(total.get(state, 0)) for name, state in parts.items()}
    return told(words, "finding.states", frame, **counted)


def slow(words: Words, spent: pd.DataFrame) -> str:
    """Say whose time most of the wait is, and in which stage."""
    if spent.empty:
        return words("promises.tab_time")
    whose = spent.groupby("part")["value"].sum()
    stage = spent.sort_values("value").iloc[-1]
    return told(
        words,
        "finding.time",
        spent,
        whose=words.value("whose", whose.idxmax()),
        share=words.percent(whose.max(), 0),
        stage=words.value("stage", stage["label"]),
        most=words.percent(stage["value"], 0),
    )


def signal(words: Words, weeks: pd.DataFrame) -> str:
    """Name the last week that chance does not explain."""
    found = weeks[weeks["signal"] != ""] if len(weeks) else weeks
    if found.empty:
        judged = words.number(int((~weeks["is_young"]).sum()) if len(weeks) else 0)
        return told(words, "finding.signal_none", weeks, n=judged)
    known = of_enough(found)
    if known.empty:
        return few(words, found.iloc[-1])
    row = known.iloc[-1]
    way = "finding.signal_above" if row["signal"].endswith("above") else "finding.signal_below"
    share, usual = words.percent(row["share"], 0), words.percent(row["centre"], 0)
    return told(words, way, row, week=words.day(row["week"]), share=share, usual=usual)


def offer(words: Words, found: Offer | None) -> str:
    """Say the promise that could be made today, and the published one."""
    if found is None or not found.n:
        return words("promises.tab_possible")
    if found.n < FEWEST:
        return few(words, found)
    if found.possible != found.possible or found.possible == float("inf"):
        return told(words, "finding.offer_none", found, at=words.percent(found.at, 0))
    said = {"possible": _within(words, found.possible, found.unit), "at": words.percent(found.at, 0)}
    if found.published is None:
        return told(words, "finding.offer_alone", found, **said)
    return told(
        words,
        "finding.offer",
        found,
        published=_within(words, found.published, found.unit),
        kept=words.percent(found.kept, 0),
        **said,
    )


def _within(words: Words, duration: float, unit: str) -> str:
    return f"{words.number(duration)} {words.value('duration_unit', unit)}"


def unkeepable(words: Words, lanes: pd.DataFrame, at: float) -> str:
    """Warn of the lanes whose published promise can surely not be kept; nothing when there are none."""
    off = lanes[lanes["is_unkeepable"].astype(bool)] if len(lanes) else lanes
    if off.empty:
        return ""
    row = off.sort_values("a_month").iloc[-1]
    lane = ", ".join(
        filter(
            None,
            [
                words.value("country", row["country"]),
                words.value("method", row["method"]) if row["method"] else "",
                str(row["carrier"]),
            ],
        )
    )
    return told(
        words,
        "finding.unkeepable",
        off,
        n=words.number(len(off)),
        of=words.number(len(lanes)),
        at=words.percent(at, 0),
        lane=lane,
        kept=words.percent(row["kept"], 0),
    )


def to_margin(words: Words) -> Finding:
    """Lead to the Margin page."""
    return Finding("margin", words("promises.to_margin"), 0.0)


def slowest(words: Words, stages: pd.DataFrame) -> str:
    """Name the stage that takes longest."""
    if stages.empty:
        return words("promises.tab_stages")
    known = stages[stages["n"] >= FEWEST] if "n" in stages else stages
    if known.empty:
        return words("promises.tab_stages")
    last = known.sort_values("p90").iloc[-1]
    stage, days = words.value("stage", last["stage"]), words.number(last["p90"], 1)
    return told(words, "finding.worst_stage", last, stage=stage, days=days)


def at_risk(words: Words, risk: pd.DataFrame, currency: str) -> str:
    """Say how many open returns will probably break a promise, and what money waits with them."""
    likely = likely_late(risk)
    if likely.empty:
        return words("finding.no_risk")
    amount = words.money(likely["amount"].sum(), currency)
    return told(words, "finding.at_risk", likely, n=words.number(len(likely)), amount=amount)


def steps(words: Words, found: pd.DataFrame) -> str:
    """Say of how many open returns a step is late already, so that their refund moves."""
    late = found[found["missed"].notna()] if len(found) else found
    if late.empty:
        return words("finding.steps_none")
    return told(words, "finding.steps", late, n=words.number(len(late)), of=words.number(len(found)))


def owed(words: Words, found: pd.DataFrame, currency: str) -> str:
    """Say what the law adds to late refunds today, and when its next step falls."""
    late = found[found["surcharge"] > 0] if len(found) else found
    if late.empty:
        return words("finding.owed_none")
    amount, following = words.money(late["surcharge"].sum(), currency), words.day(found["next_on"].min())
    return told(words, "finding.owed", late, n=words.number(len(late)), amount=amount, day=following)


def due(words: Words, refunds: pd.DataFrame) -> str:
    """Say how many refunds fall due by law, and how many are late already."""
    if refunds.empty:
        return words("do.nothing")
    late = int((refunds["days_left"] <= 0).sum())
    return told(words, "finding.due", refunds, n=words.number(len(refunds) - late), late=words.number(late))
