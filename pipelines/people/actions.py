"""What followed logged actions: which products an action meant, their weekly counts, and the measurement.

Arithmetic is models.effect. Here: from a build and actions to an `Effect` with its days; actions the catalogue
suggests. Not here: writing actions (state), words for a verdict (pages). The one idea: an action's products are its
scope's style, category, brand, supplier or season; what else its scope says (country, channel, size) narrows the sales
of treated and controls alike.

Products that share a supplier, a brand or a season may move together (`CLUSTERS`): the measurement knows who does.
Weeks run from Monday. The week an action came in is left out unless it came on a Monday; weeks count once half their
returns have come.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sqlalchemy import insert, select, update

from models import effect
from pipelines import analyses, metrics
from pipelines.errors import ActionError
from pipelines.metrics.bind import observed
from pipelines.metrics.finish import pooled
from pipelines.metrics.finish.final import MATURE, has_curves
from pipelines.metrics.finish.shares import summed
from pipelines.metrics.question import ALIASES, ANYTHING, Question, as_instant
from pipelines.settings import Settings
from pipelines.warehouse.build import writing
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.warehouse.state import State, now
from pipelines.warehouse.state_tables import action

CHOOSING = ("style_id", "product_id", "category", "brand", "supplier", "season")
CLUSTERS = ("supplier", "brand", "season")  # what products share that may move their rates together
TOLD_BY_CATALOGUE = ("size_note", "supplier")  # kinds of action that `product_changes` shows
DAY, WEEK = timedelta(days=1), timedelta(days=7)
KEPT_PANELS = 8
TOLD = effect.TOLD
_OF_A_VERDICT = (
    "change",
    "low",
    "high",
    "points",
    "points_low",
    "points_high",
    "p_value",
    "rate",
    "expected_rate",
    "returns_avoided",
)
Where = tuple[tuple[str, tuple[str, ...]], ...]
Key = tuple[str, Where]  # the unit that is treated, and what narrows the sales


@dataclass(frozen=True)
class Measured:
    """One measurement: the actions it pools, their products, the days compared, and the `Effect`.

    `before_from`, `after_from` and `after_until` span all of them; empty where nothing was compared. `effect.reason`
    may also be not_done, not_about_products, delisted or no_curve.
    """

    kind: str
    action_ids: tuple[int, ...]
    products: tuple[str, ...]
    before_from: date | None
    after_from: date | None
    after_until: date | None
    effect: effect.Effect

    def row(self) -> dict[str, Any]:
        """Lay everything in one flat row, for tables and files.

        Where no verdict is given, what would be read as one is missing.
        """
        found = {n: v for n, v in vars(self.effect).items() if n not in ("placebo", "left_out")}
        placebo = self.effect.placebo or effect.Placebo(np.nan, np.nan, np.nan, np.nan, 0)
        if self.effect.verdict not in TOLD:
            found |= dict.fromkeys(_OF_A_VERDICT, np.nan)
            placebo = placebo._replace(as_extreme=np.nan)
        left_out = ", ".join(f"{name}: {count}" for name, count in self.effect.left_out)
        return {
            "kind": self.kind,
            "actions": len(self.action_ids),
            **found,
            **{f"placebo_{k}": v for k, v in placebo._asdict().items()},
            "left_out": left_out,
            "before_from": self.before_from,
            "after_from": self.after_from,
            "after_until": self.after_until,
        }


class _Panel(NamedTuple):
    """Weekly counts of products: a row a product, a column a week from `first`, the last one old enough to count."""

    first: date
    ids: dict[str, int]
    category: "np.ndarray[Any, np.dtype[np.int64]]"
    returned: "np.ndarray[Any, np.dtype[np.float64]]"
    exposure: "np.ndarray[Any, np.dtype[np.float64]]"


@dataclass(frozen=True)
class Action:
    """One logged action.

    `scope` maps dimensions (style_id, category, country, ...) to values; all of them hold together.
    """

    action_id: int
    created_at: datetime
    updated_at: datetime
    kind: str
    scope: Mapping[str, tuple[str, ...]]
    effective_on: date | None = None
    owner: str | None = None
    due_on: date | None = None
    expected_money: float | None = None
    expected_kg_co2e: float | None = None
    status: str = "open"
    note: str | None = None


def measure_action(
    build: Build, action: Action, among: Sequence[Action] = (), question: Question = ANYTHING
) -> Measured:
    """Measure what followed one action.

    `among` are all logged actions: others on the same products end or spoil the comparison.
    """
    return _measured(build, action.kind, [action], among, question)


def measure_kind(build: Build, kind: str, among: Sequence[Action], question: Question = ANYTHING) -> Measured:
    """Measure what followed all actions of one kind together: single products are mostly too small to tell."""
    return _measured(build, kind, [a for a in among if a.kind == kind], among, question)


def _measured(
    build: Build, kind: str, chosen: Sequence[Action], among: Sequence[Action], question: Question
) -> Measured:
    question.takes("What followed an action", "as_of")
    ids = tuple(a.action_id for a in chosen)
    done = [a for a in chosen if a.status == "done" and a.effective_on is not None]
    reason = (
        "not_about_products"
        if kind not in PRODUCT_KINDS
        else (
            "delisted"
            if kind == "delisting"
            else "not_done"
            if not done
            else "no_curve"
            if not has_curves(build)
            else ""
        )
    )
    if reason:
        return Measured(kind, ids, (), None, None, None, effect.Effect("cannot_know", reason))
    panels = {key: _panel(build, key, question) for key in dict.fromkeys(_split(a.scope) for a in done)}
    filled = {key: p for key, p in panels.items() if p is not None}
    if not filled:
        return Measured(kind, ids, (), None, None, None, effect.Effect("cannot_know", "no_sales_before"))
    whole, offset = _stacked(filled)
    treated, touched = _treated(build, whole, offset, filled, done, among)
    if not treated:
        return Measured(kind, ids, (), None, None, None, effect.Effect("cannot_know", "no_sales_before"))
    rows, until, since = (np.array(x, dtype=np.int64) for x in zip(*treated, strict=True))
    together = _clusters(build, filled, offset, len(whole.returned))
    found = effect.measure(whole.returned, whole.exposure, whole.category, rows, until, since, touched, together)
    products = tuple(dict.fromkeys(treated.values()))
    if not found.weeks:
        return Measured(kind, ids, products, None, None, None, found)
    stop = min(int(since.max()) + found.weeks, whole.returned.shape[1])
    start = whole.first + int(until.min() - effect.BEFORE) * WEEK
    return Measured(
        kind, ids, products, start, whole.first + int(since.min()) * WEEK, whole.first + stop * WEEK - DAY, found
    )


def _treated(
    build: Build,
    whole: _Panel,
    offset: Mapping[Key, int],
    panels: Mapping[Key, _Panel],
    done: Sequence[Action],
    among: Sequence[Action],
) -> tuple[dict[tuple[int, int, int], str], Any]:
    """Give (row, week of the action, first whole week after) of each treated product.

    And how many actions began where and when.
    """
    touched = np.zeros(whole.returned.shape, dtype=np.int64)
    treated: dict[tuple[int, int, int], str] = {}
    seen: set[tuple[int, int, str]] = set()
    own = {a.action_id for a in done}
    others = [a for a in among if a.status == "done" and a.kind in PRODUCT_KINDS and a.action_id not in own]
    for a in [*done, *others]:
        if a.effective_on is None:
            continue
        week = max((_monday(a.effective_on) - whole.first) // WEEK, 0)
        for key, panel in panels.items():
            if a.action_id in own and key != _split(a.scope):
                continue
            rows = {offset[key] + panel.ids[p]: p for p in _products(build, a.scope, key[0]) if p in panel.ids}
            if a.action_id in own:
                treated |= {(row, week, week + (a.effective_on.weekday() > 0)): p for row, p in rows.items()}
            fresh = {(row, week, a.kind) for row in rows} - seen
            seen |= fresh
            for row, at, _ in fresh:
                if at < touched.shape[1]:
                    touched[row, at] += 1
    return treated, touched


def _split(scope: Mapping[str, Sequence[str]]) -> Key:
    """Part a scope into the unit that is treated and what narrows the sales of everyone."""
    named = {ALIASES.get(k, k): tuple(v) for k, v in scope.items()}
    return "product_id" if "product_id" in named else "style_id", tuple(
        sorted((k, v) for k, v in named.items() if k not in CHOOSING)
    )


def _products(build: Build, scope: Mapping[str, Sequence[str]], unit: str) -> list[str]:
    """List the products a scope means, as styles or SKUs; all of them when it names none."""
    c = STAR.tables["dim_product"].c
    named = {ALIASES.get(k, k): list(v) for k, v in scope.items()}
    conditions = [c[k].in_(v) for k, v in named.items() if k in CHOOSING]
    found = build.fetch(select(c[unit].label("id")).where(c.is_current, c[unit].is_not(None), *conditions).distinct())
    return sorted(found["id"])


def check_scope(build: Build, kind: str, scope: Mapping[str, Sequence[str]]) -> None:
    """Raise for a scope that sales cannot be cut by or that means no product.

    UnknownDimension for the first, ActionError for the second.
    """
    if kind not in PRODUCT_KINDS:
        return
    unit, where = _split(scope)
    metrics.statistics(build, "product_return_rate", Question(where=dict(where)), by=(unit,))
    if not _products(build, scope, unit):
        told = "; ".join(f"{k} {', '.join(v)}" for k, v in scope.items())
        raise ActionError(
            f"No product is {told}. Ids are written source first, as `backhaul metric sold_units --by style_id` shows"
            " them."
        )


def suggested_actions(build: Build, among: Sequence[Action] = ()) -> pd.DataFrame:
    """List what the catalogue says was done and nobody logged.

    Columns: style_id, kind, effective_on (first whole day), before, after, products. A size note or supplier that
    changed is taken as logged when an action of its kind means the style within two weeks of it.
    """
    columns = ["style_id", "kind", "effective_on", "before", "after", "products"]
    found = analyses.product_changes(build)
    found = found[found["what"].isin(TOLD_BY_CATALOGUE) & found["after"].notna()]
    if not len(found):
        return pd.DataFrame(columns=columns)
    found = found.assign(kind=found["what"], effective_on=pd.to_datetime(found["changed_at"]).dt.ceil("D").dt.date)
    logged = {
        (style, a.kind, a.effective_on)
        for a in among
        if a.effective_on and a.kind in TOLD_BY_CATALOGUE
        for style in _products(build, a.scope, "style_id")
    }
    is_logged = [
        any(s == style and k == kind and abs(day - on) <= 2 * WEEK for s, k, day in logged)
        for style, kind, on in zip(found["style_id"], found["kind"], found["effective_on"], strict=True)
    ]
    return found.loc[~np.array(is_logged, dtype=bool), columns].reset_index(drop=True)


def _clusters(
    build: Build, panels: Mapping[Key, _Panel], offset: Mapping[Key, int], products: int
) -> dict[str, "np.ndarray[Any, np.dtype[np.int64]]"]:
    """Give the supplier, brand and season of each row as whole numbers; -1 where the catalogue names no single one."""
    known = pooled.attributes(build)
    named = {name: np.full(products, None, dtype=object) for name in CLUSTERS}
    for key, panel in panels.items():
        rows = offset[key] + np.array(list(panel.ids.values()), dtype=np.int64)
        by_unit = known.groupby(key[0])
        for name in CLUSTERS:
            only = by_unit[name].first().where(by_unit[name].nunique().eq(1))
            named[name][rows] = only.reindex(list(panel.ids)).to_numpy(object)
    return {name: pd.factorize(values, sort=False)[0].astype(np.int64) for name, values in named.items()}


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _panel(build: Build, key: Key, question: Question) -> _Panel | None:
    """Sum a build's sales and returns by product and week, as the product return rate declares them.

    None without sales.
    """
    kept: dict[Any, _Panel | None] = build.cache.setdefault("panels", {})
    name = (key, repr(question))
    if name not in kept:
        if len(kept) >= KEPT_PANELS:
            kept.clear()
        kept[name] = _summed_panel(build, key[0], question.under(**dict(key[1])))
    return kept[name]


def _summed_panel(build: Build, unit: str, question: Question) -> _Panel | None:
    bound = metrics.statistics(build, "product_return_rate", question, by=(unit, "week"))
    rows = build.fetch(bound)
    rows = rows[rows[unit].notna() & rows["week"].notna()]
    rows = rows.assign(exposure=rows["sold"].fillna(0) * rows["share"].fillna(1), family=rows["family"].fillna(""))
    if not len(rows):
        return None
    keys, sums = summed(rows, (unit, "week"), ["sold", "returned", "exposure"])
    weeks = pd.to_datetime(keys["week"])
    ends = min(t for t in (max(observed(build).values()), as_instant(question.as_of)) if t is not None)
    by_week = sums.groupby(weeks)[["sold", "exposure"]].sum()
    is_old = by_week["exposure"] >= MATURE * by_week["sold"]
    is_whole = by_week.index <= pd.Timestamp(ends) - WEEK
    old = by_week.index[is_old & is_whole & (by_week["sold"] > 0)]
    if not len(old):
        return None
    first, last = weeks.min().date(), old.max().date()
    family = rows.groupby([unit, "family"])["sold"].sum().reset_index().sort_values("sold", kind="stable")
    family = family.drop_duplicates(unit, keep="last").sort_values(unit)
    ids = {str(p): row for row, p in enumerate(family[unit])}
    width = (last - first) // WEEK + 1
    at = ((weeks - pd.Timestamp(first)) // WEEK).to_numpy(int)
    inside = at < width
    cell = (keys[unit].map(ids).to_numpy(int) * width + at)[inside]

    def laid(column: str) -> Any:
        return np.bincount(cell, sums[column].to_numpy(float)[inside], len(ids) * width).reshape(len(ids), width)

    category = pd.factorize(family["family"], sort=True)[0].astype(np.int64)
    return _Panel(first, ids, category, laid("returned"), laid("exposure"))


def _stacked(panels: Mapping[Key, _Panel]) -> tuple[_Panel, dict[Key, int]]:
    """Lay panels under each other on the same weeks, their categories kept apart: (panel, first row of each)."""
    first = min(p.first for p in panels.values())
    width = min((p.first - first) // WEEK + p.returned.shape[1] for p in panels.values())
    offset: dict[Key, int] = {}
    parts: list[tuple[Any, ...]] = []
    rows = families = 0
    for key, p in panels.items():
        early = ((p.first - first) // WEEK, 0)
        parts.append(
            (p.category + families, *(np.pad(x, ((0, 0), early))[:, :width] for x in (p.returned, p.exposure)))
        )
        offset[key] = rows
        rows, families = rows + len(p.ids), families + int(p.category.max()) + 1
    category, returned, exposure = (np.concatenate(x) for x in zip(*parts, strict=True))
    return _Panel(first, {}, category, returned, exposure), offset


PRODUCT_KINDS = ("size_note", "photo", "description", "supplier", "policy", "delisting")
OPERATION_KINDS = ("claim", "extra_shift", "carrier_call", "refund_now", "supplier_credit")
ACTION_KINDS = PRODUCT_KINDS + OPERATION_KINDS
ACTION_STATUSES = ("open", "done", "withdrawn")
_OWN = {"action_id", "created_at", "updated_at"}  # given here, by nobody else


def log_action(settings: Settings, kind: str, scope: Mapping[str, Sequence[str]], **values: Any) -> Action:
    """Log an action: `values` are the other fields of `Action`. Done when it has a day it took effect on, else open.

    Gives the equal one where it is logged already and was not withdrawn.
    Raises ActionError for a kind, status or field that does not exist, and for an action on products that names none.
    Whether the products exist is for `check_scope` to say.
    """
    at = now()
    status = "done" if values.get("effective_on") else "open"
    given = _checked({"status": status, **values, "kind": kind, "scope": scope})
    row = {f.name: None for f in fields(Action) if f.name not in _OWN} | given
    equal = select(action.c.action_id).where(*(action.c[name].is_not_distinct_from(row[name]) for name in row))
    state = State(settings.warehouse)
    try:
        with writing(settings.warehouse, settings.short_wait_s), state.transaction() as connection:
            number = connection.execute(equal.where(action.c.status != "withdrawn")).scalars().first()
            if number is None:
                new = insert(action).values(**row, created_at=at, updated_at=at).returning(action.c.action_id)
                number = connection.execute(new).scalar_one()
    finally:
        state.close()
    return find_action(settings, int(number))


def update_action(settings: Settings, action_id: int, **values: Any) -> Action:
    """Change fields of an action; a status of withdrawn takes it out of lists and measurements, and keeps it.

    Raises ActionError when there is no such action or field.
    """
    known = find_action(settings, action_id)
    kept = {f.name: getattr(known, f.name) for f in fields(Action) if f.name not in _OWN}
    merged = _checked({**kept, **values})
    state = State(settings.warehouse)
    try:
        with writing(settings.warehouse, settings.short_wait_s), state.transaction() as connection:
            changed = update(action).where(action.c.action_id == action_id).values(**merged, updated_at=now())
            connection.execute(changed)
    finally:
        state.close()
    return find_action(settings, action_id)


def withdraw_action(settings: Settings, action_id: int) -> Action:
    """Take an action back: it stays on record and is neither listed nor measured."""
    return update_action(settings, action_id, status="withdrawn")


def actions(settings: Settings, *, kind: str | None = None, with_withdrawn: bool = False) -> list[Action]:
    """List actions, newest first; none where there is no warehouse yet."""
    if not (settings.warehouse / "state.sqlite").exists():
        return []
    state = State(settings.warehouse)
    try:
        statement = select(action).order_by(action.c.action_id.desc())
        if kind is not None:
            statement = statement.where(action.c.kind == kind)
        if not with_withdrawn:
            statement = statement.where(action.c.status != "withdrawn")
        rows = state.rows(statement)
    finally:
        state.close()
    return [Action(**{**row, "scope": {k: tuple(v) for k, v in json.loads(row["scope"]).items()}}) for row in rows]


def find_action(settings: Settings, action_id: int) -> Action:
    """Give one action, withdrawn or not. Raises ActionError when there is none of that number."""
    for found in actions(settings, with_withdrawn=True):
        if found.action_id == action_id:
            return found
    raise ActionError(f"There is no action {action_id}. `backhaul action list` shows them.")


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the columns of an action, or raise ActionError."""
    unknown = sorted((set(values) - {f.name for f in fields(Action)}) | (set(values) & _OWN))
    if unknown:
        raise ActionError(f"An action has no {', '.join(unknown)} to give.")
    kind, status = values["kind"], values["status"]
    if kind not in ACTION_KINDS:
        raise ActionError(f"{kind!r} is no kind of action; one of {', '.join(ACTION_KINDS)}.")
    if status not in ACTION_STATUSES:
        raise ActionError(f"{status!r} is no status of an action; one of {', '.join(ACTION_STATUSES)}.")
    scope = {
        str(k): [str(v) for v in ([given] if isinstance(given, str) else given)] for k, given in values["scope"].items()
    }
    if kind in PRODUCT_KINDS and not any(scope.values()):
        raise ActionError(f"A {kind.replace('_', ' ')} is done to something: say to what, for example style_id.")
    if status == "done" and not values.get("effective_on"):
        raise ActionError("An action that is done has a day it took effect on: give effective_on.")
    return {**values, "scope": json.dumps({k: v for k, v in scope.items() if v}, sort_keys=True)}
