"""Discarded unsold goods of a financial year, as Regulation (EU) 2024/1781 Art. 24 wants them told.

In the format of Annex I of Implementing Regulation (EU) 2026/2, and as waste by treatment for ESRS E5-5. Discarded is
what was handed to a waste operation: goods given away, or mended and sold, are not. Goods that came back for lack of
conformity were sold and are no unsold goods: they are waste in E5 alone. A unit counts on the day it was discarded.
Codes and derogations are rows of data/cn_codes.csv and data/derogations.csv, each with how it was read.
"""

import csv
import json
import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import and_, func, or_, select

from models.shares import whole_percents
from pipelines.metrics.facts import lots
from pipelines.outputs.disclosure import Company
from pipelines.settings import Settings, data_path
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.engine import Build, looked_up
from pipelines.warehouse.star import STAR
from pipelines.warehouse.vocabulary import WASTE_TREATMENTS

WASTE = ("recycled", "destroyed")
DESTROYING = ("recycling", "other_recovery", "disposal")
"""What counts as destruction: 2026/2, Annex I note (i)."""
UNKNOWN = "unknown"
SPLIT = (*WASTE_TREATMENTS, UNKNOWN)
NO_REASON = "none given"
NO_HAZARD = (
    "no column: Annex I asks for units, weight, reason and shares by treatment (notes (d) to (i), read in secondary"
    " copies); ESRS E5-5 paragraph 37(b) and (c) asks for it and has it"
)
_LABELS = {t: t.replace("_", " ") for t in SPLIT}
t = STAR.tables


@cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    with data_path(name).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def derogations() -> Mapping[str, dict[str, str]]:
    """Give the ten derogations of Delegated Regulation (EU) 2026/296 Art. 2 by their code."""
    return {row["code"]: row for row in _rows("derogations.csv")}


@cache
def cn_codes() -> Mapping[str, dict[str, str]]:
    """Give chapters and headings of the Combined Nomenclature by their code."""
    return {row["cn_code"]: row for row in _rows("cn_codes.csv")}


def derogation(reason: object) -> str:
    """Name the derogation that a reason means: its code, its point of Art. 2, or a word of it; empty for none.

    >>> derogation("Art. 2(f)"), derogation("counterfeit"), derogation("end of season")
    ('damaged', 'ip_infringement', '')
    """
    if not isinstance(reason, str):
        return ""
    said = reason.strip().lower()
    point = re.fullmatch(r"(?:art(?:icle|\.)?\s*2\s*)?\(?([a-j])\)?", said)
    for code, row in derogations().items():
        known = {code, code.replace("_", " "), *row["words"].split("|")}
        if said in known or (point and point[1] == row["point"]):
            return code
    return ""


def category(cn_code: object, chapter: object) -> str:
    """Give the product category of 2026/2 Art. 3: four digits where Annex II lists the heading, else two.

    >>> category("6302 21 00", "63"), category("62034235", None), category(None, "61"), category(None, None)
    ('6302', '62', '61', 'unknown')
    """
    digits = re.sub(r"\D", "", cn_code) if isinstance(cn_code, str) else ""
    if len(digits) >= 4 and cn_codes().get(digits[:4], {}).get("four_digits") == "yes":
        return digits[:4]
    said = digits or (re.sub(r"\D", "", chapter) if isinstance(chapter, str) else "")
    return said[:2] if len(said) >= 2 else UNKNOWN


