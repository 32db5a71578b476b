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
from sqlalchemy import and_, case, func, insert, literal_column, select

from pipelines import factors
from pipelines.errors import ReportError
from pipelines.estimate.leg_carbon import TREATMENTS
from pipelines.factors import parameter
from pipelines.metrics.facts import LEGS, leg_carbon, legs, lots, own_km
from pipelines.metrics.finish.doubt import kind
from pipelines.outputs import signing
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import checksum, current_build, sync, unused, writing
from pipelines.warehouse.engine import Build, looked_up
from pipelines.warehouse.star import STAR

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
    "factor_id",
    "distance_km",
    "distance_type",
    "distance_adjustment",
    "mass_kg",
    "tonne_km",
    "status",
    "kg_co2e_wtt",
    "kg_co2e_ttw",
    "kg_co2e",
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

    Each with its activity amount and factor.

    `amount` x `factor_value` is kg_co2e: tonne-kilometres, kilometres of a trip's or a round's share, tonnes, or
    parcels, in `factor_unit`. The treatment of goods with several fates is one row a factor.
    """
    c, f = leg_carbon.c, t["factor_set"].c
    uses = case((c.factor_id.like("%packaging_crate%"), parameter("packaging_uses")), else_=1.0)
    amount = case(
        (c.method == literal_column("'per_tonne_km'"), c.distance_km * c.mass_kg / 1000),
        (c.method.in_(["per_vehicle_km", "per_parcel"]), func.coalesce(own_km, 1.0)),
        (c.method == literal_column("'per_tonne'"), c.mass_kg / 1000 / uses),
        (f.value != 0, c.kg_co2e / f.value),
    )
    query = (
        select(
            legs.c.element_id,
            legs.c.parcel_id,
            legs.c.element_no,
            legs.c.role,
            legs.c.mode,
            legs.c.carrier,
            legs.c.country,
            c.method.label("allocation"),
            legs.c.parcel_key,
            *(c[n] for n in _COLUMNS if n in c and n not in ("element_id",) and n != "method"),
            legs.c.method,
            amount.label("amount"),
            f.value.label("factor_value"),
            f.unit.label("factor_unit"),
        )
        .select_from(LEGS.table.outerjoin(t["factor_set"], f.factor_id == c.factor_id))
        .where(legs.c.requested_on >= since, legs.c.requested_on <= until)
    )
    return _parted(build, build.fetch(query))


def _parted(build: Build, found: pd.DataFrame) -> pd.DataFrame:
    """Lay the treatment of parcels whose goods had several fates out as one row a factor.

    By what each kind of goods weighs.
    """
    is_mixed = found["factor_id"].fillna("").str.contains(" + ", regex=False)
    if not is_mixed.any():
        return found.drop(columns="parcel_key")
    mixed = found[is_mixed]
    live = and_(lots.c.cancelled_at.is_(None), lots.c.rejected_at.is_(None), lots.c.expired_at.is_(None))
    goods = build.fetch(
        select(lots.c.parcel_key, lots.c.disposition, lots.c.units, lots.c.weight_kg).where(
            live, lots.c.parcel_key.in_(mixed["parcel_key"].astype("int64").tolist()), lots.c.disposition.is_not(None)
        )
    )
    goods["kind"] = looked_up(goods["disposition"], TREATMENTS)
    weighed = goods.groupby("parcel_key")["weight_kg"].transform("count") == goods.groupby("parcel_key")[
        "units"
    ].transform("count")
    goods["weight"] = np.where(weighed, goods["weight_kg"].astype(float) * goods["units"], goods["units"].astype(float))
    share = goods.groupby(["parcel_key", "kind"], as_index=False)["weight"].sum()
    share["share"] = share["weight"] / share.groupby("parcel_key")["weight"].transform("sum")
    values = build.fetch(select(t["factor_set"].c.factor_id, t["factor_set"].c.value)).set_index("factor_id")["value"]
    laid = mixed.merge(share[["parcel_key", "kind", "share"]], on="parcel_key")
    laid["factor_id"] = [
        next((f for f in ids.split(" + ") if _is_kind(f, kind)), None)
        for ids, kind in zip(laid["factor_id"], laid["kind"], strict=True)
    ]
    laid["amount"] = laid["mass_kg"] / 1000 * laid["share"]
    laid["factor_value"] = looked_up(laid["factor_id"], values).astype(float)
    laid["factor_unit"] = "kgCO2e/t"
    laid["mass_kg"] = laid["mass_kg"] * laid["share"]
    laid["kg_co2e"] = laid["amount"] * laid["factor_value"]
    laid[["kg_co2e_wtt", "kg_co2e_ttw"]] = np.nan
    rest = found[~is_mixed]
    return pd.concat([rest, laid[rest.columns]], ignore_index=True).drop(columns="parcel_key")


def _is_kind(factor_id: str, kind: str) -> bool:
    return factor_id.endswith(f".{kind}") or (
        kind == "treatment_energy_recovery" and factor_id.endswith(".treatment_landfill")
    )


def span(month: str) -> tuple[date, date]:
    """Give the first and last day of a month.

    >>> span("2026-02")[1].isoformat()
    '2026-02-28'
    """
    if not _MONTH.fullmatch(month):
        raise ReportError(f"{month!r} is no month: give year and month, 2026-01.")
    first = date(int(month[:4]), int(month[5:]), 1)
    return first, (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)


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
        is_parted = frame["element_id"].duplicated(keep=False)
        part = frame["element_id"].where(
            ~is_parted, frame["element_id"] + "|" + frame["factor_id"].fillna("").map(kind)
        )
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

    Of its closed months as they were signed for, of all other days as the build has them.
    """
    within = [c for m, c in sorted(standing(settings).items()) if since <= span(m)[0] and span(m)[1] <= until]
    frames = [frozen(c) for c in within]
    day = since
    for c in within:
        first, last = span(c.month)
        if day < first:
            frames.append(elements(build, day, first - timedelta(days=1)))
        day = last + timedelta(days=1)
    if day <= until:
        frames.append(elements(build, day, until))
    frames = [f for f in frames if len(f)] or [elements(build, until, since)]
    return pd.concat(frames, ignore_index=True), within
