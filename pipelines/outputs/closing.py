"""Closed months: the figures, factors and approver of a month as they were when somebody signed for them.

And what has changed since.

A closed month is one Parquet file, `closed/<month>-<n>.parquet` in the warehouse: every element of the chains of the
returns asked for in that month, with the factor each was multiplied with. It is never written again; a month closed
anew gets the next number. Its checksum is kept in the state, apart from it. Later data and other factors leave it as it
is and show as restatements with their cause.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import case, func, insert, select

from pipelines import factors
from pipelines.errors import ReportError
from pipelines.metrics.facts import LEGS, leg_carbon, legs
from pipelines.metrics.finish.doubt import kind
from pipelines.outputs import signing
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import checksum, current_build, sync, unused, writing
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR

_OF_PART = ("factor_id", "amount", "mass_kg", "kg_co2e_wtt", "kg_co2e_ttw", "kg_co2e", "kg_co2e_market")
CAUSES = ("late", "gone", "factor", "inputs")
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_COLUMNS = (
    "element_id",
    "parcel_id",
    "element_no",
    "activity",
    "role",
    "mode",
    "carrier",
    "country",
    "method",
    "scope3_category",
    "amount",
    "factor_id",
    "distance_km",
    "distance_type",
    "distance_adjustment",
    "mass_kg",
    "tonne_km",
    "status",
    "primary_share",
    "kg_co2e_wtt",
    "kg_co2e_ttw",
    "kg_co2e",
    "kg_co2e_market",
    "kg_co2e_modelled",
    "kg_co2e_tonne_km",
)
t = STAR.tables


@dataclass(frozen=True)
class Closed:
    """One closing of a month.

    Who signed when for what (kg CO2e), over which build and factors; `is_intact` says that the file is what was signed.
    """

    month: str
    number: int
    approver: str
    closed_at: datetime
    build_id: str
    factor_set: str
    sha256: str
    kg_co2e: float
    note: str
    path: Path
    is_intact: bool
    link: int | None = None
    previous: str | None = None
    record: str | None = None


def elements(build: Build, since: date, until: date) -> pd.DataFrame:
    """List the elements of the chains of returns asked for from one day to another, both included.

    Each with its activity amount and factor: `amount` x `factor_value` is kg_co2e. An element of several factors (goods
    with several fates, energy and refrigerant) is one row a factor, named by `part`.
    """
    c, p, f = leg_carbon.c, t["estimate_leg_part"].c, t["factor_set"].c
    of_leg: dict[str, Any] = {n: c[n] for n in _COLUMNS if n in c and n not in ("element_id", "method", *_OF_PART)}
    of_part: dict[str, Any] = {n: case((p.leg_key.is_not(None), p[n]), else_=c[n]) for n in _OF_PART}
    of_part["mass_kg"] = func.coalesce(p.mass_kg, c.mass_kg)
    of_leg["tonne_km"] = case((func.coalesce(p.part, "") != "refrigerant", c.tonne_km))  # once an element
    query = (
        select(
            legs.c.element_id,
            legs.c.parcel_id,
            legs.c.element_no,
            legs.c.requested_on,
            legs.c.role,
            legs.c.mode,
            legs.c.carrier,
            legs.c.country,
            legs.c.method,
            t["dim_place"].c.place_id,
            c.method.label("allocation"),
            p.part,
            *(column.label(name) for name, column in {**of_leg, **of_part}.items()),
            f.value.label("factor_value"),
            f.unit.label("factor_unit"),
        )
        .select_from(
            LEGS.table.outerjoin(t["estimate_leg_part"], p.leg_key == c.leg_key)
            .outerjoin(t["factor_set"], f.factor_id == of_part["factor_id"])
            .outerjoin(t["dim_place"], t["dim_place"].c.place_key == legs.c.to_place_key)
        )
        .where(legs.c.requested_on >= since, legs.c.requested_on <= until)
    )
    return build.fetch(query)


def span(month: str) -> tuple[date, date]:
    """Give the first and last day of a month.

    >>> span("2026-02")[1].isoformat()
    '2026-02-28'
    """
    if not _MONTH.fullmatch(month):
        raise ReportError(f"{month!r} is no month: give year and month, 2026-01.")
    first = date(int(month[:4]), int(month[5:]), 1)
    return first, (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def to_close(build: Build) -> list[str]:
    """Name the months that are over in the data and have a return with legs, newest first."""
    observed = str(build.info.get("observed_until", ""))[:10]
    if not observed:
        return []
    found = build.fetch(select(legs.c.requested_on).select_from(LEGS.table).distinct())
    months = pd.to_datetime(found["requested_on"]).dropna().dt.strftime("%Y-%m").unique()
    return sorted((m for m in months if span(m)[1] <= date.fromisoformat(observed)), reverse=True)


def close(settings: Settings, month: str, approver: str, note: str = "") -> Closed:
    """Freeze a month's elements, factors and approver in a file that is never written again.

    A month that was closed before is closed anew only with a note that says why. Holds the warehouse for writing.
    Raises ReportError for a month that is not over in the data, has no return with legs, or lacks an approver.
    """
    first, last = span(month)
    if not approver.strip():
        raise ReportError("Somebody signs for a closed month: give --approver.")
    with writing(settings.warehouse, settings.short_wait_s):
        return _close(settings, month, first, last, approver.strip(), note.strip())


def _close(settings: Settings, month: str, first: date, last: date, approver: str, note: str) -> Closed:
    """Close a month; the caller holds the warehouse for writing."""
    before = [c for c in closed(settings) if c.month == month]
    if before and not note:
        raise ReportError(
            f"{month} was closed by {before[-1].approver} on {before[-1].closed_at:%Y-%m-%d}. Closing it anew needs"
            " --note with the reason; the earlier closing stays."
        )
    with current_build(settings.warehouse) as build:
        observed = str(build.info.get("observed_until", ""))[:10]
        if not observed or date.fromisoformat(observed) < last:
            raise ReportError(
                f"{month} is not over in the data, which end on {observed or 'no day'}. Load what is missing, then"
                " close it."
            )
        frame = elements(build, first, last)
        if frame.empty:
            raise ReportError(f"No return asked for in {month} has a leg: there is nothing to close.")
        used = build.fetch(select(t["factor_set"])).sort_values("factor_id")
        number, chosen = len(before) + 1, factors.ledger(settings)
        about = {
            "month": month,
            "number": number,
            "approver": approver,
            "closed_at": state.now().isoformat(timespec="seconds"),
            "build_id": build.label,
            "factor_set": chosen.chosen,
            "factors": chosen.digest,
            "note": note,
            "kg_co2e": float(frame["kg_co2e"].sum()),
            "factor_rows": used.astype(object).where(used.notna(), None).to_dict("records"),
        }
    folder = settings.warehouse / "closed"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{month}-{number}.parquet"
    if path.exists():  # nobody signed for it: a closing that was killed before its row was written, or a file put here
        path.rename(unused(path.with_suffix(".unsigned")))
    state_file = state.State(settings.warehouse)
    try:
        with state_file.transaction() as connection:  # the row is there once the file is, or neither
            digest = _write(frame, about, path)
            row = {k: about[k] for k in ("month", "number", "approver", "build_id", "factor_set", "kg_co2e", "note")}
            row |= {"closed_at": datetime.fromisoformat(str(about["closed_at"])), "sha256": digest}
            rows = [dict(r) for r in connection.execute(select(state_tables.closed_month)).mappings()]
            connection.execute(insert(state_tables.closed_month).values(**row, **signing.next_link(rows, row)))
    finally:
        state_file.close()
    return next(c for c in closed(settings) if c.month == month and c.number == number)


def _write(frame: pd.DataFrame, about: Mapping[str, Any], path: Path) -> str:
    """Write a closing to a file that is not there yet, on disk before it has its name; give its checksum."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    pq.write_table(table.replace_schema_metadata({"backhaul": json.dumps(about, default=str)}), draft)
    draft.chmod(0o400)
    sync(draft)
    digest = checksum(draft)
    os.link(draft, path)  # unlike a rename, it never replaces a file
    draft.unlink()
    sync(path.parent)
    return digest


