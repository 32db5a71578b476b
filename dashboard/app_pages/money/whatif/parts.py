"""Sentences, columns and blocks of the page whatif."""

from typing import Any

import pandas as pd
import streamlit as st

from dashboard.app_pages.money.whatif import data
from dashboard.i18n import Words
from dashboard.shared import queries
from dashboard.shared.blocks import pick_one, toggle
from dashboard.shared.columns import Columns, number, of, percent, text
from dashboard.shared.filters import View
from dashboard.shared.findings import mass, told


def scenario_form(view: View) -> Any:
    """Let the reader put a scenario together; every choice is in the link. A saved one can be looked at instead."""
    words = view.words
    saved = data.saved_scenarios(view.asked.source)
    if saved:
        chosen = pick_one(words("whatif.saved"), "scenario", {"": words("whatif.new"), **{n: n for n in saved}})
        if chosen in saved:
            return saved[chosen]
    as_is = words("whatif.as_is")

    def choice(key: str, options: dict[str, str]) -> str | None:
        return pick_one(words(f"whatif.{key}"), f"try_{key}", {"": as_is, **options}) or None

    with st.grid(4, min_column_width=210):
        window = choice("window", {f"{d}": words("whatif.days", n=str(d)) for d in (14, 30, 60, 100)})
        fee = choice("fee", {f"{f:g}": words.money(f, "EUR", 2) for f in (-1, 1, 2, 3, 4)})
        trigger = choice("trigger", {s: words.value("stage", s) for s in ("carrier_scan", "received")})
        desk = choice("desk", {f"{f:g}": words.percent(f, 0) for f in (0.9, 1.1, 1.25, 1.5)})
        price = choice("price", {f"{p:g}": words("recovery.price_at", price=f"{p:g}") for p in (50, 100, 150)})
        dropped = choice("without", {m: words.value("method", m) for m in queries.POLICY_METHODS if m != "keep"})
        old = choice("carrier", {c: c for c in data.carriers(view.asked)})
        new = choice("carrier_new", {c: c for c in data.carriers(view.asked) if c != old}) if old else None
        no_box = toggle(words("whatif.no_box"), "try_no_box")
        exchange = toggle(words("whatif.exchange"), "try_exchange")
    left = tuple(m for m in queries.POLICY_METHODS if m not in (dropped, "keep")) if dropped else None
    return data.read_scenario(
        {
            "window_days": int(window) if window else None,
            "fee": float(fee) if fee else None,
            "refund_trigger": trigger,
            "inspection": float(desk) if desk else None,
            "carbon_price": float(price) if price else None,
            "methods": left,
            "no_box": no_box,
            "free_exchange": exchange,
            "carrier": f"{old}>{new}" if old and new else None,
        }
    )


def outcomes(words: Words, found: pd.DataFrame, currency: str) -> pd.DataFrame:
    """Write what a scenario changes, each in its unit."""
    units = {"returned_units": "units", "kg_co2e": "kg CO2e", "days_to_refund": "days", "promise_kept": "share"}
    rows = []
    for row in found.to_dict("records"):
        unit = units.get(row["outcome"], currency)

        def told(value: float, unit: str = unit) -> str:
            return words.points(value) if unit == "share" else words.quantity(value, unit)

        rows.append(
            {
                "name": words.value("outcome", row["outcome"]),
                "history": words.quantity(row["history"], unit),
                "value": words.quantity(row["value"], unit),
                "difference": words.signed(told(row["difference"]), row["difference"]),
                "between": f"{told(row['low'])} – {told(row['high'])}",
            }
        )
    return pd.DataFrame(rows)


def behaviour(words: Words, found: pd.DataFrame) -> pd.DataFrame:
    """Name what is assumed of customers."""
    return found.assign(name=[words.value("behaviour", p) for p in found["parameter"]])


def policies_named(words: Words, grid: pd.DataFrame) -> pd.DataFrame:
    """Name the policies of a grid by what they change."""

    def label(r: Any) -> str:
        parts = [
            words("whatif.days", n=f"{r.window_days:g}") if r.window_days == r.window_days and r.window_days else "",
            f"+{r.fee:g} {words('whatif.fee').lower()}" if r.fee == r.fee and r.fee else "",
            words("whatif.no_box") if r.no_box else "",
            words.value("stage", r.refund_trigger) if isinstance(r.refund_trigger, str) else "",
            words("whatif.desk") if r.inspection == r.inspection and r.inspection else "",
        ]
        return ", ".join(p for p in parts if p) or words("whatif.as_is")

    return grid.assign(label=[label(r) for r in grid.itertuples()])


def save_scenario(view: View, tried: Any) -> None:
    """Let the reader keep a scenario under a name."""
    words = view.words
    with st.form("save_scenario", border=False):
        name = st.text_input(words("whatif.name"))
        if st.form_submit_button(words("whatif.save")) and name.strip():
            data.save_scenario(view.asked.source, name, tried)
            st.success(words("whatif.kept", name=name.strip()))


def outcomes_columns(words: Words) -> Columns:
    """Show what a scenario changes."""
    return of(
        words,
        "whatif",
        name=("outcome", text),
        history=("history", text),
        value=("value", text),
        difference=("difference", text),
        between=("between", text),
    )


def compared_columns(words: Words, currency: str) -> Columns:
    """Show saved scenarios side by side: what each changes."""

    def named(outcome: str, unit: str, digits: int = 0) -> Any:
        return lambda _: number(f"{words.value('outcome', outcome)} ({words.unit(unit)})", digits)

    return of(
        words,
        "whatif",
        name=("name", text),
        margin=("difference", named("margin", currency)),
        returned_units=("difference", lambda _: number(words.value("outcome", "returned_units"))),
        kg_co2e=("difference", named("kg_co2e", "kg CO2e")),
        days_to_refund=("difference", named("days_to_refund", "days", 2)),
        promise_kept=("difference", lambda _: percent(words.value("outcome", "promise_kept"))),
    )


def behaviour_columns(words: Words) -> Columns:
    """Show what is assumed of customers."""
    return of(
        words,
        "whatif",
        name=("assumed", text),
        value=("mode", lambda label: number(label, 3)),
        low=("low", lambda label: number(label, 3)),
        high=("high", lambda label: number(label, 3)),
        unit=("unit", text),
        notes=("notes", text),
    )


def scenario(words: Words, outcome: pd.DataFrame, currency: str) -> str:
    """Say what a scenario would have changed of the margin and the emissions."""
    rows = outcome.set_index("outcome")
    margin, kg = rows.loc["margin"], rows.loc["kg_co2e"]
    if pd.isna(margin["difference"]):
        return words("finding.scenario_unknown")
    if not rows["difference"].abs().max():
        return words("finding.scenario_none")
    between = words(
        "products.between", low=words.money(margin["low"], currency), high=words.money(margin["high"], currency)
    )
    change = words.signed(words.money(margin["difference"], currency), margin["difference"])
    return told(
        words,
        "finding.scenario",
        (margin, kg),
        money=change,
        between=between,
        kg=words.signed(mass(words, kg["difference"]), kg["difference"]),
    )


def pareto(words: Words, grid: pd.DataFrame) -> str:
    """Say how many of the policies tried no other beats."""
    return told(words, "finding.pareto", grid, best=str(int(grid["is_best"].sum())), tried=str(len(grid)))
