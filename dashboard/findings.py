"""Sentences from numbers: what a page's title, a section's title and a change say. No query, no Streamlit.

A sentence carries at most two numbers, with the interval of the first; a number that is not known says what it needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from dashboard.i18n import Words, inert
from dashboard.queries import Change, Number
from pipelines.metrics import Metric, Offer, losses

Colour = Literal["green", "red", "gray"]
Arrow = Literal["up", "down", "off"]
SURE = 0.95
LOST = losses.UNKNOWN


@dataclass(frozen=True)
class Finding:
    """A sentence, the page that says more, and how much it matters today (0: nothing moved)."""

    page: str
    sentence: str
    weight: float


def reason(words: Words, found: Number) -> str:
    """Say why a number is not known, in the reader's words."""
    return inert(words.translated(found.reason)) or words("greyed.none")


def cautious(words: Words, sentence: str, *said: str) -> str:
    """Add to a sentence what its numbers do not rest on, each caution once."""
    for why in dict.fromkeys(words.translated(w) for w in said if w):
        if why not in sentence:
            sentence = words("finding.caution", sentence=sentence, why=why)
    return sentence


def _why(found: Number) -> str:
    return found.reason if found.caution and found.status == "ok" else ""


def _why_of(row: Any) -> str:
    """Give the caution of a row of answers, or nothing."""
    return str(row["reason"]) if "caution" in row and row["caution"] and row.get("status", "ok") == "ok" else ""


def change(words: Words, found: Change | None, good: str) -> tuple[str, Colour, Arrow]:
    """Write a change with its colour and arrow: grey within noise, else green or red by which way is good."""
    if found is None:
        return words("tile.alone"), "gray", "off"
    text = difference(words, found)
    if found.is_within_noise:
        return f"{text} · {words('tile.noise')}", "gray", "off"
    up = found.difference > 0
    colour: Colour = "gray" if good not in ("up", "down") else "green" if (good == "up") == up else "red"
    return text, colour, "up" if up else "down"


def difference(words: Words, found: Change) -> str:
    """Write a signed difference: points for shares, percent of the previous value for the rest."""
    if found.unit == "share":
        return words.signed(words.points(found.difference), found.difference)
    if found.previous:
        return words.signed(words.percent(found.difference / abs(found.previous)), found.difference)
    return words.signed(words.quantity(found.difference, found.unit), found.difference)


def with_change(words: Words, sentence: str, found: Change | None) -> str:
    """Add the change to a sentence, in words."""
    if found is None:
        return sentence
    if found.is_within_noise:
        same = words("finding.and_change", sentence=sentence, change=words("finding.same"))
        return cautious(words, same, found.caution)
    amount = (
        words.points(abs(found.difference))
        if found.unit == "share"
        else (
            words.percent(abs(found.difference / found.previous))
            if found.previous
            else words.quantity(abs(found.difference), found.unit)
        )
    )
    more = words("finding.more" if found.difference > 0 else "finding.less", change=amount)
    return cautious(words, words("finding.and_change", sentence=sentence, change=more), found.caution)


def weight(found: Change | None) -> float:
    """How far a change stands out of its noise; nothing when it does not."""
    if found is None or found.is_within_noise:
        return 0.0
    half = (found.high - found.low) / 2
    if half > 0:
        return abs(found.difference) / half
    return abs(found.difference / found.previous) if found.previous else 0.0


def number(words: Words, key: str, unknown: str, found: Number, **parts: str) -> str:
    """Say one number, or that it is not known."""
    return cautious(words, words(key, **parts), _why(found)) if found.status == "ok" else words(unknown)


def rate(words: Words, final: Number, *others: tuple[str, Number]) -> str:
    """Say what share of the sold units will come back.

    Where no projection holds, the first of the others that is known. `others` are sentences of `finding.<name>` with
    their numbers, the best known first.
    """
    if final.status == "ok":
        rate_, low, high = (words.percent(x) for x in (final.value, final.low, final.high))
        return cautious(words, words("finding.rate", rate=rate_, low=low, high=high), _why(final))
    for name, found in others:
        if found.status == "ok":
            return cautious(words, words(f"finding.{name}", rate=words.percent(found.value)), _why(found))
    return words("finding.rate_unknown")


