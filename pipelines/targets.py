"""Targets: what a number is to be, of the whole shop or a cell of it, from a day on, and whether it was.

A target is of a metric and of exactly the filters it names: one of the whole shop says nothing of a market. It holds
from its day until its own end, or until the next of its cell takes over, so that each month is judged by the target of
its time. Whether a number misses it is said where the number's interval lies beyond it and enough was counted; else it
is within noise. Nothing is drawn or coloured here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, insert, select, update

from models.marks import beyond_noise
from models.periods import DAY, grain_end
from pipelines import metrics
from pipelines.errors import BackhaulError, PlanError, UnknownDimension
from pipelines.metrics.bind import ask, observed, unit
from pipelines.metrics.catalogue import parsed
from pipelines.metrics.question import ALIASES, ANYTHING, Question, Values, time_grain
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import writing
from pipelines.warehouse.engine import Build
from pipelines.warehouse.scope import EVERYTHING, Scope
from pipelines.warehouse.state_tables import target as table
from pipelines.why import why
from pipelines.written import figure, read_table

FEWEST = 30  # cases of a number that is judged
UNSETTLED = timedelta(days=60)  # before the data end: days of which returns still arrive
INSTEAD = frozenset({"observed_return_rate", "order_return_rate", "value_return_rate"})
"""Rates that grow with age: a target is set on the final rate."""
SETTLED = frozenset({"ultimate_return_rate", "underlying_return_rate", "window_return_rate", "product_return_rate"})
"""Numbers by date of order that do not grow while returns arrive."""
COLUMNS = ("metric", "value", "from", "until", "where", "note")

_JUDGED = (
    *("value", "low", "high", "n", "target", "difference", "verdict", "judged_since"),
    *("unit", "basis", "status", "reason", "caution"),
)
Cell = tuple[tuple[str, tuple[str, ...]], ...]
"""What a target is of: each dimension with its values, in their order; nothing is the whole shop."""


@dataclass(frozen=True)
class Target:
    """One version of a target: the metric's key, the value in its unit, the filters of its cell, the days it holds."""

    metric: str
    value: float
    since: date
    until: date | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    note: str = ""
    target_id: int = 0
    withdrawn_at: datetime | None = None

    @property
    def cell(self) -> Cell:
        """What it is of."""
        return cell_of(self.where)


VERDICTS = ("met", "so_far", "missed", "noise", "few", "no_interval", "unknown")
"""Beyond noise on the good side, or so while returns still arrive; beyond it on the other; within it; not judged."""


def canonical(key: str) -> str:
    """Write a metric's key one way: without the parameter that it has anyway. Raises UnknownMetric.

    >>> canonical("days_to_refund(0.9)"), canonical("days_to_refund(0.5)")
    ('days_to_refund', 'days_to_refund(0.5)')
    """
    chosen, parameter = parsed(key)
    return chosen.key if parameter in (None, parsed(chosen.key)[1]) else f"{chosen.key}({parameter:g})"


def cell_of(where: Values, scope: Scope = EVERYTHING) -> Cell:
    """Give the cell that filters name, for a reader of this scope.

    >>> cell_of({"market": ["FR"], "category": ["b", "a"]})
    (('category', ('a', 'b')), ('country', ('FR',)))
    """
    named = {ALIASES.get(name, name): values for name, values in {**scope.allowed, **where}.items() if len(values)}
    return tuple(sorted((name, tuple(sorted(map(str, values)))) for name, values in named.items()))