def closed(settings: Settings) -> list[Closed]:
    """List every closing, oldest month first; the last of a month is the one that counts."""
    state_file = state.State(settings.warehouse)
    try:
        rows = state_file.rows(
            select(state_tables.closed_month).order_by(
                state_tables.closed_month.c.month, state_tables.closed_month.c.number
            )
        )
    finally:
        state_file.close()
    found = []
    for row in rows:
        path = settings.warehouse / "closed" / f"{row['month']}-{row['number']}.parquet"
        found.append(Closed(**row, path=path, is_intact=path.is_file() and checksum(path) == row["sha256"]))
    return found


def standing(settings: Settings) -> dict[str, Closed]:
    """Give the closing of each closed month that counts: its last."""
    return {c.month: c for c in closed(settings)}


def frozen(of: Closed) -> pd.DataFrame:
    """Read the elements of a closed month. Raises ReportError when the file is gone or is not what was signed."""
    if not of.is_intact:
        raise ReportError(
            f"{of.path.name} is not the file that {of.approver} signed for: its checksum differs, or it is gone. Put it"
            " back from a backup."
        )
    found: pd.DataFrame = pq.read_table(of.path).to_pandas()
    return found


def frozen_factors(of: Closed) -> pd.DataFrame:
    """Read the factors a closed month was computed with."""
    about = json.loads((pq.read_schema(of.path).metadata or {})[b"backhaul"])
    return pd.DataFrame(about["factor_rows"])


