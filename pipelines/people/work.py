"""What people do with the rows of work lists: state, owner, due date, note; and what the data settled meanwhile.

The rows are analyses of a build (`pipelines.analyses`), what people did with them is written into the state: a change a
row, the last one counts (decision 57). Here: which lists there are, what a row of one is of, both laid beside each
other, and the changes. Not here: how a list is shown.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import func, insert, select

from pipelines import analyses
from pipelines.errors import UnknownDimension, WorkError
from pipelines.metrics.question import ANYTHING, Question
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import writing
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.warehouse.state_tables import work_item
from pipelines.why import why

STATES = ("open", "started", "held", "done")
"""What a person can say of a row."""
TODO = ("open", "started", "still_open")
"""States of rows that somebody has to work on; `still_open` is done by hand, and open in the data days later."""
ALL_STATES = (*STATES, "still_open", "settled")
"""What a row may be shown as; `settled` is closed by the data itself."""
FIELDS = ("state", "owner", "due_on", "note", "action_id")
COLUMNS = ("state", "owner", "due_on", "note", "action_id", "changed_at", "changed_by", "change_id")
LONGEST = {"owner": 100, "note": 1000}
LOOKS_BACK = timedelta(days=30)
"""Of the data: work that began earlier is not counted beside what the data settled since."""
_BAR = "|"

Rows = Callable[[Build, Settings, Question], pd.DataFrame]


@dataclass(frozen=True)
class WorkList:
    """One list that somebody works off.

    `key` are the columns that say what a row is of, `metric` whose filters it takes (none: it takes no filter), `kinds`
    the actions first offered for a row, `on` the dimension an action's scope names. Done rows that the data holds for
    open return after `days` days of the data. `known` is the table and column that hold every row there ever was;
    `sums` says that a row sums what several readers see a part of: its work belongs to one scope. `past` lists what was
    open as of an earlier time.
    """

    name: str
    key: tuple[str, ...]
    rows: Rows
    metric: str = ""
    kinds: tuple[str, ...] = ()
    on: str = ""
    days: int = 3
    known: tuple[str, str] | None = None
    sums: bool = False
    past: Rows | None = None


EVERY_ROW = 1_000_000
_OF_RETURN = {"key": ("return_id",), "on": "return_id", "known": ("fact_return_line", "return_id")}


def _due(build: Build, _: Settings, question: Question) -> pd.DataFrame:
    return analyses.refunds_due(build, question, limit=EVERY_ROW)


def _at_risk(build: Build, _: Settings, question: Question) -> pd.DataFrame:
    return analyses.worklist_at_risk(build, question, limit=EVERY_ROW)


def _open_then(build: Build, _: Settings, question: Question) -> pd.DataFrame:
    return analyses.open_returns(build, question)


def _claims(build: Build, _: Settings, question: Question) -> pd.DataFrame:
    return to_claim(analyses.claims(build, question))


def _products(build: Build, _: Settings, question: Question) -> pd.DataFrame:
    return to_look_at(analyses.product_ranking(build, question, limit=None))


def _goods(build: Build, _: Settings, question: Question) -> pd.DataFrame:
    return to_decide(analyses.goods_waiting(build, question))


def _quarantine(build: Build, settings: Settings, _: Question) -> pd.DataFrame:
    found = state.quarantine_by_rule(settings)
    return found.iloc[:0] if build.scope else found


def to_look_at(ranking: pd.DataFrame) -> pd.DataFrame:
    """Mark the products to look at, `is_listed`: flagged, or of enough units and above their category's rate."""
    above = ~ranking["is_small"].astype(bool) & (ranking["low"] > ranking["category_rate"])
    return ranking.assign(is_listed=ranking["is_flagged"].astype(bool) | above)


def to_claim(claims: pd.DataFrame) -> pd.DataFrame:
    """Mark the claims that can be filed or wait for the carrier's answer: the column `is_listed`."""
    return claims.assign(is_listed=claims["status"].isin(["eligible", "filed"]))


def to_decide(waiting: pd.DataFrame) -> pd.DataFrame:
    """Mark the goods that wait at a site of ours, `is_listed`; what is still under way is not ours to decide."""
    return waiting.assign(is_listed=waiting["place_id"].notna() & waiting["place_id"].ne(""))


