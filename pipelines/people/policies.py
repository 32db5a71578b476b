"""Return policies as people write them: read, checked, compared, published as new versions.

A policy version is a document: whom it is for, the window, fee, methods, what starts the refund, and its promises. It
is written as YAML (one document a version) or as the canonical CSV (one row a promise). Publishing is a load of those
rows, so that a version has its raw file, its log and its build like everything else. The past is never rewritten: a
version begins after the last order it would apply to and after the version before it, because an order keeps the policy
of its own time.
"""

import csv
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import and_, func, insert, select, update

from pipelines.errors import PolicyError
from pipelines.load import Report, load
from pipelines.people.policy_text import (
    METHODS,
    RESPONSIBLE,
    SCOPE,
    SKIPPED,
    Policy,
    Promise,
    acknowledged_since,
    law,
    rows,
)
from pipelines.settings import Settings
from pipelines.warehouse import star, vocabulary
from pipelines.warehouse.build import writing
from pipelines.warehouse.engine import Build, looked_up
from pipelines.warehouse.state import State, now
from pipelines.warehouse.state import read as read_of_state
from pipelines.warehouse.state_tables import policy_draft
from pipelines.written import is_country


@dataclass(frozen=True)
class Problem:
    """What is wrong with a policy: where, and what to write instead. An error stops publishing, a warning does not."""

    where: str
    sentence: str
    is_error: bool = True


t = star.STAR.tables


def versions(build: Build) -> pd.DataFrame:
    """List published versions, newest first.

    Columns: policy_id, valid_from and valid_to (days of the shop), scope, window, fee, methods, trigger, promises in
    words; orders and returns under it.
    """
    policy, promise = t["dim_policy"], t["dim_policy_promise"]
    found = build.fetch(select(policy))
    told = build.fetch(select(promise)).sort_values(["policy_key", "promise_id"])
    said = [
        Promise(*r).words()
        for r in told[["promise_id", "from_stage", "to_stage", "duration", "duration_unit", "responsible"]].itertuples(
            index=False
        )
    ]
    texts = (
        told.assign(said=told["promise_id"] + ": " + pd.Series(said, index=told.index, dtype=str))
        .groupby("policy_key")["said"]
        .agg("; ".join)
    )
    for name, table, counted in (
        ("order_lines", "fact_order_line", "order_line_key"),
        ("returns", "fact_return_line", "return_key"),
    ):
        c = t[table].c
        number = build.fetch(select(c.policy_key, func.count(c[counted].distinct()).label("n")).group_by(c.policy_key))
        found[name] = looked_up(found["policy_key"], number.set_index("policy_key")["n"]).fillna(0).astype(int)
    found["promises"] = looked_up(found["policy_key"], texts).fillna("")
    zones = looked_up(found["market"], _zones(build)).fillna("UTC")
    for name in ("valid_from", "valid_to"):
        found[name] = [
            None if pd.isna(v) else _local(pd.Timestamp(v), z) for v, z in zip(found[name], zones, strict=True)
        ]
    return found.sort_values(["valid_from", "policy_id"], ascending=[False, True], ignore_index=True)


def _zones(build: Build) -> dict[str, str]:
    shops = build.fetch(select(t["dim_shop"].c.market, t["dim_shop"].c.time_zone)).dropna().sort_values("time_zone")
    return dict(zip(shops["market"], shops["time_zone"], strict=True))


def _local(at: pd.Timestamp, zone: str) -> date:
    return at.tz_localize("UTC").tz_convert(zone).date()


def _full_id(build: Build, policy_id: str) -> str:
    """Give the id with its source in front: as given, or the only one that ends so."""
    known = sorted(build.fetch(select(t["dim_policy"].c.policy_id).distinct())["policy_id"])
    near = [k for k in known if policy_id in (k, k.split(":", 1)[1])]
    if len(near) != 1:
        hint = f"There are: {', '.join(known)}." if known else "None is published yet."
        raise PolicyError(f"There is no policy {policy_id!r}. {hint}")
    return str(near[0])