def discards(build: Build, since: date, until: date) -> pd.DataFrame:
    """List what was handed to a waste operation from one day to another, and what has no day; a row a hand-over.

    Columns: units, kg, is_estimated (the weight), discarded_on (NaT: no day), treatment, reason, evidence, return_type,
    category, cn_code, is_hazardous (NA: not said). Weights that are missing are the mean of
    the category's, else of all.
    """
    lines, lot_rows, recovered = _lines(build), _wasted_lots(build), _wasted_recoveries(build)
    key = ["return_line_key", "disposition"]
    for frame in (lot_rows, recovered):  # pandas cannot join on texts that it took from no row at all
        frame["disposition"] = frame["disposition"].astype(object)
    taken = recovered.groupby(key, as_index=False).agg(taken=("units", "sum"))
    rest = lot_rows.merge(taken, on=key, how="left")
    rest["units"] = (rest["units"] - rest["taken"].fillna(0)).clip(lower=0)
    recovered = recovered.merge(lot_rows[[*key, "disposed_on"]], on=key, how="left")
    recovered["discarded_on"] = recovered["disposed_on"].fillna(pd.to_datetime(recovered["recovered_on"]))
    rest = rest[rest["units"] > 0].rename(columns={"disposed_on": "discarded_on"})
    found = pd.concat([recovered, rest], ignore_index=True).merge(lines, on="return_line_key", how="left")
    found["discarded_on"] = pd.to_datetime(found["discarded_on"])
    within = found["discarded_on"].between(pd.Timestamp(since), pd.Timestamp(until))
    found = found[within | found["discarded_on"].isna()].copy()
    found["treatment"] = _treatments(found)
    found["category"] = [category(c, h) for c, h in zip(found["cn_code"], found["hs_chapter"], strict=True)]
    return _weighed(found)


def _lines(build: Build) -> pd.DataFrame:
    """Give what is known of each return line's goods."""
    product, leg, place = t["dim_product"], t["fact_return_leg"], t["dim_place"]
    line = (
        select(
            lots.c.return_line_key,
            func.max(lots.c.product_key).label("product_key"),
            func.max(lots.c.parcel_key).label("parcel_key"),
            func.max(lots.c.return_type).label("return_type"),
            func.max(lots.c.weight_kg).label("unit_kg"),
        )
        .group_by(lots.c.return_line_key)
        .subquery("line")
    )
    landfilled = (
        select(leg.c.parcel_key)
        .join(place, place.c.place_key == leg.c.to_place_key)
        .where(place.c.kind == "landfill")
        .distinct()
        .subquery("landfilled")
    )
    return build.fetch(
        select(
            line.c.return_line_key,
            line.c.return_type,
            line.c.unit_kg,
            product.c.cn_code,
            product.c.hs_chapter,
            landfilled.c.parcel_key.is_not(None).label("is_landfilled"),
        ).select_from(
            line.outerjoin(product, and_(product.c.product_key == line.c.product_key, product.c.is_current)).outerjoin(
                landfilled, landfilled.c.parcel_key == line.c.parcel_key
            )
        )
    )


def _wasted_lots(build: Build) -> pd.DataFrame:
    """Give the units of each return line whose fate is waste, with the local day they left."""
    shop = t["dim_shop"]
    found = build.fetch(
        select(
            lots.c.return_line_key,
            lots.c.disposition,
            func.sum(lots.c.units).label("units"),
            func.max(lots.c.disposed_at).label("disposed_at"),
            func.max(shop.c.time_zone).label("time_zone"),
        )
        .select_from(lots.outerjoin(shop, shop.c.shop_key == lots.c.shop_key))
        .where(
            lots.c.disposition.in_(WASTE),
            lots.c.cancelled_at.is_(None),
            lots.c.rejected_at.is_(None),
            lots.c.expired_at.is_(None),
        )
        .group_by(lots.c.return_line_key, lots.c.disposition)
    )
    at = pd.to_datetime(found.pop("disposed_at"))
    zones = found.pop("time_zone").fillna("UTC")
    found["disposed_on"] = pd.Series(pd.NaT, index=found.index, dtype="datetime64[ns]")
    for zone, part in at.groupby(zones):
        local = part.dt.tz_localize("UTC").dt.tz_convert(str(zone)).dt.tz_localize(None).dt.normalize()
        found.loc[part.index, "disposed_on"] = local.astype("datetime64[ns]")
    return found


def _wasted_recoveries(build: Build) -> pd.DataFrame:
    """Give the recoveries that were a hand-over to a waste operation."""
    r = t["fact_recovery"].c
    return build.fetch(
        select(
            r.return_line_key,
            r.disposition,
            r.units,
            r.recovered_on,
            r.waste_treatment,
            r.is_hazardous,
            r.derogation_reason.label("reason"),
            r.evidence_ref.label("evidence"),
        ).where(or_(r.disposition.in_(WASTE), r.waste_treatment.is_not(None)))
    )