LISTS = {
    one.name: one
    for one in (
        WorkList(
            "refunds-due",
            rows=_due,
            metric="refunds_due_soon",
            kinds=("refund_now", "extra_shift", "carrier_call"),
            past=_due,
            **_OF_RETURN,  # type: ignore[arg-type]
        ),
        WorkList(
            "at-risk",
            rows=_at_risk,
            metric="breach_risk",
            kinds=("carrier_call", "extra_shift", "refund_now"),
            past=_open_then,
            **_OF_RETURN,  # type: ignore[arg-type]
        ),
        WorkList(
            "claims",
            ("parcel_id",),
            _claims,
            "claims_open_amount",
            ("claim", "carrier_call"),
            "parcel_id",
            14,
            ("fact_return_line", "parcel_id"),
        ),
        WorkList(
            "products",
            ("style_id",),
            _products,
            "product_return_rate",
            ("size_note", "photo", "description", "supplier", "policy", "delisting"),
            "style_id",
            28,
            ("dim_product", "style_id"),
            sums=True,
        ),
        WorkList(
            "goods",
            ("place_id", "waiting"),
            _goods,
            "units_waiting",
            ("extra_shift", "carrier_call"),
            "place_id",
            known=("dim_place", "place_id"),
            sums=True,
        ),
        WorkList("quarantine", ("source", "thing", "rules"), _quarantine, days=7, sums=True),
    )
}
"""The work lists by name."""


@dataclass(frozen=True)
class Tally:
    """How much of a list is to do, was done by hand and was settled by the data, since a time of the data."""

    todo: int
    done: int
    settled: int
    still_open: int
    since: datetime | None = None


@dataclass(frozen=True)
class Overtaken:
    """A row that somebody else changed after it was read: who, and when (UTC)."""

    item: str
    by: str
    at: datetime


@dataclass(frozen=True)
class Changed:
    """What a change did: how many rows it changed, and which of them somebody else had changed meanwhile."""

    rows: int
    overtaken: tuple[Overtaken, ...] = ()


def work_list(name: str) -> WorkList:
    """Give a list. Raises WorkError for a name there is not."""
    if name not in LISTS:
        raise WorkError(f"There is no work list {name[:60]!r}; one of {', '.join(LISTS)}.")
    return LISTS[name]


def rows(settings: Settings, build: Build, name: str, question: Question = ANYTHING) -> pd.DataFrame:
    """List the rows of a list as the build has them, without what people did.

    Raises UnknownDimension where a list that takes no filter is given one.
    """
    one = work_list(name)
    if question.where and not one.metric:
        raise UnknownDimension(f"The list {name} cannot be filtered.")
    return one.rows(build, settings, question)


def items(name: str, found: pd.DataFrame) -> "pd.Series[str]":
    """Give what each row is of, as one text: its key's values, parts by a bar."""
    joined = found[LISTS[name].key[0]].fillna("").astype(str)
    for column in LISTS[name].key[1:]:
        joined = joined + _BAR + found[column].fillna("").astype(str)
    return joined.astype(object)


def changes(settings: Settings, build: Build, name: str) -> pd.DataFrame:
    """Give the last change of each row of a list that a reader of this build may know of.

    Columns: item, those of COLUMNS, seen_at, is_listed. Read anew each time.
    """
    names = ["item", *COLUMNS, "seen_at", "is_listed"]
    if not (settings.warehouse / "state.sqlite").exists():
        return pd.DataFrame(columns=names)
    one = work_list(name)
    found = state.read(settings, _last(one, build))[names]
    if one.known is None:
        return found.iloc[:0] if build.scope else found
    return found[found["item"].isin(_known(settings, build, name, list(found["item"])))].reset_index(drop=True)


def _scope(one: WorkList, build: Build) -> str:
    return build.scope.told if one.sums and build.scope else ""


def _last(one: WorkList, build: Build) -> Any:
    """Select the last change of each row of a list."""
    c = work_item.c
    mine = (c.list == one.name) & (c.scope == _scope(one, build))
    newest = select(func.max(c.change_id)).where(mine).group_by(c.item)
    return select(work_item).where(c.change_id.in_(newest)).order_by(c.change_id)