def kept(words: Words, found: Number) -> str:
    """Say what share of the promises was kept."""
    return number(words, "finding.kept", "finding.kept_unknown", found, rate=words.percent(found.value))


def margin(words: Words, share: Number, cost: Number) -> str:
    """Say what returns took of the margin, or what they cost."""
    if share.status == "ok":
        return cautious(words, words("finding.margin", share=words.percent(share.value)), _why(share))
    return number(
        words, "finding.margin_amount", "finding.margin_unknown", cost, amount=words.quantity(cost.value, cost.unit)
    )


def carbon(words: Words, total: Number) -> str:
    """Say what returns emitted."""
    return number(words, "finding.carbon", "finding.carbon_unknown", total, kg=mass(words, total.value))


def carbon_per_sold(words: Words, per_hundred: Number, total: Number) -> str:
    """Say what returns emit per 100 units sold, or in all where sales are not known."""
    return (
        cautious(words, words("finding.carbon_per", kg=mass(words, per_hundred.value)), _why(per_hundred))
        if per_hundred.status == "ok"
        else carbon(words, total)
    )


def mass(words: Words, kg: Any) -> str:
    """Write a mass in tonnes from one tonne on."""
    if kg == kg and kg is not None and abs(kg) >= 1000:
        return f"{words.number(kg / 1000, 1)}\u00a0t"
    return f"{words.number(kg)}\u00a0kg"


def top(words: Words, key: str, frame: pd.DataFrame, kind: str, part: str, **formats: Any) -> str:
    """Name the first group of a ranked frame with its number; nothing when the frame is empty."""
    ranked = frame.dropna(subset=["value"]).sort_values("value", ascending=False)
    if ranked.empty:
        return ""
    first = ranked.iloc[0]
    ((name, write),) = formats.items()
    said = words(key, **{part: words.value(kind, first["label"]), name: write(first["value"])})
    return cautious(words, said, _why_of(first))


def still_to_come(words: Words, units: Number, value: Number) -> str:
    """Say what is still expected back, in units and money."""
    if units.status != "ok":
        return reason(words, units)
    said = words("returns.still", units=words.number(units.value), amount=words.quantity(value.value, value.unit))
    return cautious(words, said, _why(units), _why(value))


def shop_figure(words: Words, steps: pd.DataFrame, same: pd.DataFrame) -> str:
    """Say what moved a shop system's figure most: the largest step of its change.

    No step is named where the rate at equal age (`same`, one row) moved within noise: the step would be noise too.
    """
    parts = steps[steps["kind"] == "step"]
    if parts.empty:
        return words("returns.change")
    if len(same) and same["status"].iloc[0] == "ok" and bool(same["is_within_noise"].iloc[0]):
        amount = float(parts["amount"].sum())
        return words("finding.shop_figure_noise", points=words.signed(words.points(amount), amount))
    step, amount = parts.sort_values("amount", key=abs)[["step", "amount"]].iloc[-1]
    points = words.signed(words.points(amount), amount)
    return words("finding.shop_figure", step=words.value("step", step).lower(), points=points)


def same_age(words: Words, found: pd.DataFrame) -> str:
    """Say how the rate changed within the window both periods have lived through."""
    if found.empty or found["status"].iloc[0] != "ok":
        return words("finding.same_age_unknown")
    row = found.iloc[0]
    value, previous, difference, low, high = (float(row[c]) for c in ("value", "previous", "difference", "low", "high"))
    change = Change(value, previous, difference, low, high, bool(row["is_within_noise"]), "share", _why_of(row))
    sentence = words("finding.same_age", rate=words.percent(row["value"]), days=words.number(row["window_days"]))
    return with_change(words, sentence, change)


