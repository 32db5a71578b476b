"""The columns of each table: which, in which order, under which words, in which unit."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import queries
from dashboard.i18n import Words

Columns = dict[str, Any]


def text(label: str, **options: Any) -> Any:
    """Give a column of text."""
    return st.column_config.TextColumn(label, **options)


def number(label: str, digits: int = 0) -> Any:
    """Give a column of numbers."""
    return st.column_config.NumberColumn(label, format=f"%.{digits}f" if digits else "localized")


def percent(label: str, about: str | None = None) -> Any:
    """Give a column of shares (0-1), shown as percent."""
    return st.column_config.NumberColumn(label, format="percent", help=about)


def instant(label: str) -> Any:
    """Give a column of instants (UTC)."""
    return st.column_config.DatetimeColumn(label, format="YYYY-MM-DD HH:mm")


def day(label: str, form: str = "YYYY-MM-DD") -> Any:
    """Give a column of days."""
    return st.column_config.DateColumn(label, format=form)


def _of(words: Words, page: str, **columns: tuple[str, Callable[..., Any]]) -> Columns:
    return {name: make(words(f"{page}.{key}")) for name, (key, make) in columns.items()}


def cohorts(words: Words) -> Columns:
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


def offers(words: Words) -> Columns:
    """Show what could be promised lane by lane."""
    return _of(
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


def prices(words: Words, unit: str) -> Columns:
    """Show what each duration would keep and break."""
    within = words("promises.within", unit=words.value("duration_unit", unit))
    return {
        "duration": number(within),
        **_of(
            words,
            "promises",
            kept=("would_keep", percent),
            low=("from", percent),
            high=("to", percent),
            broken_a_month=("broken_a_month", number),
        ),
    }


def ways_back(words: Words) -> Columns:
    """Show where it was bought and where it came back."""
    return _of(
        words,
        "promises",
        channel=("bought", text),
        return_channel=("came_back", text),
        returned=("returned", number),
        kept=("kept", percent),
        days=("days", partial(number, digits=1)),
    )


def waiting_goods(words: Words, currency: str) -> Columns:
    """Show what waits on its way back, by site and stage."""
    unit = words.unit(currency)
    return {
        **_of(words, "promises", place=("place", text), waiting=("where", text), units=("units", number)),
        "margin": number(f"{words('promises.margin')} ({unit})"),
        "value": number(f"{words('promises.cost')} ({unit})"),
    }


def policies(words: Words) -> Columns:
    """Show the versions of policies."""
    return _of(
        words,
        "policies",
        policy_id=("policy", text),
        valid_from=("since", day),
        valid_to=("until", day),
        country=("market", text),
        loyalty_tier=("tier", text),
        window_days=("window", number),
        order_lines=("orders", number),
        returns=("returns", number),
    )


def terms(words: Words) -> Columns:
    """Show the terms of one version."""
    return _of(words, "policies", name=("term", text), value=("says", text))


def promised(words: Words) -> Columns:
    """Show the promises of one version."""
    return _of(
        words,
        "policies",
        promise_id=("promise", text),
        from_stage=("from", text),
        to_stage=("to", text),
        duration=("within", number),
        duration_unit=("unit", text),
        responsible=("keeper", text),
    )


def promise_editor(words: Words) -> Columns:
    """Let the promises of a policy be edited; every cell is wanted."""

    def one_of(name: str, kind: str, options: tuple[str, ...]) -> Any:
        return st.column_config.SelectboxColumn(
            words(f"policies.{name}"), options=options, format_func=lambda o: words.value(kind, o), required=True
        )

    return {
        "promise_id": st.column_config.TextColumn(words("policies.promise"), required=True),
        "from_stage": one_of("from", "stage", queries.POLICY_STAGES),
        "to_stage": one_of("to", "stage", queries.POLICY_STAGES),
        "duration": st.column_config.NumberColumn(words("policies.within"), min_value=0, required=True),
        "duration_unit": one_of("unit", "duration_unit", queries.POLICY_UNITS),
        "responsible": one_of("keeper", "responsible", queries.POLICY_KEEPERS),
    }


def policy_changes(words: Words, one: str, other: str) -> Columns:
    """Show what differs between two versions, under their names."""
    return {"name": text(words("policies.term")), "first": text(one), "second": text(other)}


def loads(words: Words) -> Columns:
    """Show rows read, accepted, duplicate and quarantined of each load and table."""
    return _of(
        words,
        "data",
        started_at=("loaded_at", instant),
        source=("source", text),
        thing=("thing", text),
        read=("read", number),
        accepted=("accepted", number),
        duplicate=("duplicate", number),
        quarantined=("quarantined", number),
        status=("status", text),
    )


def freshness(words: Words) -> Columns:
    """Show what each system delivered up to when."""
    return _of(
        words,
        "data",
        source=("source", text),
        system=("system", text),
        thing=("thing", text),
        rows=("rows", number),
        last_occurred_at=("last", instant),
    )


def quarantine(words: Words) -> Columns:
    """Show quarantined rows by rule, with one place to look at."""
    return _of(
        words,
        "data",
        rules=("rule", text),
        rows=("found", number),
        source=("source", text),
        thing=("thing", text),
        value=("example", text),
        file=("place", text),
        line=("line", number),
    )


def judged(words: Words) -> Columns:
    """Show how the rows of each log were judged."""
    return _of(
        words,
        "data",
        thing=("thing", text),
        read=("read", number),
        accepted=("accepted", number),
        duplicate=("duplicate", number),
        quarantined=("quarantined", number),
    )


def quarantined(words: Words) -> Columns:
    """Show quarantined rows, one by one."""
    return _of(
        words,
        "data",
        file=("place", text),
        line=("line", number),
        thing=("thing", text),
        rules=("rule", text),
        value=("example", text),
    )


def unread(words: Words) -> Columns:
    """Show fields that count as missing because they could not be read."""
    return _of(
        words, "data", thing=("thing", text), rules=("rule", text), rows=("found", number), first=("example", text)
    )


def mapping_editor(words: Words, header: Sequence[str]) -> Columns:
    """Let the column of the file behind each of ours be chosen."""
    return {
        "role": st.column_config.TextColumn(words("upload.ours"), pinned=True, width=160),
        "column": st.column_config.SelectboxColumn(words("upload.theirs"), options=list(header)),
        "examples": text(words("upload.examples")),
        "assumed": text(words("upload.assumed")),
    }


def checks(words: Words) -> Columns:
    """Show what each check found."""
    return _of(
        words,
        "data",
        rows=("found", number),
        sentence=("check", text),
        is_blocking=("blocking", st.column_config.CheckboxColumn),
        sample=("example", text),
    )


def missing(words: Words) -> Columns:
    """Show kinds of fact that numbers wait for."""
    return _of(
        words, "data", fact=("fact", text), unlocks=("unlocks", text), helps=("helps", text), pages=("pages", text)
    )


def coverage(words: Words) -> Columns:
    """Show how much of each kind of fact the sources fill."""
    return _of(
        words, "data", source=("source", text), fact=("fact", text), share=("share", percent), rows=("of_rows", number)
    )


def builds(words: Words) -> Columns:
    """Show rows of each table of each build and what changed."""
    return _of(
        words,
        "data",
        build_id=("build", text),
        created_at=("built_at", instant),
        kind=("kind", text),
        table=("thing", text),
        rows=("rows", number),
        change=("change", number),
    )


def definitions(words: Words) -> Columns:
    """Show what each number says and how it is made."""
    return _of(
        words,
        "data",
        name=("number", text),
        sentence=("sentence", text),
        formula=("formula", text),
        unit=("unit", text),
        basis=("basis", text),
        key=("key", text),
    )


def factors(words: Words) -> Columns:
    """Show factors and parameters with where they come from."""
    return _of(
        words,
        "data",
        factor_id=("factor", text),
        description=("description", text),
        value=("value", lambda label: number(label, 4)),
        unit=("unit", text),
        quality=("quality", text),
        source=("publisher", text),
        year=("year", lambda label: st.column_config.NumberColumn(label, format="%d")),
        source_address=("address", st.column_config.LinkColumn),
    )


def models(words: Words) -> Columns:
    """Show models with their score out of time beside their base rate's."""
    return _of(
        words,
        "data",
        model=("model", text),
        score_name=("score_name", text),
        score=("score", lambda label: number(label, 4)),
        base_score=("base_score", lambda label: number(label, 4)),
        is_used=("used", st.column_config.CheckboxColumn),
        fitted_at=("built_at", instant),
    )