def _known(settings: Settings, build: Build, name: str, wanted: Sequence[str]) -> set[str]:
    """Give those of some rows that the build knows of: within a scope, no others are shown or changed."""
    one = LISTS[name]
    if not wanted:
        return set()
    if one.known is None:
        return {*items(name, one.rows(build, settings, ANYTHING)), *changes(settings, build, name)["item"]}
    table, column = one.known
    held = STAR.tables[table].c[column]
    ids = {item: item.split(_BAR)[0] for item in wanted}
    found = build.fetch(select(held.label("id")).where(held.in_(sorted(set(ids.values())))).distinct())
    there = set(found["id"])
    return {item for item, first in ids.items() if first in there or not first}


def observed_at(build: Build) -> datetime | None:
    """Give the observation time of a build: the clock of what the data settles."""
    text = build.info.get("observed_until")
    return datetime.fromisoformat(text) if text else None


def laid(build: Build, name: str, found: pd.DataFrame, changed: pd.DataFrame) -> pd.DataFrame:
    """Lay what people did beside the rows of a list: item and the columns of COLUMNS.

    A row nobody touched is open; missing where the data does not hold it for open. A row done by hand that the data
    holds for open some days later is still_open; one that the data closed is settled.
    """
    one, now = LISTS[name], observed_at(build)
    listed = found["is_listed"].astype(bool) if "is_listed" in found else pd.Series(True, index=found.index)
    mine = found.assign(item=items(name, found))
    last = changed.set_index("item")
    for column in (*COLUMNS, "seen_at", "is_listed"):
        mine[_called(column)] = mine["item"].map(last[column]) if len(last) else None
    given, was_listed = mine["work_state"], mine.pop("work_is_listed").eq(1)
    seen = pd.to_datetime(mine.pop("work_seen_at"), errors="coerce")
    is_old = seen + timedelta(days=one.days) <= pd.Timestamp(now) if now else pd.Series(False, index=mine.index)
    shown = given.where(given.notna(), pd.Series("open", index=mine.index).where(listed, None))
    shown = shown.mask(given.eq("done") & listed & is_old, "still_open")
    mine["work_state"] = shown.mask(given.notna() & ~given.eq("done") & ~listed & was_listed, "settled")
    return mine.assign(is_listed=listed)


def _called(column: str) -> str:
    return f"work_{column}"


def begun(build: Build, changed: pd.DataFrame) -> datetime | None:
    """Give the time of the data at which the work of the last 30 days of data began; none without any."""
    recent = _recent(build, changed)
    return pd.to_datetime(recent["seen_at"]).min().to_pydatetime() if len(recent) else None


def _recent(build: Build, changed: pd.DataFrame) -> pd.DataFrame:
    now = observed_at(build)
    if now is None or changed.empty:
        return changed.iloc[:0]
    return changed[pd.to_datetime(changed["seen_at"], errors="coerce") >= pd.Timestamp(now) - LOOKS_BACK]


def open_then(
    settings: Settings, build: Build, name: str, question: Question, since: datetime | None
) -> frozenset[str]:
    """Give the rows that stood on a list at an earlier time; none of a list that cannot be asked as of a time."""
    one, now = LISTS[name], observed_at(build)
    if one.past is None or since is None or now is None or since >= now:
        return frozenset()
    return frozenset(items(name, one.past(build, settings, question.but(as_of=since))))


def tally(
    build: Build, laid_rows: pd.DataFrame, changed: pd.DataFrame, of_then: Collection[str], *, is_filtered: bool
) -> Tally:
    """Count a list: to do, done by hand, and settled by the data since the work of the last 30 days of data began.

    What the data settled is counted among the rows that somebody had worked on, and among all that stood on the list
    then (`of_then`); under filters, of rows that are gone, only the latter are known to fit.
    """
    counts = laid_rows["work_state"].value_counts()
    open_now = set(laid_rows.loc[laid_rows["is_listed"], "item"])
    recent = _recent(build, changed)
    by_hand = set(recent.loc[recent["state"] == "done", "item"])
    touched = set(recent.loc[recent["is_listed"].eq(1), "item"])
    if is_filtered:
        fits = {*of_then, *laid_rows["item"]}
        touched, by_hand = touched & fits, by_hand & fits
    still = set(laid_rows.loc[laid_rows["work_state"] == "still_open", "item"])
    settled = (set(of_then) | touched) - open_now - by_hand
    todo = sum(int(counts.get(shown, 0)) for shown in TODO)
    return Tally(todo, len(by_hand - still), len(settled), len(still), begun(build, changed))