def _treatments(found: pd.DataFrame) -> pd.Series:
    """Say by which operation goods were treated: as the operator said, else recycled, or landfilled; else unknown."""
    usual = np.where(
        found["disposition"] == "recycled",
        "recycling",
        np.where(found["is_landfilled"].fillna(False).astype(bool), "disposal", UNKNOWN),
    )
    return found["waste_treatment"].astype(object).where(found["waste_treatment"].notna(), usual)


def _weighed(found: pd.DataFrame) -> pd.DataFrame:
    unit_kg = found["unit_kg"].astype(float)
    found["is_estimated"] = unit_kg.isna()
    unit_kg = unit_kg.fillna(unit_kg.groupby(found["category"]).transform("mean")).fillna(unit_kg.mean())
    found["units"] = found["units"].astype(int)
    found["kg"] = unit_kg * found["units"]
    columns = ["units", "kg", "is_estimated", "discarded_on", "treatment", "reason", "evidence", "return_type"]
    found["is_hazardous"] = found["is_hazardous"].astype("boolean")
    return found[[*columns, "category", "cn_code", "is_hazardous"]].reset_index(drop=True)


def is_unsold(found: pd.DataFrame) -> pd.Series:
    """Say of each hand-over whether its goods were unsold (Art. 2(37)): all but those back for lack of conformity."""
    return found["return_type"].ne("conformity")


def annex_i(found: pd.DataFrame) -> pd.DataFrame:
    """Lay hand-overs out in the lines of Annex I: a line a category and reason.

    Whole numbers without separators; a weight that was estimated carries its sign in the next column. Treatments are
    whole percentages of the weight and add up to 100; destruction is recycling, other recovery and disposal.
    """
    dated = found[is_unsold(found) & found["discarded_on"].notna()]
    codes = dated["reason"].map(derogation)
    said = np.where(codes != "", codes, dated["reason"].astype(object).where(dated["reason"].notna(), NO_REASON))
    rows = [
        _line(str(c), str(why), goods)
        for (c, why), goods in dated.groupby([dated["category"], pd.Series(said, index=dated.index)])
    ]
    columns = [
        "product category (CN)",
        "description",
        "units",
        "weight (kg)",
        "±",
        "packaging in the weight",
        "reason",
        *(f"{_LABELS[s]} %" for s in SPLIT),
        "total destruction %",
    ]
    return pd.DataFrame(rows, columns=columns)


def _line(code: str, why: str, goods: pd.DataFrame) -> dict[str, Any]:
    kg = goods.groupby("treatment")["kg"].sum()
    percents = dict(zip(SPLIT, whole_percents([float(kg.get(s, 0.0)) for s in SPLIT]), strict=True))
    row = derogations().get(why)
    weight = goods["kg"].sum(min_count=1)
    return {
        "product category (CN)": code,
        "description": cn_codes().get(code, {}).get("goods", ""),
        "units": int(goods["units"].sum()),
        "weight (kg)": None if pd.isna(weight) else round(float(weight)),
        "±": "±" if goods["is_estimated"].any() else "",
        "packaging in the weight": "no",
        "reason": f"2026/296 Art. 2({row['point']}) {why.replace('_', ' ')}" if row else why,
        **{f"{_LABELS[s]} %": p for s, p in percents.items()},
        "total destruction %": None if None in percents.values() else sum(percents[s] or 0 for s in DESTROYING),
    }


def header(settings: Settings, company: Company | None, since: date, until: date) -> pd.DataFrame:
    """Give what stands above and below the lines of Annex I: who, the financial year, measures taken and planned."""
    not_said = "not said: `backhaul company`"
    whole_year = until == (pd.Timestamp(since) + pd.DateOffset(years=1) - pd.Timedelta(days=1)).date()
    taken, planned = _measures(settings, since, until)
    rows = [
        ("title", "Disclosure of information on discarded unsold consumer products"),
        ("format", "Implementing Regulation (EU) 2026/2, Annex I; Regulation (EU) 2024/1781 Art. 24"),
        ("name of the legal entity", (company and company.name) or not_said),
        ("identifier of the legal entity", (company and company.euid) or not_said),
        ("type of identifier", "EUID"),
        ("disclosure", "standalone"),
        ("start of the financial year", since.isoformat() + ("" if whole_year else " (the span asked for)")),
        ("end of the financial year", until.isoformat() + ("" if whole_year else " (no whole year)")),
        ("measures taken to prevent destruction", taken or "none logged: `backhaul action add`"),
        ("measures planned to prevent destruction", planned or "none logged: `backhaul action add`"),
        ("documents of delivery and treatment", "kept five years after the disclosure (2026/2 Art. 4)"),
        ("hazardous waste", NO_HAZARD),
    ]
    return pd.DataFrame(rows, columns=["field", "value"])