def published(build: Build, policy_id: str, on: date | None = None) -> Policy:
    """Give the version of a policy in force on a day, the latest by default. Raises PolicyError when there is none."""
    full = _full_id(build, policy_id)
    found = versions(build)
    mine = found[found["policy_id"] == full]
    if on is not None:
        mine = mine[[v <= on for v in mine["valid_from"]]]
    if mine.empty:
        raise PolicyError(f"The policy {policy_id} begins after {on}. `backhaul policy list` shows its versions.")
    row = mine.iloc[0]
    told = build.fetch(
        select(t["dim_policy_promise"]).where(t["dim_policy_promise"].c.policy_key == int(row["policy_key"]))
    )
    columns = ["promise_id", "from_stage", "to_stage", "duration", "duration_unit", "responsible"]
    made = tuple(Promise(*r) for r in told.sort_values("promise_id")[columns].itertuples(index=False))
    given = {n: None if pd.isna(row[n]) else row[n] for n in (*SCOPE, "exception", "currency", "refund_trigger")}
    return Policy(
        full.split(":", 1)[1],
        row["valid_from"],
        int(row["window_days"]),
        **given,
        methods=tuple(() if pd.isna(row["methods"]) else str(row["methods"]).split()),
        promises=made,
        window_until=None if pd.isna(row["window_until"]) else pd.Timestamp(row["window_until"]).date(),
        fee_amount=None if pd.isna(row["fee_amount"]) else float(row["fee_amount"]),
    )


def compare(a: Policy, b: Policy) -> list[tuple[str, str, str]]:
    """List what differs between two versions.

    Columns: field (a promise by its name), what the first says, what the second says.
    """

    def said(policy: Policy) -> dict[str, str]:
        plain = {f.name: getattr(policy, f.name) for f in fields(Policy) if f.name not in ("promises", "methods")}
        found = {k: "" if v is None else str(v) for k, v in plain.items()} | {
            "methods": " ".join(sorted(policy.methods))
        }
        return found | {f"promise {p.promise_id}": f"{p.words()}, by the {p.responsible}" for p in policy.promises}

    one, other = said(a), said(b)
    names = dict.fromkeys([*one, *other])
    return [(n, one.get(n, ""), other.get(n, "")) for n in names if one.get(n, "") != other.get(n, "")]


def problems(policy: Policy) -> list[Problem]:
    """List what is wrong with a policy by itself."""
    found = [Problem(where, sentence) for where, sentence in _wrong_values(policy)]
    seen: set[str] = set()
    for p in policy.promises:
        where = f"promise {p.promise_id}"
        if p.promise_id in seen:
            found.append(Problem(where, "stands twice; give each promise a name of its own."))
        seen.add(p.promise_id)
        stages = [s for s in (p.from_stage, p.to_stage) if s not in vocabulary.STAGES]
        found += [Problem(where, f"{s!r} is no stage. Stages: {', '.join(vocabulary.STAGES)}.") for s in stages]
        if not stages and vocabulary.STAGES.index(p.from_stage) >= vocabulary.STAGES.index(p.to_stage):
            found.append(Problem(where, f"goes from {p.from_stage} to {p.to_stage}, which comes first. Swap them."))
        if p.duration_unit not in vocabulary.DURATION_UNITS:
            found.append(
                Problem(where, f"{p.duration_unit!r} is no unit. Units: {', '.join(vocabulary.DURATION_UNITS)}.")
            )
        if not p.duration >= 0:
            found.append(Problem(where, f"within {p.duration:g} is no time; write 0 or more."))
        if p.responsible not in RESPONSIBLE:
            found.append(Problem(where, f"{p.responsible!r} keeps no promise; one of {', '.join(RESPONSIBLE)}."))
        if policy.methods and all({p.from_stage, p.to_stage} & set(SKIPPED.get(m, ())) for m in policy.methods):
            found.append(
                Problem(
                    where,
                    f"no method offered ({', '.join(policy.methods)}) ever reaches {p.from_stage} and {p.to_stage}.",
                )
            )
    return found + _against_law(policy)


