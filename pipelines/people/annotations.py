"""Notes on a day, drawn on charts over time: written by people, and those that the warehouse knows by itself.

A note has a day, a kind, a text and what it is about: filters, or nothing for the whole shop. What the warehouse knows
(a version of a policy, another set of factors in a closing, an action that was done, a carrier that came or went, a
load that was withdrawn) is a code with its parts; pages and the command line put it into words. Nothing is drawn here.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import pairwise

import pandas as pd
from sqlalchemy import func, insert, select, update

from pipelines import metrics
from pipelines.errors import PlanError
from pipelines.metrics.question import ALIASES, time_grain
from pipelines.people.actions import actions
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import writing
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.warehouse.state_tables import annotation as table
from pipelines.warehouse.state_tables import closed_month, load
from pipelines.why import why

ANNOTATION_KINDS = ("promotion", "policy", "carrier", "product", "factors", "data", "other")
LONGEST = 200  # characters of a text
QUIET = timedelta(days=28)  # after the data begin, or before they end: a carrier that is not seen has not gone yet
FEWEST = 20  # returns of a carrier that is named
PRODUCTS = ("style_id", "product_id", "size", "colour")
"""Dimensions of single products: a note on some of them is shown where these are looked at, and nowhere else."""
_OF_POLICY = ("market", "channel", "category")
_SCOPE_DIMENSIONS = "all_returned_units", "sold_units"  # whose dimensions a note may be about


@dataclass(frozen=True)
class Annotation:
    """One note: its day, kind and what it is about; a text that somebody wrote, or a code with its parts."""

    begins_on: date
    kind: str
    text: str = ""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    annotation_id: int = 0
    code: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    is_withdrawn: bool = False

    @property
    def is_automatic(self) -> bool:
        """Say whether the warehouse knows it by itself."""
        return bool(self.code)


def annotate(settings: Settings, build: Build, wanted: Annotation) -> Annotation:
    """Keep a note; gives it with its number, that of an equal one where it is shown already.

    Raises PlanError without a text or for a kind that is none, UnknownDimension and UnknownValue for what it is about.
    """
    text = " ".join(wanted.text.split())
    if not 0 < len(text) <= LONGEST:
        raise PlanError(why("note_empty", limit=LONGEST))
    if wanted.kind not in ANNOTATION_KINDS:
        kinds = ", ".join(ANNOTATION_KINDS)
        raise PlanError(why("note_kind", kind=wanted.kind[:40].replace(";", ",") or "nothing", kinds=kinds))
    wanted = replace(wanted, text=text, where=_about(build, wanted.where))
    where = json.dumps(dict(wanted.where), sort_keys=True)
    row = {"text": text, "kind": wanted.kind, "begins_on": wanted.begins_on, "where": where}
    equal = select(table.c.annotation_id).where(*(table.c[name] == value for name, value in row.items()))
    state_file = state.State(settings.warehouse)
    try:
        with writing(settings.warehouse, settings.short_wait_s), state_file.transaction() as connection:
            number = connection.execute(equal.where(table.c.withdrawn_at.is_(None))).scalars().first()
            if number is None:
                new = insert(table).values(**row, created_at=state.now()).returning(table.c.annotation_id)
                number = connection.execute(new).scalar_one()
    finally:
        state_file.close()
    return replace(wanted, annotation_id=int(number))


def _about(build: Build, where: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Read what a note is about by the first metric that knows its dimensions."""
    named = {ALIASES.get(name, name): values for name, values in where.items() if len(values)}
    key, *others = _SCOPE_DIMENSIONS
    if any(name not in metrics.dimensions(key, build) or time_grain(name) for name in named):
        key = others[0]
    read = metrics.read_filters(build, key, named)
    return {name: tuple(sorted(read[name])) for name in sorted(read)}


def withdraw_annotation(settings: Settings, annotation_id: int) -> None:
    """Take a note back: it stays on record and is not shown. Raises PlanError for none of that number."""
    if annotation_id not in {one.annotation_id for one in written(settings)}:
        raise PlanError(why("note_none", number=annotation_id))
    state_file = state.State(settings.warehouse)
    try:
        with writing(settings.warehouse, settings.short_wait_s), state_file.transaction() as connection:
            is_it = table.c.annotation_id == annotation_id
            connection.execute(update(table).where(is_it).values(withdrawn_at=state.now()))
    finally:
        state_file.close()


def written(settings: Settings, *, with_withdrawn: bool = False) -> list[Annotation]:
    """List the notes that people wrote, the newest day first."""
    state_file = state.State(settings.warehouse)
    try:
        rows = state_file.rows(select(table).order_by(table.c.begins_on.desc(), table.c.annotation_id))
    finally:
        state_file.close()
    return [
        Annotation(
            row["begins_on"],
            row["kind"],
            row["text"],
            {name: tuple(values) for name, values in json.loads(row["where"]).items()},
            row["annotation_id"],
            is_withdrawn=row["withdrawn_at"] is not None,
        )
        for row in rows
        if with_withdrawn or row["withdrawn_at"] is None
    ]


def known_by_build(build: Build) -> list[Annotation]:
    """List what a build knows: versions of policies after the first, carriers that came or went."""
    return [*_policies(build), *_carriers(build)]