def bases(words: Words, currency: str) -> Columns:
    """Show a month's returns as the three days count them."""
    unit = words("returns.units").lower()
    return {
        "month": day(words("returns.month"), "YYYY-MM"),
        "ordered": number(f"{words('value.basis.order')} ({unit})"),
        "requested": number(f"{words('value.basis.return')} ({unit})"),
        "refunded": number(f"{words('value.basis.refund')} ({unit})"),
        "paid": number(f"{words('accounts.paid')} ({words.unit(currency)})"),
    }


def accrual(words: Words, currency: str) -> Columns:
    """Show what to book for a month's or category's returns not settled yet."""
    groups = {"month": day(words("returns.month"), "YYYY-MM"), "category": text(words("returns.category"))}
    amounts = ("owed", "to_come", "liability", "low", "high", "cost_of_goods", "cost_to_recover", "asset")
    return (
        groups
        | {"units_to_come": number(words("accounts.units_to_come"))}
        | {name: number(f"{words(f'accounts.{name}')} ({words.unit(currency)})") for name in amounts}
        | {"reason": text(words("accounts.reason"))}
    )


def booked(words: Words, currency: str) -> Columns:
    """Show what would have been booked some days ago and what came."""
    names = {"booked": "booked_amount", "low": "low", "high": "high", "came": "came", "open": "open"}
    money = {name: number(f"{words(f'accounts.{key}')} ({words.unit(currency)})") for name, key in names.items()}
    first = {"days_ago": number(words("accounts.days_ago")), "as_of": day(words("accounts.as_of"))}
    last = {
        "error": percent(words("accounts.error")),
        "is_covered": st.column_config.CheckboxColumn(words("backtest.is_covered")),
    }
    return first | money | last