def _measures(settings: Settings, since: date, until: date) -> tuple[str, str]:
    """Word the actions that were in force within the year, and those that are open."""
    a = state_tables.action
    found = state.read(settings, select(a).where(a.c.status != "withdrawn").order_by(a.c.action_id))

    def worded(row: dict[str, Any]) -> str:
        scope = ", ".join(f"{k} {' '.join(map(str, v))}" for k, v in json.loads(row["scope"] or "{}").items())
        day = row["effective_on"] if row["status"] == "done" else row["due_on"]
        told = f"{row['kind'].replace('_', ' ')} ({scope})" if scope else row["kind"].replace("_", " ")
        return told + (f" {day}" if pd.notna(day) else "") + (f": {row['note']}" if row["note"] else "")

    rows = [{str(k): v for k, v in r.items()} for r in found.to_dict("records")]
    done = [r for r in rows if r["status"] == "done" and pd.notna(r["effective_on"])]
    taken = [r for r in done if since <= pd.Timestamp(r["effective_on"]).date() <= until]
    return "; ".join(map(worded, taken)), "; ".join(worded(r) for r in rows if r["status"] == "open")


def gaps(found: pd.DataFrame) -> pd.DataFrame:
    """Count what the table lacks or leaves out, in units: each row says what, and what to do."""
    unsold = is_unsold(found)
    is_dated = found["discarded_on"].notna()
    told = unsold & is_dated
    code = found["reason"].map(derogation)
    destroyed = told & found["treatment"].isin([*DESTROYING, UNKNOWN])
    four = found["category"].map(lambda c: len(c) == 2 and any(k.startswith(c) for k in _four_digit_codes()))
    short = ~found["cn_code"].fillna("").str.replace(r"\D", "", regex=True).str.len().ge(4)
    rows = (
        ("conformity returns left out: no unsold goods", ~unsold & is_dated),
        ("returns of no known type, counted as unsold", told & found["return_type"].isna()),
        ("no day of discarding yet, left out", unsold & ~is_dated),
        ("destroyed without a reason", destroyed & found["reason"].isna()),
        ("destroyed for a reason that is no derogation", destroyed & found["reason"].notna() & (code == "")),
        ("destroyed without evidence", destroyed & found["evidence"].isna()),
        (
            "destroyed under the ban (Art. 25, Annex VII) without a derogation",
            destroyed & _banned(found) & (code == ""),
        ),
        ("not accepted as a donation, Art. 2(h), beside (a) to (g) for one category", told & _h_beside(found, code)),
        ("treatment not known: ask the operator for recovery.waste_treatment", told & (found["treatment"] == UNKNOWN)),
        ("four digits of the customs code missing where Annex II may ask: product.cn_code", told & four & short),
        ("no customs code", told & (found["category"] == UNKNOWN)),
        ("weight estimated from other goods", told & found["is_estimated"]),
        ("hazardous or not: not said (ESRS E5-5, recovery.is_hazardous)", is_dated & found["is_hazardous"].isna()),
    )
    return pd.DataFrame(
        [(what, int(found.loc[which, "units"].sum())) for what, which in rows], columns=["what", "units"]
    )


@cache
def _four_digit_codes() -> tuple[str, ...]:
    return tuple(c for c, row in cn_codes().items() if row["four_digits"] == "yes")