def restatement(build: Build, of: Closed) -> dict[str, Any]:
    """Say what the month would be now and why it differs: closed, now (kg CO2e), and the part of each cause.

    late: elements recorded since; gone: elements taken back; factor: another factor or value; inputs: other distances,
    masses or shares.
    """
    first, last = span(of.month)

    def by_part(frame: pd.DataFrame) -> pd.DataFrame:
        given = frame["part"] if "part" in frame else frame["factor_id"].fillna("").map(kind)  # closed by an older one
        is_parted = frame["element_id"].duplicated(keep=False)
        part = frame["element_id"].where(~is_parted, frame["element_id"] + "|" + given.fillna(""))
        return pd.DataFrame({"kg": frame["kg_co2e"].fillna(0.0), "value": frame["factor_value"]}).groupby(part).sum()

    then, now = by_part(frozen(of)), by_part(elements(build, first, last))
    both = then.add_suffix("_then").join(now.add_suffix("_now"), how="outer")
    is_late, is_gone = both["kg_then"].isna(), both["kg_now"].isna()
    kept = both[~is_late & ~is_gone]
    ratio = np.where(
        kept["value_then"] > 0, kept["value_now"] / kept["value_then"].where(kept["value_then"] > 0, 1.0), 1.0
    )
    at_new_factor = kept["kg_then"] * ratio
    parts = {
        "late": both.loc[is_late, "kg_now"].sum(),
        "gone": -both.loc[is_gone, "kg_then"].sum(),
        "factor": (at_new_factor - kept["kg_then"]).sum(),
        "inputs": (kept["kg_now"] - at_new_factor).sum(),
    }
    parts = {cause: 0.0 if abs(kg) < 1e-9 else float(kg) for cause, kg in parts.items()}
    return {
        "month": of.month,
        "number": of.number,
        "approver": of.approver,
        "closed_at": of.closed_at,
        "factor_set": of.factor_set,
        "closed": float(then["kg"].sum()),
        "now": float(now["kg"].sum()),
        **parts,
    }


def restatements(settings: Settings) -> pd.DataFrame:
    """List closed months with what they would be now.

    Columns: month, number, approver, closed_at, factor_set, closed, now (kg CO2e) and a column a cause.
    """
    found = standing(settings)
    columns = ["month", "number", "approver", "closed_at", "factor_set", "closed", "now", *CAUSES]
    if not found:
        return pd.DataFrame(columns=columns)
    with current_build(settings.warehouse) as build:
        return pd.DataFrame([restatement(build, c) for c in found.values()], columns=columns)


def span_elements(settings: Settings, build: Build, since: date, until: date) -> tuple[pd.DataFrame, list[Closed]]:
    """List the elements of a span.

    Of its closed months, or parts of them, as they were signed for, of all other days as the build has them. A month
    closed before the days of its elements were kept is only whole as it was signed for.
    """
    within, frames, day = [], [], since
    for _, c in sorted(standing(settings).items()):
        first, last = span(c.month)
        if last < since or first > until:
            continue
        signed = frozen(c)
        is_whole = since <= first and last <= until
        if "requested_on" in signed:
            days = pd.to_datetime(signed["requested_on"]).dt.date
            signed = signed[(days >= since) & (days <= until)]
        elif not is_whole:
            continue
        within.append(c)
        frames.append(signed)
        if day < first:
            frames.append(elements(build, day, first - timedelta(days=1)))
        day = last + timedelta(days=1)
    if day <= until:
        frames.append(elements(build, day, until))
    frames = [f for f in frames if len(f)] or [elements(build, until, since)]
    return pd.concat(frames, ignore_index=True), within