def patterns(words: Words) -> Columns:
    """Show buying patterns as shares of the crowd."""
    return _of(
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


def products(words: Words, currency: str) -> Columns:
    """Show a product's adjusted rate against its category's and its buyers', and what is at stake."""
    shown = _of(words, "products", name=("name", text))
    shown["is_flagged"] = st.column_config.CheckboxColumn(
        words("products.flagged"), help=words("products.flagged_note")
    )
    shown |= _of(
        words,
        "products",
        category=("category", text),
        sold=("sold", number),
        returned=("returned", number),
        rate=("rate", percent),
        low=("low", percent),
        high=("high", percent),
        category_rate=("category_rate", percent),
    )
    shown |= {
        "relative": st.column_config.NumberColumn(
            words("products.relative"), format="%.2f", help=words("products.relative_note")
        ),
        "buyers_rate": percent(words("products.expected"), words("products.expected_note")),
        "own_part": percent(words("products.own_part"), words("products.own_part_note")),
        "maturity": percent(words("products.maturity"), words("products.maturity_note")),
        "is_new": st.column_config.CheckboxColumn(words("products.new"), help=words("products.new_note")),
    }
    shown |= _of(words, "products", probability_above=("above", percent))
    money = {"at_stake": number(f"{words('products.money')} ({words.unit(currency)})")}
    return (
        shown
        | money
        | _of(words, "products", kg_co2e=("kg", number), return_reason=("reason", text), action=("action", text))
        | {"action_status": text(words("actions.status"))}
    )


def costs(words: Words) -> Columns:
    """Show what a product's returns cost and emit, in all and a returned unit."""
    two = lambda label: number(label, 2)  # noqa: E731
    return _of(
        words,
        "products",
        what=("what", text),
        amount=("amount", number),
        unit=("unit", text),
        per_unit=("per_unit", two),
        category_per_unit=("category_per_unit", two),
    )


def related(words: Words) -> Columns:
    """Show products that share a product's problem, or are bought or returned with it."""
    return _of(
        words,
        "products",
        relation=("relation", text),
        name=("name", text),
        through=("through", text),
        return_reason=("reason", text),
        count=("count", number),
        strength=("strength", lambda label: number(label, 1)),
    )


def changes(words: Words) -> Columns:
    """Show what the catalogue changed of a product."""
    return _of(
        words,
        "products",
        changed_at=("changed_at", day),
        what=("what", text),
        before=("before", text),
        after=("after", text),
    )


def actions(words: Words, currency: str) -> Columns:
    """Show what people did."""
    shown = _of(
        words,
        "actions",
        action_id=("number", number),
        kind=("kind", text),
        about=("about", text),
        effective_on=("effective_on", day),
        action_status=("status", text),
        owner=("owner", text),
        due_on=("due_on", day),
    )
    money = {"expected_money": number(f"{words('actions.expected_money')} ({words.unit(currency)})")}
    return shown | money | _of(words, "actions", note=("note", text))


def backtest(words: Words) -> Columns:
    """Show what was said of a month's final rate and what came."""
    return {"month": day(words("returns.month"), "YYYY-MM")} | _of(
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


def due(words: Words, currency: str) -> Columns:
    """Show open returns with a promise: whose, where, how long, how much."""
    shown = _of(
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
        | _of(
            words,
            "promises",
            country=("country", text),
            method=("method", text),
            carrier=("carrier", text),
            place=("place", text),
        )
    )


def risk(words: Words, currency: str) -> Columns:
    """Show open returns by the probability that they break a promise."""
    shown = _of(
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
    return first | shown | {k: v for k, v in due(words, currency).items() if k not in first}


def lanes(words: Words) -> Columns:
    """Show lanes with what they carried and emitted."""
    return _of(
        words,
        "emissions",
        from_name=("from", text),
        to_name=("to", text),
        parcels=("parcels", number),
        kg_co2e=("kg", lambda label: number(label, 1)),
    )


def legs(words: Words) -> Columns:
    """Show legs with the numbers their emissions are made of."""
    return _of(
        words,
        "emissions",
        element_id=("leg", text),
        role=("role", text),
        mode=("mode", text),
        carrier=("carrier", text),
        distance_km=("distance", lambda label: number(label, 1)),
        mass_kg=("mass", lambda label: number(label, 2)),
        kg_co2e=("kg", lambda label: number(label, 3)),
        status=("status", text),
        started_on=("started", day),
    )


def forecasts(words: Words) -> Columns:
    """Show forecasts in sum, group by group."""
    return _of(
        words,
        "forecast",
        name=("group", text),
        value=("sum", number),
        low=("low", number),
        high=("high", number),
        error_ratio=("ratio", percent),
        coverage=("coverage", percent),
        shown=("shown", text),
    )


def outcomes(words: Words) -> Columns:
    """Show what a scenario changes."""
    return _of(
        words,
        "whatif",
        name=("outcome", text),
        history=("history", text),
        value=("value", text),
        difference=("difference", text),
        between=("between", text),
    )


def compared(words: Words, currency: str) -> Columns:
    """Show saved scenarios side by side: what each changes."""

    def named(outcome: str, unit: str, digits: int = 0) -> Any:
        return lambda _: number(f"{words.value('outcome', outcome)} ({words.unit(unit)})", digits)

    return _of(
        words,
        "whatif",
        name=("name", text),
        margin=("difference", named("margin", currency)),
        returned_units=("difference", lambda _: number(words.value("outcome", "returned_units"))),
        kg_co2e=("difference", named("kg_co2e", "kg CO2e")),
        days_to_refund=("difference", named("days_to_refund", "days", 2)),
        promise_kept=("difference", lambda _: percent(words.value("outcome", "promise_kept"))),
    )


def behaviour(words: Words) -> Columns:
    """Show what is assumed of customers."""
    return _of(
        words,
        "whatif",
        name=("assumed", text),
        value=("mode", lambda label: number(label, 3)),
        low=("low", lambda label: number(label, 3)),
        high=("high", lambda label: number(label, 3)),
        unit=("unit", text),
        notes=("notes", text),
    )


def regrets(words: Words, currency: str) -> Columns:
    """Show items that should have gone elsewhere."""
    return _of(
        words,
        "recovery",
        return_line_id=("item", text),
        category=("category", text),
        condition=("grade", text),
        done=("done", text),
        best=("best", text),
        regret=("regret", lambda label: number(f"{label} ({words.unit(currency)})", 2)),
        value=("worth", lambda label: number(f"{label} ({words.unit(currency)})", 2)),
    )


def erosion(words: Words, currency: str) -> Columns:
    """Show the erosion of margin by group."""

    def money(label: str) -> Any:
        return number(f"{label} ({words.unit(currency)})", 2)

    return _of(
        words,
        "margin",
        name=("group", text),
        sold=("sold", number),
        returned=("returned", number),
        erosion=("eroded", lambda label: number(f"{label} ({words.unit(currency)})")),
        per_sold=("per_sold", money),
        per_returned=("per_returned", money),
        share=("of_margin", percent),
    )


def claims(words: Words, currency: str) -> Columns:
    """Show lost parcels to claim."""
    return _of(
        words,
        "margin",
        parcel_id=("parcel", text),
        carrier=("carrier", text),
        status=("claim_status", text),
        amount=("worth", lambda label: number(f"{label} ({words.unit(currency)})", 2)),
        lost_at=("lost", day),
        deadline_on=("deadline", day),
        days_left=("left", number),
        paid=("paid", lambda label: number(label, 2)),
    )


def markdowns(words: Words) -> Columns:
    """Show what goods lose a week."""
    return _of(
        words,
        "margin",
        category=("category", text),
        season=("season", text),
        n=("n", number),
        rate=("a_week", percent),
        low=("low", percent),
        high=("high", percent),
        rests=("basis", text),
    )


def rates(words: Words) -> Columns:
    """Show what dispositions fetch of the net price."""
    return _of(
        words,
        "recovery",
        name=("fate", text),
        category=("category", text),
        n=("sold", number),
        rate=("fetched", percent),
        low=("low", percent),
        high=("high", percent),
    )


def levers(words: Words, currency: str) -> Columns:
    """Show levers with what they would have saved."""
    return _of(
        words,
        "emissions",
        name=("lever", text),
        touched=("touched", number),
        kg_co2e=("saved_kg", number),
        share=("of_total", percent),
        money=("saved_money", lambda label: number(f"{label} ({words.unit(currency)})")),
        days=("sooner", lambda label: number(label, 1)),
        avoided_kg_co2e=("displaced", number),
        rests_on=("rests_on", text),
    )


def closed(words: Words) -> Columns:
    """Show closed months with what they would be now."""
    return _of(
        words,
        "emissions",
        month=("month", text),
        number=("closing", number),
        approver=("approver", text),
        closed_at=("closed_at", instant),
        factor_set=("set", text),
        closed=("closed_kg", lambda label: number(label, 1)),
        now=("now_kg", lambda label: number(label, 1)),
        late=("late", lambda label: number(label, 1)),
        gone=("gone", lambda label: number(label, 1)),
        factor=("of_factor", lambda label: number(label, 1)),
        inputs=("of_inputs", lambda label: number(label, 1)),
    )


def obligations(words: Words) -> Columns:
    """Show rules of reporting."""
    return _of(
        words,
        "emissions",
        name=("rule", text),
        status=("rule_status", text),
        applies_from=("applies_from", text),
        source=("source", text),
        note=("rule_note", text),
    )


def rows(words: Words, frame: pd.DataFrame) -> Columns:
    """Show the rows behind a number: whatever columns their table has, each by its kind."""

    def made(column: str) -> Any:
        label = words.value("column", column)
        values = frame[column]
        if pd.api.types.is_datetime64_any_dtype(values):
            return day(label) if column.endswith("_on") or column == "month" else instant(label)
        if column == "cause" or pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
            return text(label)
        whole = (values.dropna() % 1 == 0).all()
        return number(label, 0 if whole else 3 if column in ("counted", "kg_co2e", "mass_kg", "probability") else 2)

    first = ["counted_on", "counted"]
    return {column: made(column) for column in [*first, *(str(c) for c in frame if c not in first)]}