def _policies(build: Build) -> Iterator[Annotation]:
    """Give a note to each day on which versions of policies took over: of which markets, and their return window."""
    found = build.fetch(select(STAR.tables["dim_policy"]))
    begun = found[found["valid_from"] > found.groupby("policy_id")["valid_from"].transform("min")]
    named = begun.assign(on=begun["valid_from"].dt.date, **begun[list(_OF_POLICY)].fillna(""))
    for _, versions in named.groupby(["on", "channel", "category"]):
        on, channel, category = versions[["on", "channel", "category"]].iloc[0]
        markets = tuple(sorted(set(versions["market"])))
        where = {"country": markets, "channel": (channel,), "category": (category,)}
        windows = set(versions["window_days"].dropna())
        parts = (
            ("markets", "" if "" in markets else ",".join(markets)),
            ("days", f"{windows.pop():.0f}" if len(windows) == 1 else ""),
        )
        about = {name: values for name, values in where.items() if "" not in values}
        yield Annotation(on, "policy", "", about, code="policy", parts=parts)


def _carriers(build: Build) -> Iterator[Annotation]:
    c = STAR.tables["fact_return_line"].c
    spans = [func.min(c.requested_on).label("first"), func.max(c.requested_on).label("last"), func.count().label("n")]
    found = build.fetch(select(c.carrier, *spans).where(c.requested_on.is_not(None)).group_by(c.carrier))
    if found.empty:
        return
    begin, end = (pd.Timestamp(day).date() for day in (found["first"].min(), found["last"].max()))
    named = found[found["carrier"].fillna("").ne("") & (found["n"] >= FEWEST)]
    for row in named.sort_values("first").to_dict("records"):
        first, last = (pd.Timestamp(row[name]).date() for name in ("first", "last"))
        where, parts = {"carrier": (str(row["carrier"]),)}, (("carrier", str(row["carrier"])),)
        if first > begin + QUIET:
            yield Annotation(first, "carrier", "", where, code="carrier_first", parts=parts)
        if last < end - QUIET:
            yield Annotation(last, "carrier", "", where, code="carrier_last", parts=parts)


def known_by_state(settings: Settings) -> list[Annotation]:
    """List what the state knows: actions that were done, other factors in a closing, loads that were withdrawn.

    It is of the whole shop: nobody sees it within a scope.
    """
    found = [
        Annotation(
            one.effective_on,
            "product",
            "",
            dict(one.scope),
            code="action",
            parts=(("kind", one.kind), ("said", one.note or "")),
        )
        for one in actions(settings)
        if one.status == "done" and one.effective_on is not None
    ]
    state_file = state.State(settings.warehouse)
    try:
        closings = state_file.rows(select(closed_month).order_by(closed_month.c.closed_at, closed_month.c.number))
        loads = state_file.rows(select(load).where(load.c.status == "withdrawn").order_by(load.c.load_id))
    finally:
        state_file.close()
    for before, after in pairwise(closings):
        if before["factor_set"] != after["factor_set"]:
            parts = (("before", str(before["factor_set"])), ("after", str(after["factor_set"])))
            found.append(Annotation(after["closed_at"].date(), "factors", code="factors", parts=parts))
    found += [
        Annotation(at.date(), "data", code="load_withdrawn", parts=(("source", str(row["source"])),))
        for row in loads
        if (at := row["finished_at"] or row["started_at"]) is not None
    ]
    return found


def overlapping(
    notes: Sequence[Annotation], where: Mapping[str, Sequence[str]], also: Mapping[str, Sequence[str]] | None = None
) -> list[Annotation]:
    """Keep the notes that are about some of what filters let through.

    A note on single products is kept where some of them are looked at. `also` says more of what is looked at, such as
    the category and brand of a product.

    >>> jeans = Annotation(date(2026, 1, 15), "product", "New sizing", {"category": ("jeans",)})
    >>> [len(overlapping([jeans], where)) for where in ({}, {"category": ["jeans", "coats"]}, {"category": ["coats"]})]
    [1, 1, 0]
    """
    seen = {name: set(map(str, values)) for name, values in {**(also or {}), **where}.items() if len(values)}
    return [
        one
        for one in notes
        if all(not (name in seen and seen[name].isdisjoint(values)) for name, values in one.where.items())
        and not (set(one.where) & set(PRODUCTS) - set(seen))
    ]


def within(notes: Sequence[Annotation], allowed: Mapping[str, Sequence[str]]) -> list[Annotation]:
    """Keep the notes that are wholly about what a reader may see; all of them for who sees everything."""
    return [
        one
        for one in notes
        if all(name in one.where and set(one.where[name]) <= set(values) for name, values in allowed.items())
    ]


def sentence(one: Annotation) -> str:
    """Say a note in English, as the command line does."""
    parts = dict(one.parts)
    said = {
        "policy": "new versions of return policies{said}",
        "carrier_first": "first return with {carrier}",
        "carrier_last": "last return with {carrier}",
        "action": "{kind} done{said}",
        "factors": "closings use the factors {after}, before {before}",
        "load_withdrawn": "a load of {source} was withdrawn",
    }
    if not one.code:
        return one.text
    if one.code == "action":
        parts = {"kind": parts["kind"].replace("_", " "), "said": f": {parts['said']}" if parts["said"] else ""}
    if one.code == "policy":
        window = [f"return window {parts['days']} days"] if parts["days"] else []
        parts = {"said": "".join(f", {text}" for text in [*filter(None, [parts["markets"]]), *window])}
    return said[one.code].format(**parts)