def read_value(text: str, of: str) -> float:
    """Read a target's value as people write it, in a unit: 4%, 0.04, 5 days, 120 EUR. Raises PlanError.

    >>> read_value("4%", "share"), read_value("2.5 EUR", "EUR per unit")
    (0.04, 2.5)
    """
    found = re.fullmatch(r"\s*([^\s%A-Za-z€]+)\s*(.*?)\s*", text)
    try:
        value = figure(found[1]) if found else np.nan
    except ValueError:
        value = np.nan
    if found is None or not np.isfinite(value):
        raise PlanError(why("target_number", value=text[:40].replace(";", ",") or "nothing"))
    given = found[2].casefold()
    if given == "%" and of == "share":
        return value / 100
    if given and given not in (of.casefold(), of.split(" per ")[0].casefold()):
        raise PlanError(why("target_unit", unit="%" if of == "share" else of, other=found[2][:40].replace(";", ",")))
    if of == "share" and abs(value) > 1:
        raise PlanError(why("target_share", value=found[1]))
    return value


def refusal(key: str) -> str:
    """Say why a number takes no target; nothing where it takes one. Raises UnknownMetric."""
    chosen = metrics.metric(key)
    if chosen.good not in ("up", "down"):
        return why("target_neutral")
    if chosen.key in INSTEAD:
        return why("target_grows")
    is_sum = chosen.unit != "share" and not chosen.denominator and chosen.parameter is None
    return why("target_sum") if is_sum else ""


def checked(build: Build, wanted: Target) -> Target:
    """Give a target as it is kept, or raise for one that no number can be judged by.

    Raises PlanError, and what metrics raise for what they do not know.
    """
    chosen, key = metrics.metric(wanted.metric), canonical(wanted.metric)
    if refused := refusal(key):
        raise PlanError(refused)
    if wanted.until is not None and wanted.until < wanted.since:
        raise PlanError(why("target_days"))
    if grains := [name for name in wanted.where if time_grain(name)]:
        raise UnknownDimension(f"A target's days are given by their first and last day, not by {grains[0]}.")
    if not np.isfinite(wanted.value) or (chosen.unit == "share" and abs(wanted.value) > 1):
        raise PlanError(why("target_share", value=f"{wanted.value:g}"))
    where = {name: tuple(values) for name, values in cell_of(metrics.read_filters(build, key, wanted.where))}
    return replace(wanted, metric=key, where=where, note=wanted.note.strip())


def set_target(settings: Settings, build: Build, wanted: Target) -> Target:
    """Keep a target; gives it with its number, that of an equal one where it stands already.

    One of the same cell and day is withdrawn and stays on record. Raises what `checked` raises.
    """
    return set_targets(settings, build, [wanted])[0]


def set_targets(settings: Settings, build: Build, wanted: Sequence[Target]) -> list[Target]:
    """Keep several targets, all of them or none."""
    good = [checked(build, one) for one in wanted]
    with writing(settings.warehouse, settings.short_wait_s):
        state_file = state.State(settings.warehouse)
        try:
            known = _read(state_file)
            with state_file.transaction() as connection:
                return [_kept(connection, known, one) for one in good]
        finally:
            state_file.close()


def _kept(connection: Connection, known: list[Target], wanted: Target) -> Target:
    for other in known:
        if replace(other, target_id=0) == wanted:
            return other
        if (other.metric, other.cell, other.since) == (wanted.metric, wanted.cell, wanted.since):
            _withdraw(connection, other.target_id)
    row = {name: getattr(wanted, name) for name in ("metric", "value", "since", "until", "note")}
    where = json.dumps(dict(wanted.cell), sort_keys=True)
    new = insert(table).values(**row, where=where, created_at=state.now()).returning(table.c.target_id)
    kept = replace(wanted, target_id=int(connection.execute(new).scalar_one()))
    known[:] = [one for one in known if (one.metric, one.cell, one.since) != (kept.metric, kept.cell, kept.since)]
    known.append(kept)
    return kept


def _withdraw(connection: Connection, target_id: int) -> None:
    connection.execute(update(table).where(table.c.target_id == target_id).values(withdrawn_at=state.now()))


def withdraw_target(settings: Settings, target_id: int) -> None:
    """Take a target back: it stays on record and judges nothing. Raises PlanError for none of that number."""
    with writing(settings.warehouse, settings.short_wait_s):
        state_file = state.State(settings.warehouse)
        try:
            if target_id not in {one.target_id for one in _read(state_file)}:
                raise PlanError(why("target_none", number=target_id))
            with state_file.transaction() as connection:
                _withdraw(connection, target_id)
        finally:
            state_file.close()