def gathered(words: Words, found: Any) -> str:
    """Say what share of returns a tenth of the customers brings, and what chance would make of it."""
    tenth = found.slices[found.slices["customers"] == 0.1]
    if tenth.empty:
        return words("finding.customers_unknown")
    row = tenth.iloc[0]
    return words(
        "finding.customers", share=words.percent(row["returned"], 0), chance=words.percent(row["by_chance"], 0)
    )


def booked(words: Words, table: pd.DataFrame, currency: str) -> str:
    """Say what to book for returns not settled yet."""
    if table.empty or table["status"].iloc[0] != "ok":
        return words("finding.booked_unknown")
    whole = table.iloc[0]
    said = words(
        "finding.booked",
        liability=words.money(whole["liability"], currency),
        low=words.money(whole["low"], currency),
        high=words.money(whole["high"], currency),
    )
    return cautious(words, said, str(whole["reason"]))


def booked_before(words: Words, proof: pd.DataFrame) -> str:
    """Say how far off the amounts booked some days ago were."""
    worst = proof.sort_values("error", key=abs)["error"].iloc[-1]
    held = words.number(int(proof["is_covered"].sum()))
    return words("finding.booked_before", share=words.percent(abs(worst)), held=held, of=words.number(len(proof)))


def speed(words: Words, curve: pd.DataFrame) -> str:
    """Say after how many days half of what comes back is back; nothing without a curve."""
    half = curve.loc[curve["share"] >= 0.5].groupby("category", observed=True)["day"].min()
    return words("finding.development", days=words.number(half.median())) if len(half) else words("returns.tab_speed")


def products(words: Words, ranking: pd.DataFrame) -> str:
    """Name the product that stands out most."""
    standing_out = ranking[ranking["is_flagged"].astype(bool)] if len(ranking) else ranking
    if standing_out.empty:
        if len(ranking) and ranking["probability_above"].iloc[0] >= SURE:
            return most_at_stake(words, ranking.iloc[0])
        return words("finding.products_none")
    first = standing_out.iloc[0]
    return words("finding.products", name=str(first["name"]), rate=words.percent(first["rate"]))


def most_at_stake(words: Words, row: Any) -> str:
    """Say of one product how much of it comes back, and how much is usual."""
    rate, usual = words.percent(row["rate"]), words.percent(row["category_rate"])
    return words("finding.product", name=str(row["name"]), rate=rate, usual=usual)


def launched(words: Words, profile: Any) -> str:
    """Say what a product is: category, brand, supplier, season, first day sold."""
    parts = [words.value("category", profile.category), profile.brand, profile.supplier, profile.season]
    first = words("products.since", day=words.day(profile.first_sold_on)) if profile.first_sold_on is not None else ""
    return " · ".join(inert(str(p)) for p in [*parts, first] if p)


def effect(words: Words, found: Any) -> str:
    """Say what an action did, or why that cannot be said, and how long to wait or that no wait will do."""
    e = found.effect
    if e.verdict in ("fell", "rose"):
        low, high = sorted(abs(x) for x in (e.low, e.high))
        parts = {
            "change": words.percent(abs(e.change), 0),
            "low": words.percent(low, 0),
            "high": words.percent(high, 0),
        }
        return words(f"effect.{e.verdict}", **parts)
    if e.verdict == "no_clear_change":
        signed = {n: words.signed(words.percent(getattr(e, n), 0), getattr(e, n)) for n in ("change", "low", "high")}
        sentence = words("effect.no_clear_change", **signed)
    else:
        sentence = words(f"effect.{e.verdict}", reason=words(f"effect.reason_{e.reason}") if e.reason else "")
    waits = e.verdict in ("too_early", "no_clear_change") or e.reason == "too_few_units"
    if not waits or e.weeks_needed == 0:
        return sentence
    if e.weeks_needed is not None:
        return f"{sentence} {words('effect.weeks', n=words.number(e.weeks_needed))}"
    never = words("effect.no_wait" if len(found.action_ids) < 2 else "effect.no_wait_together")
    return never if e.verdict == "too_early" else f"{sentence} {never}"