def _banned(found: pd.DataFrame) -> pd.Series:
    """Say of each hand-over whether its goods were banned from destruction on its day: by heading, else by chapter."""
    dates = {c: pd.Timestamp(row["banned_from"]) for c, row in cn_codes().items() if row["banned_from"]}
    heading = found["cn_code"].fillna("").str.replace(r"\D", "", regex=True).str[:4]
    since = looked_up(heading, dates).fillna(looked_up(found["category"], dates))
    return pd.to_datetime(since).le(found["discarded_on"])


def _h_beside(found: pd.DataFrame, code: pd.Series) -> pd.Series:
    """Say where a donation that was not accepted is claimed in a category that also claims one of (a) to (g)."""
    points = code.map(lambda c: derogations()[c]["point"] if c else "")
    stronger = set(found.loc[points.between("a", "g"), "category"])
    return points.eq("h") & found["category"].isin(stronger)


def proofs(found: pd.DataFrame) -> pd.DataFrame:
    """List the ten derogations: units and kg that claim each, with evidence, and until when it is to be kept."""
    told = found[is_unsold(found) & found["discarded_on"].notna()]
    code = told["reason"].map(derogation)
    rows = []
    for name, row in derogations().items():
        goods = told[code == name]
        last = goods["discarded_on"].max()
        keep = None if pd.isna(last) else (last + pd.DateOffset(years=int(row["keep_years"]))).date()
        rows.append(
            {
                "point": f"({row['point']})",
                "code": name,
                "condition": row["condition"],
                "evidence": row["evidence"],
                "units": int(goods["units"].sum()),
                "kg": float(goods["kg"].sum()),
                "units with evidence": int(goods.loc[goods["evidence"].notna(), "units"].sum()),
                "keep evidence until": keep,
                **{n: row[n] for n in ("article", "source", "address", "quality")},
            }
        )
    return pd.DataFrame(rows)


def e5(found: pd.DataFrame, since: date, until: date) -> pd.DataFrame:
    """Shape waste as ESRS E5-5 paragraph 37 does, in tonnes, hazardous or not; conformity returns are waste too.

    Source: Delegated Regulation (EU) 2023/2772, ESRS E5.
    """
    dated = found[found["discarded_on"].notna()]
    hazards = {
        "N": dated,
        "hazardous": dated[dated["is_hazardous"].fillna(False)],
        "non-hazardous": dated[~dated["is_hazardous"].fillna(True)],
        "not said": dated[dated["is_hazardous"].isna()],
    }
    of = {name: _e5_rows(part) for name, part in hazards.items()}
    frame = pd.DataFrame(of["N"], columns=["row", "N", "unit"])
    for name in list(hazards)[1:]:
        frame[name] = [n for _, n, _ in of[name]]
    frame["span"] = f"{since} to {until}"
    return frame


def _e5_rows(dated: pd.DataFrame) -> list[tuple[str, float, str]]:
    """Give the rows of E5-5: their name, tonnes or per cent, and unit."""
    kg = dated.groupby("treatment")["kg"].sum()
    tonnes = {s: float(kg.get(s, 0.0)) / 1000 for s in SPLIT}
    total = sum(tonnes.values())
    rest = total - tonnes["recycling"] - tonnes["preparing_for_reuse"]
    return [
        ("Total waste generated (returned goods)", total, "t"),
        ("Diverted from disposal", sum(tonnes[s] for s in WASTE_TREATMENTS[:3]), "t"),
        ("  preparation for reuse", tonnes["preparing_for_reuse"], "t"),
        ("  recycling", tonnes["recycling"], "t"),
        ("  other recovery operations", tonnes["other_recovery"], "t"),
        ("Directed to disposal", tonnes["disposal"], "t"),
        ("Treatment not known", tonnes[UNKNOWN], "t"),
        ("Non-recycled waste", rest, "t"),
        ("Non-recycled waste", 100 * rest / total if total else np.nan, "%"),
    ]


def sheets(
    settings: Settings, build: Build, company: Company | None, since: date, until: date
) -> dict[str, pd.DataFrame]:
    """Give the tables of a report by their name: header, lines, gaps, derogations, and E5."""
    found = discards(build, since, until)
    return {
        "Art. 24 header": header(settings, company, since, until),
        "discarded goods": annex_i(found),
        "Art. 24 gaps": gaps(found),
        "derogations": proofs(found),
        "ESRS E5-5": e5(found, since, until),
    }