def targets(settings: Settings, *, with_withdrawn: bool = False) -> list[Target]:
    """List targets by metric, cell and day."""
    state_file = state.State(settings.warehouse)
    try:
        return _read(state_file, with_withdrawn=with_withdrawn)
    finally:
        state_file.close()


def _read(state_file: state.State, *, with_withdrawn: bool = False) -> list[Target]:
    names = ("metric", "value", "since", "until", "target_id", "withdrawn_at")
    rows = state_file.rows(select(table).order_by(table.c.metric, table.c.where, table.c.since, table.c.target_id))
    return [
        Target(
            **{name: row[name] for name in names},
            where={name: tuple(values) for name, values in json.loads(row["where"]).items()},
            note=row["note"] or "",
        )
        for row in rows
        if with_withdrawn or row["withdrawn_at"] is None
    ]


def from_file(build: Build, path: Any) -> list[Target]:
    """Read targets from a CSV of COLUMNS, of which metric, value and from are needed. Raises PlanError with the line.

    `where` holds filters as the command line writes them, parted by spaces.
    """
    read = []
    for line, row in read_table(path, COLUMNS[:3], "Its header is " + ",".join(COLUMNS) + ".", PlanError):
        try:
            of = unit(build, metrics.metric(row["metric"]))
            pairs = [pair.partition("=") for pair in row.get("where", "").split()]
            where = {name: tuple(values.split(",")) for name, _, values in pairs}
            since = date.fromisoformat(row["from"].strip())
            until = date.fromisoformat(text.strip()) if (text := row.get("until", "")).strip() else None
            wanted = Target(
                row["metric"].strip(), read_value(row["value"], of), since, until, where, row.get("note", "")
            )
            read.append(checked(build, wanted))
        except (ValueError, BackhaulError) as error:
            raise PlanError(f"{path}, line {line}: {error}") from None
    return read


def versions(known: Sequence[Target], key: str, cell: Cell) -> list[Target]:
    """List the targets of a metric and cell by day, each ended where the next one takes over."""
    own = sorted((one for one in known if (one.metric, one.cell) == (key, cell)), key=lambda one: one.since)
    ends = [*(one.since - DAY for one in own[1:]), date.max][: len(own)]
    return [replace(one, until=min(one.until or date.max, end)) for one, end in zip(own, ends, strict=True)]


def standing(known: Sequence[Target], key: str, cell: Cell, on: date) -> Target | None:
    """Give the target that holds on a day, its end where the next one takes over; None where there is none."""
    return next((one for one in versions(known, key, cell) if one.since <= on <= (one.until or on)), None)


def wider(known: Sequence[Target], key: str, cell: Cell, on: date) -> Target | None:
    """Give the target of the nearest wider cell, which judges nothing here; the shop's is the widest."""
    around = [one for one in known if one.metric == key and one.cell != cell and set(one.cell) < set(cell)]
    found = (standing(around, key, one.cell, on) for one in sorted(around, key=lambda one: -len(one.cell)))
    return next((one for one in found if one is not None), None)


def whole_of(known: Sequence[Target], key: str, cell: Cell, since: date, until: date) -> Target | None:
    """Give the target that holds on all of these days; None where there is none, or it changes among them."""
    found = standing(known, key, cell, until)
    return found if found is not None and found.since <= since else None


def verdict(row: Mapping[Any, Any], good: str, *, is_beyond: bool, is_young: bool = False) -> str:
    """Say whether a number misses its target: one of VERDICTS.

    `row` has value, low, high, n, status and target; `good` is the way that is good, `is_beyond` says that chance does
    not explain the difference, `is_young` that returns still arrive.
    """
    if row["status"] != "ok":
        return "unknown"
    if not row["n"] >= FEWEST:
        return "few"
    if not np.isfinite(row["low"] + row["high"]):
        return "no_interval"
    if not is_beyond:
        return "noise"
    if (row["value"] > row["target"]) == (good == "down"):
        return "missed"
    return "so_far" if is_young else "met"