def caution(words: Words, found: Number) -> str:
    """Say what weakens a number; nothing when nothing is known against it."""
    said = words.translated(found.reason) if found.caution else ""
    return said[:1].upper() + said[1:]


def covered(words: Words, found: Number) -> str:
    """Write the share of its rows that a number rests on; never as all of them."""
    if found.coverage >= 0.9995:
        return words("tile.nearly_all", share=words.percent(0.999))
    return words.percent(found.coverage)


def lost(words: Words, numbers: Sequence[Number]) -> str:
    """Say once what numbers shown together do not rest on, where that is enough for a caution."""
    said = [n.reason for n in numbers if "coverage" in n.caution or (n.status != "ok" and 0 < n.coverage < 1 - LOST)]
    return inert(" · ".join(dict.fromkeys(map(words.translated, said))))


def cautions(words: Words, months: pd.DataFrame) -> str:
    """Say how many months' intervals may not cover for a drift; nothing when none."""
    n = int(months["caution"].fillna("").str.contains("delay_drift").sum())
    return words("returns.cohorts_caution", n=words.number(n), of=words.number(len(months))) if n else ""


def pointed(words: Words, who: pd.DataFrame) -> str:
    """Say whom most returns point at, by their reasons."""
    ranked = who.dropna(subset=["value"]).sort_values("value", ascending=False)
    if ranked.empty:
        return words("returns.tab_reasons")
    first = ranked.iloc[0]
    named = words.value("preventable_by", first["label"]).lower()
    return cautious(
        words, words("finding.top_preventable", who=named, share=words.percent(first["value"])), _why_of(first)
    )


def inspected(words: Words, outcomes: pd.DataFrame) -> str:
    """Say what inspection found most where goods were not as announced."""
    other = outcomes[outcomes["label"] != "match"].sort_values("value", ascending=False)
    if other.empty or other["value"].iloc[0] <= 0:
        return words("returns.inspection")
    first = words.value("inspection_outcome", other["label"].iloc[0]).lower()
    total = float(outcomes["value"].sum())
    return words("finding.inspected", n=words.number(other["value"].sum()), of=words.number(total), outcome=first)