def change(
    settings: Settings,
    build: Build,
    name: str,
    chosen: Sequence[str],
    by: str,
    *,
    seen: Mapping[str, int] | None = None,
    listed: Collection[str] | None = None,
    **values: Any,
) -> Changed:
    """Change rows of a list: `values` are those of FIELDS that change; a text that is empty is taken away.

    `seen` holds the number of the last change of each row as it was read (0: none); of rows that somebody changed
    since, the last one counts and `Changed` says who it was. `listed` are the rows that the data holds for open (all,
    where it is not said). The same values again change nothing. Raises WorkError, which names the field.
    """
    one = work_list(name)
    given = _checked(values)
    wanted = list(dict.fromkeys(chosen))
    unknown = [item for item in wanted if item not in _known(settings, build, name, wanted)]
    if unknown:
        raise WorkError(why("work_unknown", name=name, item=unknown[0][:60]))
    state_file = state.State(settings.warehouse)
    try:
        with writing(settings.warehouse, settings.short_wait_s), state_file.transaction() as connection:
            rows_ = connection.execute(_last(one, build)).mappings()
            last = {row["item"]: dict(row) for row in rows_ if row["item"] in set(wanted)}
            fresh = [_row(one, build, item, last.get(item), given, by) for item in wanted]
            fresh = [
                row | {"is_listed": int(listed is None or row["item"] in listed)}
                for row in fresh
                if row["item"] not in last or any(row[f] != last[row["item"]][f] for f in FIELDS)
            ]
            if fresh:
                connection.execute(insert(work_item), fresh)
    finally:
        state_file.close()
    overtaken = tuple(
        Overtaken(row["item"], last[row["item"]]["changed_by"], last[row["item"]]["changed_at"])
        for row in fresh
        if seen is not None and row["item"] in last and last[row["item"]]["change_id"] != seen.get(row["item"], 0)
    )
    return Changed(len(fresh), overtaken)


def _row(
    one: WorkList, build: Build, item: str, last: dict[str, Any] | None, given: dict[str, Any], by: str
) -> dict[str, Any]:
    """Give the next change of a row: what is given, and the rest as it was."""
    before = {name: last[name] if last else None for name in FIELDS}
    return {
        "list": one.name,
        "item": item,
        "scope": _scope(one, build),
        **before,
        "state": (last or {}).get("state") or "open",
        **given,
        "changed_at": state.now(),
        "changed_by": by[: LONGEST["owner"]],
        "seen_at": observed_at(build),
    }


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the columns that change, or raise WorkError, which names the field."""
    if unknown := sorted(set(values) - set(FIELDS)):
        raise WorkError(f"A row has no {', '.join(unknown)} to give.", unknown[0])
    if not values:
        raise WorkError(why("work_nothing"))
    found = dict(values)
    if "state" in found and found["state"] not in STATES:
        raise WorkError(why("work_state", state=str(found["state"])[:60], states=", ".join(STATES)), "state")
    check_texts(found)
    found |= {name: (found[name] or "").strip() or None for name in LONGEST if name in found}
    if isinstance(found.get("due_on"), datetime) or not isinstance(found.get("due_on"), date | None):
        raise WorkError("A due date is a day.", "due_on")
    return found


def check_texts(values: Mapping[str, Any]) -> None:
    """Raise WorkError for an owner or a note that is too long or holds signs that cannot be seen."""
    for name, most in LONGEST.items():
        text = (values.get(name) or "").strip()
        if len(text) > most or not text.isprintable():
            raise WorkError(why(f"work_long_{name}", n=most), name)


def history(settings: Settings, build: Build, name: str, item: str) -> pd.DataFrame:
    """List every change of one row, newest first: the columns of COLUMNS but the number of the change."""
    one, c = work_list(name), work_item.c
    if item not in _known(settings, build, name, [item]):
        raise WorkError(why("work_unknown", name=name, item=item[:60]))
    mine = select(*(c[n] for n in COLUMNS if n != "change_id")).where(
        c.list == name, c.item == item, c.scope == _scope(one, build)
    )
    return state.read(settings, mine.order_by(c.change_id.desc()))