def _wrong_values(policy: Policy) -> list[tuple[str, str]]:
    found = []
    if policy.window_days < 0:
        found.append(("window_days", f"is {policy.window_days}; write days from delivery, 0 or more."))
    if policy.window_until is not None and policy.window_until < policy.valid_from:
        found.append(("window_until", f"{policy.window_until} is before the version begins on {policy.valid_from}."))
    if policy.market is not None and not is_country(policy.market):
        found.append(("market", f"{policy.market!r} is no country code; write two capitals such as FR."))
    found += [
        ("methods", f"{m!r} is no method. Methods: {', '.join(METHODS)}.") for m in policy.methods if m not in METHODS
    ]
    if policy.refund_trigger is not None and policy.refund_trigger not in vocabulary.REFUND_TRIGGERS:
        found.append(
            (
                "refund_trigger",
                f"{policy.refund_trigger!r} starts no refund; one of {', '.join(vocabulary.REFUND_TRIGGERS)}.",
            )
        )
    if policy.exception is not None and policy.exception not in vocabulary.EXCEPTIONS:
        found.append(("exception", f"{policy.exception!r} is no exception; one of {', '.join(vocabulary.EXCEPTIONS)}."))
    if policy.fee_amount is not None and policy.fee_amount < 0:
        found.append(("fee_amount", f"is {policy.fee_amount:g}; a fee is 0 or more."))
    if policy.fee_amount and not policy.currency:
        found.append(("currency", "is missing; a fee has one."))
    if not policy.promises:
        found.append(("promises", "is empty; a version makes at least one promise, or nothing can be kept."))
    return found


def _against_law(policy: Policy) -> list[Problem]:
    refund, withdraw = law()
    if policy.channel == "store" or (policy.market is not None and policy.market not in refund):
        return []
    days = min(refund.values()) if policy.market is None else refund[policy.market]
    found = []
    if policy.window_days < withdraw and policy.exception is None:
        found.append(
            Problem(
                "window_days",
                f"{policy.window_days} days are fewer than the {withdraw:g} that Directive 2011/83/EU Art. 9 gives;"
                f" write {withdraw:g} or more, or name the exception.",
            )
        )
    answers = any((p.from_stage, p.to_stage) == ("declared", "acknowledged") for p in policy.promises)
    if policy.valid_from >= acknowledged_since() and not answers:
        found.append(
            Problem(
                "promises",
                f"holds none from declared to acknowledged: from {acknowledged_since()} Directive 2011/83/EU Art. 11a"
                " wants a withdrawal by the online function acknowledged without undue delay; say within how long.",
                is_error=False,
            )
        )
    for p in policy.promises:
        in_days = p.duration * {
            "clock_hours": 1 / 24,
            "calendar_days": 1,
            "business_days": 7 / 5,
            "carrier_days": 7 / 6,
        }.get(p.duration_unit, 1)
        if p.to_stage == "refunded" and in_days > days:
            found.append(
                Problem(
                    f"promise {p.promise_id}",
                    f"{p.words()} undercuts the law: Directive 2011/83/EU Art. 13 wants the refund within {days:g} days"
                    " of the notice, or of the goods' dispatch if later.",
                )
            )
        elif p.to_stage == "refunded" and p.from_stage != "requested" and in_days > days / 2:
            found.append(
                Problem(
                    f"promise {p.promise_id}",
                    f"a parcel on its way for a week leaves less than {p.duration:g}"
                    f" {p.duration_unit.replace('_', ' ')} until the legal date; the legal promise is watched"
                    " beside it.",
                    is_error=False,
                )
            )
    return found


def earliest(build: Build, policy: Policy) -> date:
    """Give the first day on which a version may begin.

    After the last order it would apply to, and after the policy's last version.
    """
    o, d = t["fact_order_line"].c, t["dim_policy"].c
    scope = [
        o[c] == v
        for c, v in (
            ("country", policy.market),
            ("channel", policy.channel),
            ("category", policy.category),
            ("loyalty_tier", policy.loyalty_tier),
        )
        if v is not None
    ]
    last = build.fetch(select(func.max(o.ordered_at).label("at")).where(and_(True, *scope)))["at"].iloc[0]
    version = build.fetch(
        select(func.max(d.valid_from).label("at")).where(d.policy_id.endswith(f":{policy.policy_id}", autoescape=True))
    )["at"].iloc[0]
    zone = _zones(build).get(policy.market or "", "UTC")
    days = [_local(pd.Timestamp(at), zone) + timedelta(days=1) for at in (last, version) if not pd.isna(at)]
    return max(days, default=policy.valid_from)