def backtested(words: Words, frame: pd.DataFrame, days: int) -> str:
    """Say how far off the projections of some days ago were, in points, and how many held.

    A row a month, or a month and category.
    """
    known = frame.dropna(subset=["error"])
    if known.empty:
        return words("finding.backtest_unknown", days=words.number(days))
    held = known["is_covered"].dropna()
    return words(
        "finding.backtest_cells" if "category" in frame else "finding.backtest",
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
    return words(
        "finding.drift",
        where=where,
        factor=words.percent(abs(row["factor"] - 1), 0),
        way=words("finding.later" if row["factor"] > 1 else "finding.earlier"),
    )


def states(words: Words, frame: pd.DataFrame) -> str:
    """Say how many promises were kept, broken and still run."""
    if frame.empty:
        return words("promises.tab_states")
    total = frame.groupby("state", observed=True)["n"].sum()
    parts = {"kept": "kept", "broken": "broken", "running": "undetermined"}
    return words("finding.states", **{name: words.number(total.get(state, 0)) for name, state in parts.items()})


def slow(words: Words, spent: pd.DataFrame) -> str:
    """Say whose time most of the wait is, and in which stage."""
    if spent.empty:
        return words("promises.tab_time")
    whose = spent.groupby("part")["value"].sum()
    stage = spent.sort_values("value").iloc[-1]
    return words(
        "finding.time",
        whose=words.value("whose", whose.idxmax()),
        share=words.percent(whose.max(), 0),
        stage=words.value("stage", stage["label"]),
        most=words.percent(stage["value"], 0),
    )


def signal(words: Words, weeks: pd.DataFrame) -> str:
    """Name the last week that chance does not explain."""
    found = weeks[weeks["signal"] != ""] if len(weeks) else weeks
    if found.empty:
        return words("finding.signal_none", n=words.number(int((~weeks["is_young"]).sum()) if len(weeks) else 0))
    row = found.iloc[-1]
    way = "finding.signal_above" if row["signal"].endswith("above") else "finding.signal_below"
    return words(
        way, week=words.day(row["week"]), share=words.percent(row["share"], 0), usual=words.percent(row["centre"], 0)
    )


def waiting(words: Words, goods: pd.DataFrame, currency: str) -> str:
    """Say how much waits on its way back, and where most of it."""
    if goods.empty:
        return words("promises.tab_waiting")
    if goods["margin"].isna().all():
        return words("finding.waiting_units", n=words.number(goods["units"].sum()))
    return words(
        "finding.waiting", n=words.number(goods["units"].sum()), amount=words.money(goods["margin"].sum(), currency)
    )


def offer(words: Words, found: Offer | None) -> str:
    """Say the promise that could be made today, and the published one."""
    if found is None or not found.n:
        return words("promises.tab_possible")
    if found.possible != found.possible or found.possible == float("inf"):
        return words("finding.offer_none", at=words.percent(found.at, 0))
    said = {"possible": _within(words, found.possible, found.unit), "at": words.percent(found.at, 0)}
    if found.published is None:
        return words("finding.offer_alone", **said)
    return words(
        "finding.offer",
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
    return words(
        "finding.unkeepable",
        n=words.number(len(off)),
        of=words.number(len(lanes)),
        at=words.percent(at, 0),
        lane=lane,
        kept=words.percent(row["kept"], 0),
    )


def to_margin(words: Words) -> Finding:
    """Lead to the Margin page."""
    return Finding("margin", words("promises.to_margin"), 0.0)


def to_waiting(words: Words, goods: pd.DataFrame, currency: str) -> Finding:
    """Lead to what waits on its way back."""
    return Finding("promises", waiting(words, goods, currency), 0.0)


def slowest(words: Words, stages: pd.DataFrame) -> str:
    """Name the stage that takes longest."""
    if stages.empty:
        return words("promises.tab_stages")
    last = stages.sort_values("p90").iloc[-1]
    return words("finding.worst_stage", stage=words.value("stage", last["stage"]), days=words.number(last["p90"], 1))


def at_risk(words: Words, risk: pd.DataFrame, currency: str) -> str:
    """Say how many open returns will probably break a promise, and what money waits with them."""
    likely = _likely(risk)
    if likely.empty:
        return words("finding.no_risk")
    return words("finding.at_risk", n=words.number(len(likely)), amount=words.money(likely["amount"].sum(), currency))


def _likely(risk: pd.DataFrame) -> pd.DataFrame:
    """Keep the returns that break a promise more likely than not."""
    return risk[risk[["probability", "next_probability"]].max(axis=1) >= 0.5] if len(risk) else risk


def due(words: Words, refunds: pd.DataFrame) -> str:
    """Say how many refunds fall due by law, and how many are late already."""
    if refunds.empty:
        return words("do.nothing")
    late = int((refunds["days_left"] <= 0).sum())
    return words("finding.due", n=words.number(len(refunds) - late), late=words.number(late))


def left(words: Words, steps: pd.DataFrame) -> str:
    """Say what share of the margin booked on returned goods is left."""
    amounts = dict(zip(steps["step"], steps["amount"], strict=True))
    if not amounts.get("booked"):
        return words("margin.tab_steps")
    return words("finding.left", share=words.percent(amounts["left"] / amounts["booked"], 0))


def heaviest(words: Words, parts: pd.DataFrame, kind: str) -> str:
    """Name the group that emits most."""
    total = parts.groupby("label", observed=True)["value"].sum()
    if total.empty or total.sum() <= 0:
        return words("emissions.tab_parts")
    return words(
        "finding.carbon_role", role=words.value(kind, total.idxmax()), share=words.percent(total.max() / total.sum(), 0)
    )


def forecast(words: Words, whole: pd.DataFrame, measure: str, unit: str) -> str:
    """Say how much will come in the next weeks, and against what the forecast was tested."""
    if whole.empty:
        return words("finding.forecast_unknown")
    total = float(whole["value"].sum())
    return words(
        "finding.forecast" if whole["is_shown"].iloc[0] else "finding.forecast_naive",
        amount=words.quantity(total, unit),
        what=words.value("measure", measure).lower(),
        weeks=str(len(whole)),
    )


def assumption(words: Words, swings: pd.DataFrame, currency: str) -> str:
    """Name the assumption that moves the cost of returns most."""
    if swings.empty:
        return words("margin.tab_rests")
    first = swings.iloc[0]
    return words(
        "finding.assumption",
        name=words.value("cost_parameter", first["parameter"]),
        low=words.money(first["low"], currency),
        high=words.money(first["high"], currency),
    )


def claims(words: Words, found: Number) -> str:
    """Say what is worth claiming from carriers."""
    return number(
        words, "finding.claims", "finding.claims_unknown", found, amount=words.quantity(found.value, found.unit)
    )


def lost_sales(words: Words, missed: pd.DataFrame, currency: str) -> str:
    """Say what margin was missed while goods were away."""
    if missed.empty:
        return words("margin.missed")
    value, low, high = (words.money(missed[c].sum(), currency) for c in ("value", "low", "high"))
    return words("finding.lost_sales", value=value, low=low, high=high)


def repeat(words: Words, again: pd.DataFrame) -> str:
    """Say how many ordered again after a promise that was broken, beside one that was kept."""
    known = again[again["is_enough"].astype(bool)].set_index("group")["rate"] if len(again) else pd.Series(dtype=float)
    if not {"kept", "broken"} <= set(known.index):
        return words("finding.repeat_unknown")
    return words("finding.repeat", broken=words.percent(known["broken"], 0), kept=words.percent(known["kept"], 0))


def markdown(words: Words, curve: pd.DataFrame) -> str:
    """Say what goods lose a week."""
    if curve.empty:
        return words("margin.markdown")
    first = curve.iloc[0]
    return words(
        "finding.markdown",
        rate=words.percent(first["rate"]),
        low=words.percent(first["low"]),
        high=words.percent(first["high"]),
    )


def regret(words: Words, plan: Any, currency: str) -> str:
    """Say what better routes would have brought."""
    if plan.items.empty:
        return words("recovery.routes")
    return words(
        "finding.regret",
        amount=words.money(plan.regret, currency),
        share=words.percent(plan.regret / plan.value if plan.value else 0.0, 1),
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
    return words(
        "finding.scenario",
        money=change,
        between=between,
        kg=words.signed(mass(words, kg["difference"]), kg["difference"]),
    )


def pareto(words: Words, grid: pd.DataFrame) -> str:
    """Say how many of the policies tried no other beats."""
    return words("finding.pareto", best=str(int(grid["is_best"].sum())), tried=str(len(grid)))


def emission_causes(words: Words, changed: pd.DataFrame) -> str:
    """Say what moved the emissions per 100 units sold most."""
    causes = changed[changed["kind"] == "step"].set_index("step")["amount"]
    first = str(causes.abs().idxmax())
    before, after = (float(changed.loc[changed["step"] == s, "amount"].iloc[0]) for s in ("before", "after"))
    return words(
        "finding.emission_causes",
        before=words.number(before, 1),
        after=words.number(after, 1),
        cause=words.value("step", first).lower(),
        amount=words.signed(words.number(float(causes[first]), 1), float(causes[first])),
    )


def doubt(words: Words, swings: pd.DataFrame) -> str:
    """Name what would narrow the interval most."""
    if swings.empty:
        return words("emissions.tab_sure")
    first = swings.iloc[0]
    return words("finding.doubt", source=words.doubt(first["source"]), share=words.percent(first["share"], 0))


def parcels(words: Words, spread: pd.DataFrame) -> str:
    """Say how many parcels emit an implausible amount."""
    return words(
        "finding.parcels", flagged=words.number(spread["flagged"].sum()), parcels=words.number(spread["parcels"].sum())
    )


def lever(words: Words, found: pd.DataFrame) -> str:
    """Name the lever that would have saved most."""
    known = found.dropna(subset=["kg_co2e"])
    if known.empty:
        return words("emissions.tab_levers")
    first = known.iloc[0]
    return words(
        "finding.lever",
        lever=words.value("lever", first["lever"]),
        kg=mass(words, first["kg_co2e"]),
        share=words.percent(first["share"], 0),
    )


def closed(words: Words, months: pd.DataFrame) -> str:
    """Say how many months are closed and how many would be restated."""
    if months.empty:
        return words("finding.none_closed")
    changed = int(((months["now"] - months["closed"]).abs() > 0.5).sum())
    return words("finding.closed", n=str(len(months)), changed=str(changed))


def lane(words: Words, lanes: pd.DataFrame) -> str:
    """Name the heaviest lane."""
    if lanes.empty:
        return words("emissions.tab_map")
    first = lanes.sort_values("kg_co2e", ascending=False).iloc[0]
    return words(
        "finding.lane",
        origin=str(first["from_name"]),
        destination=str(first["to_name"]),
        kg=mass(words, first["kg_co2e"]),
    )


def flow(words: Words, frame: pd.DataFrame) -> str:
    """Say how many of the returned units were sold again as new."""
    if frame.empty:
        return words("overview.flow")
    returned = frame.loc[frame["target"] == "returned", "units"].sum()
    resold = frame.loc[frame["target"] == "resold_as_new", "units"].sum()
    if not resold:
        return words("overview.flow")
    return words("finding.flow", resold=words.number(resold), returned=words.number(returned))


def moved(words: Words, changes: Sequence[tuple[str, str, str, str, Change]], names: dict[str, str]) -> list[Finding]:
    """Say the three changes that stand out most; `names` are the metrics' names."""
    found = [
        Finding(
            page,
            cautious(
                words,
                words(
                    "finding.moved",
                    metric=names[key],
                    group=words.value(kind, group),
                    change=difference(words, change_of),
                ),
                change_of.caution,
            ),
            weight(change_of),
        )
        for key, kind, group, page, change_of in changes
    ]
    return most_important(found)


def policies(words: Words, versions: pd.DataFrame) -> str:
    """Say how many policies are in force, and since when the newest."""
    current = versions[versions["valid_to"].isna()] if len(versions) else versions
    if current.empty:
        return words("finding.policies_none")
    return words(
        "finding.policies", n=words.number(current["policy_id"].nunique()), day=words.day(max(current["valid_from"]))
    )


def compared(words: Words, changes: pd.DataFrame) -> str:
    """Say how many terms differ between two versions."""
    terms = changes[changes["field"] != "valid_from"]
    return words("finding.compared", n=words.number(len(terms))) if len(terms) else words("finding.compared_same")


PAGE_OF = {
    "returns": "returns",
    "workload": "returns",
    "products": "products",
    "promises": "promises",
    "money": "margin",
    "carbon": "emissions",
    "circularity": "emissions",
    "data": "data",
}
"""The page that says more of a family of metrics."""


def alerts(words: Words, frame: pd.DataFrame, of: Callable[[str], Metric]) -> list[Finding]:
    """Say each alert that lasts, newest first; `of` gives the metric of a key."""
    found = []
    for row in frame.to_dict("records"):
        rule, chosen, unit = row["rule"], of(row["rule"].metric), str(row["unit"])
        limits = [(k, v) for k, vs in rule.where.items() for v in vs] + list(row["cell"].items())
        where = ", ".join(words.value(kind, v) for kind, v in limits)
        name = words.either(*chosen.name) + (f" ({where})" if where else "")
        other = row["previous"] if rule.test in ("worse", "better") else rule.bound
        said = words(
            f"alerts.{rule.test}",
            metric=name,
            value=words.quantity(row["value"], unit),
            other=words.quantity(other, unit),
            days=words.number(rule.days),
            since=words.day(row["since_at"]),
        )
        said = cautious(words, said, "" if pd.isna(row["caution"]) else str(row["caution"]))
        found.append(Finding(PAGE_OF.get(chosen.family, "overview"), said, 0.0))
    return found


def data(words: Words, set_aside: int, failed: int) -> str:
    """Say whether the data can be trusted."""
    if failed:
        return words("finding.data_checks", n=words.number(failed))
    return words("finding.data_rows", n=words.number(set_aside)) if set_aside else words("finding.data_good")


Answers = dict[str, tuple[Number, Change | None]]


RATES = {
    "observed_return_rate": "rate_so_far",
    "period_return_rate": "rate_period",
    "flagged_line_rate": "rate_flagged",
    "flagged_order_rate": "rate_flagged_orders",
}
"""What stands for the final rate where that is not known, the best first, and the sentence that says it."""


def headline(
    words: Words, final: Number, moved_rate: Change | None, others: Sequence[tuple[str, tuple[Number, Change | None]]]
) -> Finding:
    """Say what comes back, by the best rate that is known, with the change of that rate."""
    known = [(name, found, change_of) for name, (found, change_of) in others if found.status == "ok"]
    change_of = moved_rate if final.status == "ok" or not known or known[0][0] == "rate_so_far" else known[0][2]
    sentence = rate(words, final, *((name, found) for name, found, _ in known))
    return Finding("returns", with_change(words, sentence, change_of), weight(change_of))


def overview(words: Words, answers: Answers) -> list[Finding]:
    """Say the three things that matter most today, each with the page that says more."""
    final, moved_rate = answers["ultimate_return_rate"]
    others = [(name, answers[key]) for key, name in RATES.items()]
    promise, moved_promise = answers["promise_kept"]
    erosion, moved_erosion = answers["margin_erosion_share"]
    cost, _ = answers["return_cost"]
    emitted, moved_emitted = answers["kg_co2e_per_100_sold"]
    kilograms, _ = answers["kg_co2e"]
    resold, moved_resold = answers["resold_as_new_share"]
    found = [
        headline(words, final, moved_rate, others),
        Finding("promises", with_change(words, kept(words, promise), moved_promise), weight(moved_promise)),
        Finding("margin", with_change(words, margin(words, erosion, cost), moved_erosion), weight(moved_erosion)),
        Finding(
            "emissions",
            with_change(words, carbon_per_sold(words, emitted, kilograms), moved_emitted),
            weight(moved_emitted),
        ),
    ]
    if resold.status == "ok":
        sentence = cautious(words, words("finding.resold", share=words.percent(resold.value)), _why(resold))
        found.append(Finding("emissions", with_change(words, sentence, moved_resold), weight(moved_resold)))
    return most_important(found)


def actions(
    words: Words, due_refunds: pd.DataFrame, risk: pd.DataFrame, ranking: pd.DataFrame, currency: str
) -> list[Finding]:
    """Say what waits to be done, dearest first, with the money at stake."""
    found = []
    likely = _likely(risk)
    for page, key, rows in (("promises", "do.refund", due_refunds), ("promises", "do.risk", likely)):
        if len(rows):
            money = float(rows["amount"].sum())
            found.append(Finding(page, _worth(words, words(key, n=words.number(len(rows))), money, currency), money))
    for row in ranking[ranking["is_flagged"].astype(bool)].head(3).to_dict("records") if len(ranking) else ():
        sentence = words(
            "do.product",
            name=str(row["name"]),
            rate=words.percent(row["rate"], 0),
            usual=words.percent(row["category_rate"], 0),
        )
        found.append(Finding("products", _worth(words, sentence, row["at_stake"], currency), row["at_stake"]))
    return most_important(found, 5)


def _worth(words: Words, sentence: str, money: float, currency: str) -> str:
    return words("do.worth", sentence=sentence, amount=words.money(money, currency))


def most_important(found: Sequence[Finding], count: int = 3) -> list[Finding]:
    """Choose the findings that stand out most, in the order given where nothing moved."""
    return sorted(found, key=lambda f: -f.weight)[:count]
