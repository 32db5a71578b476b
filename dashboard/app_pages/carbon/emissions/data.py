"""What the page emissions asks; nothing is drawn here."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from dashboard.shared import access
from dashboard.shared.memory import remembered
from dashboard.shared.queries import (
    PageQuestion,
    Source,
    by,
    can_compare,
    crossed,
    cut,
    days,
    opened,
    question_of,
    stands_alone,
)
from dashboard.shared.whole import kept, whole_shop
from pipelines import analyses, factors, metrics
from pipelines.outputs import closing, disclosure, report, report_files
from pipelines.settings import Settings
from pipelines.warehouse import vocabulary

SHOWN_DOUBTS, DOUBTED = 8, 0.001  # sources of doubt shown, and share of the variance below which one is left out


@remembered
def by_status(asked: PageQuestion, dimension: str) -> pd.DataFrame:
    """Give emissions per group and what they rest on.

    Columns: label, status, value (kg CO2e), coverage, caution, reason.
    """
    about = ["value", "coverage", "caution", "reason"]
    found = crossed(asked, "kg_co2e", dimension, "data_status")[[dimension, "data_status", *about]]
    return found.set_axis(["label", "status", *about], axis=1).dropna(subset=["label"])


@remembered
def lanes(asked: PageQuestion) -> pd.DataFrame:
    """List lanes between places with coordinates, heaviest first; modes of one lane together."""
    found = analyses.lanes(opened(asked.source), question_of(asked, "lanes"))
    ends = [f"{end}_{part}" for end in ("from", "to") for part in ("name", "longitude", "latitude")]
    sums = found.groupby([*ends, "caution", "reason"], as_index=False)[["kg_co2e", "parcels", "legs"]].sum()
    return sums.sort_values("kg_co2e", ascending=False, ignore_index=True)


def parameter(name: str) -> float:
    """Give a parameter of data/costs.csv by its name, what it applies to after a dot."""
    return factors.parameter(*name.partition(".")[::2])


@remembered
def tornado(asked: PageQuestion) -> pd.DataFrame:
    """List what makes the total's interval wide, widest first, and what measuring it costs and takes off.

    Columns as `analyses.tornado` gives them.
    """
    found = analyses.tornado(opened(asked.source), question_of(asked, "kg_co2e"))
    return found[found["share"] >= DOUBTED].head(SHOWN_DOUBTS)


@remembered
def parcels(asked: PageQuestion) -> pd.DataFrame:
    """Count parcels by what they emit, all in."""
    return analyses.parcels(opened(asked.source), question_of(asked, "parcels"))


@remembered
def levers(asked: PageQuestion) -> pd.DataFrame:
    """List levers on the returns of the period."""
    return analyses.levers(opened(asked.source), question_of(asked, "levers"))


def lever_kg(found: pd.DataFrame) -> pd.DataFrame:
    """Give each lever's kilograms: label, value."""
    return found.rename(columns={"lever": "label", "kg_co2e": "value"})[["label", "value"]].dropna()


@remembered
def emission_causes(asked: PageQuestion) -> pd.DataFrame:
    """Split the change of emissions per 100 units sold against the days compared with; empty where there are none."""
    if not can_compare(asked) or asked.against is None:
        return pd.DataFrame()
    question = question_of(asked, "kg_co2e_per_100_sold", "change_split").undated()
    return analyses.change_split(
        opened(asked.source), question, period=(asked.since, asked.until), against=asked.against
    )


@remembered
def fates(asked: PageQuestion) -> pd.DataFrame:
    """Give the share of each fate of inspected goods, counted by units, weight and value: label, part, value."""
    found = []
    for counted, key in (("value", "fate_value_share"), ("weight", "fate_weight_share"), ("units", "fate_share")):
        known = cut(asked, key, "disposition")
        known = known[known["status"] == "ok"].dropna(subset=["disposition"])
        found.append(known.assign(label=counted).rename(columns={"disposition": "part"})[["label", "part", "value"]])
    whole = pd.concat(found, ignore_index=True)
    order = {d: i for i, d in enumerate(vocabulary.DISPOSITIONS)}
    return whole.sort_values("part", key=lambda s: s.map(order), ignore_index=True)


def activities(asked: PageQuestion) -> list[str]:
    """Name the activities that emitted."""
    return [str(a) for a in by(asked, "kg_co2e", "activity")["label"].dropna()]


def closed_months(asked: PageQuestion) -> pd.DataFrame:
    """List closed months with what they would be now, newest first."""
    stands_alone(asked)
    return kept(asked.source, closing.restatements).iloc[::-1].reset_index(drop=True)


@remembered
def months_to_close(source: Source) -> list[str]:
    """Name the months that can be closed, newest first."""
    return closing.to_close(opened(source))


def standing(source: Source) -> dict[str, closing.Closed]:
    """Give the closing of each closed month that counts; read anew each time."""
    return closing.standing(whole_shop(source))


def close_month(source: Source, month: str, approver: str, note: str) -> closing.Closed:
    """Close a month, signed by the reader where they are known; raises BackhaulError with what is wrong."""
    settings, reader = whole_shop(source), access.saved("month_closed", month)
    return closing.close(settings, month, reader.name if access.is_on() else approver, note)


def obligations(source: Source) -> pd.DataFrame:
    """List the rules of reporting for the company as of the last day of the data."""
    company = None if source.scope else disclosure.company(Settings(source.warehouse))
    found = disclosure.obligations(company, days(source)[1])
    return pd.DataFrame([asdict(o) for o in found])


def has_company(source: Source) -> bool:
    """Say whether somebody said who reports."""
    return not source.scope and disclosure.company(Settings(source.warehouse)) is not None


def carbon_report(asked: PageQuestion, form: str) -> bytes:
    """Write the carbon report of the period as xlsx or pdf."""
    found = report.gather(whole_shop(asked.source), asked.since, asked.until)
    write = report_files.to_xlsx if form == "xlsx" else report_files.to_pdf
    return write(found)


@remembered
def legs(asked: PageQuestion, activity: str = "") -> pd.DataFrame:
    """List the newest legs behind the emissions, or those of one activity, with their ids."""
    question = question_of(asked, "kg_co2e").under(**({"activity": [activity]} if activity else {}))
    return metrics.rows(opened(asked.source), "kg_co2e", question, limit=200)


def trace(asked: Source, leg_id: str) -> dict[str, Any]:
    """Trace one leg: formula, numbers, factor, source."""
    return analyses.trace(opened(asked), leg_id)


@remembered
def outlines() -> list[list[list[float]]]:
    """Read the outlines of countries: lines of longitude and latitude."""
    lines: list[list[list[float]]] = json.loads(Path(__file__).with_name("outlines.json").read_text(encoding="utf-8"))[
        "lines"
    ]
    return lines