def grows(key: str, until: date | None, last: date | None) -> bool:
    """Say whether a number of days up to `until` still grows: returns of its orders arrive yet."""
    chosen = parsed(key)[0]
    is_open = until is None or last is None or until > last - UNSETTLED
    return chosen.basis == "order" and chosen.good == "down" and chosen.key not in SETTLED and is_open


def judged(
    build: Build, key: str, known: Sequence[Target], question: Question = ANYTHING, *, by: Sequence[str] = ()
) -> pd.DataFrame:
    """Answer a metric per group beside the target of its own cell and time, all groups held together (models.marks).

    Gives the groups, then value, low and high (the interval that a comparison rests on), n, target, difference,
    verdict (one of VERDICTS, empty without a target), judged_since (the day the target began, where that is within
    what was asked: the numbers are of the days since), unit, basis, status, reason and caution. A month in which the
    target changes has none.
    """
    names, key = list(ask(key, by=by).by), canonical(key)
    grain = next((name for name in names if time_grain(name)), "")
    ends = [at.date() for at in observed(build).values()]
    last = max(ends, default=None)
    rows = []
    for row in metrics.comparable(build, key, question, by).to_dict("records"):
        cut = {name: row[name] for name in names if name != grain}
        asked = question.under(**{name: [value] for name, value in cut.items()})
        if grain:
            asked = _within(asked, pd.Timestamp(row[grain]).date(), grain)
        on = _day(asked.until) or last
        is_cell = on is not None and not any(pd.isna(value) for value in cut.values())
        held = standing(known, key, cell_of(asked.where, build.scope), on) if on and is_cell else None
        if grain and held is not None and held.since > (_day(asked.since) or held.since):
            held = None  # it took over within the month
        rows.append({name: row[name] for name in names} | _beside(build, key, row, asked, held, last))
    found = pd.DataFrame(rows, columns=None if rows else [*names, *_JUDGED, "is_young"])
    gap, low, high = ((found[name] - found["target"]).to_numpy(float) for name in ("value", "low", "high"))
    beyond = beyond_noise(gap, low, high, question.level)
    good, told = metrics.metric(key).good, []
    for row, is_beyond in zip(found.to_dict("records"), beyond, strict=True):
        is_young = row["is_young"]
        told.append("" if pd.isna(row["target"]) else verdict(row, good, is_beyond=bool(is_beyond), is_young=is_young))
    return found.assign(verdict=told)[[*names, *_JUDGED]]


def _day(given: date | datetime | None) -> date | None:
    return given.date() if isinstance(given, datetime) else given


def _within(asked: Question, first: date, grain: str) -> Question:
    """Narrow a question to a month, or the part of it that is asked for."""
    since, until = _day(asked.since) or first, _day(asked.until) or date.max
    return asked.but(since=max(since, first), until=min(until, grain_end(first, grain)))


def _beside(
    build: Build, key: str, row: Mapping[Any, Any], asked: Question, held: Target | None, last: date | None
) -> dict[str, Any]:
    """Lay out one number beside its target; where that began within, the number of the days since."""
    of, since = row, _day(asked.since)
    began = held.since if held is not None and (since is None or held.since > since) else None
    if began is not None:
        of = metrics.comparable(build, key, asked.but(since=began)).iloc[0].to_dict()
    return {
        **{name: of[name] for name in ("value", "low", "high", "n")},
        "target": held.value if held else np.nan,
        "difference": of["value"] - held.value if held else np.nan,
        "is_young": grows(key, _day(asked.until), last),
        "judged_since": began,
        **{name: of[name] for name in ("unit", "basis", "status", "reason", "caution")},
    }
