"""The flow of units and of money from sale to second life."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import case, func, literal_column, or_, select

from pipelines.metrics.answer import answer
from pipelines.metrics.bind import bind
from pipelines.metrics.catalogue import metric
from pipelines.metrics.catalogue.money import COST, MARGIN, REVERSED
from pipelines.metrics.cautions import doubt_of, doubted
from pipelines.metrics.compiler import filters, statement
from pipelines.metrics.declare import Metric
from pipelines.metrics.facts import LOTS, lots
from pipelines.metrics.facts.conditions import returned
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build
from pipelines.warehouse.vocabulary import COST_COMPONENTS


def flow(
    build: Build,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """Give the links of the flow from sold to what became of it, by order day: start, end, units, caution, reason.

    sold -> kept or returned; returned -> refunded, exchanged or open; those -> an outcome, or waiting. Units in equal
    units out. Empty where too many returns name no order to say what became of the sales.
    """
    bound = bind(build, "returned_units", question)
    now = LOTS.time(bound)
    settled = case(
        (now.happened(lots.c.exchanged_at), literal_column("'exchanged'")),
        (now.happened(lots.c.refunded_at), literal_column("'refunded'")),
        else_=literal_column("'open'"),
    )
    decided = or_(
        now.happened(lots.c.inspected_at), now.happened(lots.c.restocked_at), now.happened(lots.c.disposed_at)
    )
    outcome = case(
        (
            decided,
            case(
                (lots.c.outcome == literal_column("'returned'"), literal_column("'to_supplier'")),
                else_=func.coalesce(lots.c.outcome, literal_column("'waiting'")),
            ),
        ),
        else_=literal_column("'waiting'"),
    )
    counted = returned()[0]
    own = counted.condition(now)
    assert own is not None
    query = (
        select(settled.label("settled"), outcome.label("outcome"), func.sum(lots.c.units).label("units"))
        .where(*filters(LOTS, bound, now), own)
        .group_by(settled, outcome)
    )
    found = build.fetch(query).astype({"units": float})
    said = {key: answer(build, key, question).iloc[0] for key in ("sold_units", "returned_units")}
    if any(row["status"] != "ok" for row in said.values()):
        return pd.DataFrame(columns=["start", "end", "units", "caution", "reason"]).astype({"units": float})
    numbers = {key: float(row["value"]) for key, row in said.items()}
    credited = numbers["returned_units"] - found["units"].sum()
    if credited > 0:
        found = pd.concat(
            [found, pd.DataFrame([{"settled": "refunded", "outcome": "waiting", "units": credited}])], ignore_index=True
        )
    links = [
        ("sold", "kept", numbers["sold_units"] - numbers["returned_units"]),
        ("sold", "returned", numbers["returned_units"]),
    ]
    settlements = found.groupby("settled", as_index=False)["units"].sum()
    outcomes = found.groupby(["settled", "outcome"], as_index=False)["units"].sum()
    links += [("returned", str(s), float(u)) for s, u in settlements.itertuples(index=False)]
    links += [(str(s), str(o), float(u)) for s, o, u in outcomes.itertuples(index=False)]
    found = pd.DataFrame([link for link in links if link[2] > 0], columns=["start", "end", "units"])
    return doubted(found, doubt_of(*said.values()))


def _order_basis(chosen: Metric, by: tuple[str, ...], build: Build, question: Question) -> pd.DataFrame:
    bound = bind(build, chosen.key, question, by=by)
    return build.fetch(statement(replace(bound, basis="order")))


def waterfall(
    build: Build,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """Give the steps from the gross margin of sales to what returns leave of it.

    By order day, in the reporting currency without VAT.

    Rows: booked (total), margin_reversed, one a cost component, left (total). `amount` is signed, rounded to the cent,
    and adds up exactly; measured, imputed and assumed split each step; caution and reason say what the sums do not rest
    on. Empty where margin or cost is not known, or of too few rows.
    """
    said = [answer(build, key, question).iloc[0] for key in ("gross_margin", "margin_erosion")]
    if any(row["status"] != "ok" for row in said):
        return pd.DataFrame(columns=["step", "kind", "amount", "measured", "imputed", "assumed", "caution", "reason"])
    booked = round(
        float(np.nan_to_num(build.fetch(statement(bind(build, "gross_margin", question)))[MARGIN.name].sum())), 2
    )
    undone = -round(
        float(np.nan_to_num(build.fetch(statement(bind(build, "margin_reversed", question)))[REVERSED.name].sum())), 2
    )
    costs = _order_basis(metric("return_cost"), ("component", "data_status"), build, question)
    steps: list[dict[str, Any]] = [
        {"step": "booked", "kind": "total", "amount": booked, "measured": booked},
        {"step": "margin_reversed", "kind": "step", "amount": undone, "measured": undone},
    ]
    for component in sorted(costs["component"].dropna().unique(), key=COST_COMPONENTS.index):
        mine = costs[costs["component"] == component]
        parts = {
            s: -round(float(mine.loc[mine["data_status"] == s, COST.name].sum()), 2)
            for s in ("measured", "imputed", "assumed")
        }
        steps.append({"step": component, "kind": "step", "amount": round(sum(parts.values()), 2), **parts})
    left = round(sum(round(s["amount"] * 100) for s in steps) / 100, 2)
    steps.append({"step": "left", "kind": "total", "amount": left})
    found = (
        pd.DataFrame(steps, columns=["step", "kind", "amount", "measured", "imputed", "assumed"])
        .fillna({"measured": 0.0, "imputed": 0.0, "assumed": 0.0})
        .replace({-0.0: 0.0})
    )
    return doubted(found, doubt_of(*said))