def check(build: Build, policy: Policy) -> list[Problem]:
    """List what stops a policy from being published on a warehouse, and what should be thought about."""
    first = earliest(build, policy)
    late = (
        [
            Problem(
                "valid_from",
                f"{policy.valid_from} would rewrite the past: orders up to the day before {first} keep the policy of"
                f" their time. Write {first} or later.",
            )
        ]
        if policy.valid_from < first
        else []
    )
    return problems(policy) + late


def source_of(build: Build, policy: Policy) -> str:
    """Give the source whose orders the policy is for: that of its earlier versions, else the only one with orders."""
    d, o = t["dim_policy"].c, t["fact_order_line"].c
    known = build.fetch(select(d.policy_id).where(d.policy_id.endswith(f":{policy.policy_id}", autoescape=True)))[
        "policy_id"
    ]
    named = sorted({k.split(":", 1)[0] for k in known}) or sorted(build.fetch(select(o.source).distinct())["source"])
    if len(named) != 1:
        raise PolicyError(
            f"Several sources have orders ({', '.join(named)}): say whose policy this is with --namespace."
        )
    return str(named[0])


def publish(
    settings: Settings,
    policies: Sequence[Policy],
    build: Build,
    *,
    namespace: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Publish policies as new versions, by a load.

    Raises PolicyError with every error of every policy, and what a load raises.
    """
    wrong = [f"{p.policy_id}, {x.where}: {x.sentence}" for p in policies for x in check(build, p) if x.is_error]
    if wrong:
        raise PolicyError("Nothing was published. " + " ".join(wrong))
    names = {namespace or source_of(build, p) for p in policies}
    if len(names) != 1:
        raise PolicyError(f"These policies are of several sources ({', '.join(sorted(names))}): publish them apart.")
    zones = _zones(build)
    lines = [r for p in policies for r in rows(p, _starts(p.valid_from, zones.get(p.market or "", "UTC")))]
    with tempfile.TemporaryDirectory(prefix="backhaul-policy-") as folder:
        file = Path(folder) / "policy.csv"
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        return load(settings, [file], source="canonical", namespace=names.pop(), progress=progress)


def _starts(day: date, zone: str) -> datetime:
    return datetime.combine(day, datetime.min.time(), ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)


def renewed(policy: Policy, build: Build) -> Policy:
    """Give a copy of a version to edit, beginning on the first day it may."""
    return replace(policy, valid_from=earliest(build, policy))


def save_draft(settings: Settings, text: str, draft_id: int | None = None) -> int:
    """Keep the text of a policy somebody is writing; gives the draft's number."""
    state = State(settings.warehouse)
    try:
        with writing(settings.warehouse, settings.short_wait_s), state.transaction() as connection:
            if draft_id is not None:
                mine = update(policy_draft).where(policy_draft.c.draft_id == draft_id)
                connection.execute(mine.values(text=text, updated_at=now()))
                return draft_id
            row = {"text": text, "status": "draft", "created_at": now(), "updated_at": now()}
            return int(
                connection.execute(insert(policy_draft).values(**row).returning(policy_draft.c.draft_id)).scalar_one()
            )
    finally:
        state.close()


def end_draft(settings: Settings, draft_id: int, status: str, build_id: str | None = None) -> None:
    """Mark a draft as published or withdrawn; it stays on record."""
    state = State(settings.warehouse)
    try:
        with writing(settings.warehouse, settings.short_wait_s), state.transaction() as connection:
            mine = update(policy_draft).where(policy_draft.c.draft_id == draft_id)
            connection.execute(mine.values(status=status, build_id=build_id, updated_at=now()))
    finally:
        state.close()


def drafts(settings: Settings) -> "pd.DataFrame":
    """List the drafts that are still written on, newest first."""
    chosen = select(policy_draft).where(policy_draft.c.status == "draft").order_by(policy_draft.c.draft_id.desc())
    return read_of_state(settings, chosen)
