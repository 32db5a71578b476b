"""What the judgement of a return model says: its measures, splits, calibration, decisions, slices, drift and versions.

Here: the frames that a page and `backhaul model` show, read from what was stored when the model was fitted, and the
drift of the build at hand. Nothing is fitted or judged anew.
"""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Integer, cast, func, literal, select

from models.model_judgement import FEWEST_LINES, Month, stability
from pipelines.analyses.return_probability import current_models
from pipelines.estimate.probability import Version, version_of
from pipelines.warehouse.engine import Build, literal_instant
from pipelines.warehouse.star import STAR

PARTS = ("overview", "splits", "curve", "decisions", "slices", "importance", "dependence", "leaks", "drift", "versions")
DRIFT_DAYS = 28
SHIFTED = 0.25
"""Population stability index above which the lines of late are another population; a convention of credit scoring."""
DAY_ZERO = date(2000, 1, 1)
_MATURE_DAYS = 75  # after an order its window and three weeks have passed in nearly all cases


def models(build: Build) -> dict[str, Version]:
    """Give the model in use of each source."""
    return current_models(build)


def part(build: Build, version: Version, name: str) -> pd.DataFrame:
    """Give one of `PARTS` of what is known of a model; empty where it was not judged."""
    if name == "drift":
        return drift(build, version)
    if name == "versions":
        return versions(build, version.source)
    return judged_part(version, name)


def judged_part(version: Version, name: str) -> pd.DataFrame:
    """Give one of `PARTS` that rests on the training alone; empty where it was not judged."""
    if name == "leaks":
        return pd.DataFrame(version.parameters["leaks"], columns=["feature", "reason"])
    judgement = version.parameters["judgement"]
    if judgement is None:
        return pd.DataFrame()
    if name == "overview":
        return _overview(version, judgement)
    if name == "importance":
        found = sorted(judgement["importance"].items(), key=lambda item: -item[1])
        return pd.DataFrame([{"feature": f, "loses_auc": v} for f, v in found if v])
    frame = pd.DataFrame(judgement[name])
    for column in ("first_day", "last_day"):
        if column in frame:
            frame[column] = [DAY_ZERO + timedelta(days=int(d)) for d in frame[column]]
    return frame


def _overview(version: Version, judgement: dict[str, Any]) -> pd.DataFrame:
    """Give each measure with its interval where it has one."""

    def measure(name: str, value: Any, low: Any = None, high: Any = None) -> dict[str, Any]:
        return {"measure": name, "value": value, "low": low, "high": high}

    gate, error = judgement["gate"], judgement["calibration"]
    rows = [
        measure("lines_learnt_from", float(judgement["rows"])),
        measure("lines_judged", float(judgement["test_rows"])),
        measure("auc", judgement["auc"]),
        *(measure(f"auc_of_{base}_rate", auc) for base, auc in judgement["base_auc"].items()),
        measure("log_loss", judgement["log_loss"]),
        *(measure(f"log_loss_of_{kind}", loss) for kind, loss in judgement["scores"].items()),
        measure(f"gain_on_{gate['base']}_rate", gate["share"], gate["low"]),
        *(
            measure(f"brier_skill_on_{base}_rate", *(s[n] for n in ("value", "low", "high")))
            for base, s in judgement["skill"].items()
        ),
        measure("calibration_error", error["value"], error["low"], error["high"]),
        measure("month_level_sd", judgement["level_sd"]),
    ]
    return pd.DataFrame(rows)


def versions(build: Build, source: str) -> pd.DataFrame:
    """List the models of a source, the newest first, with the build's observation time they were fitted at."""
    c = STAR.tables["model_version"].c
    rows = build.fetch(
        select(c.model_id, c.fitted_at, c.is_used, c.parameters)
        .where(c.model == "return_probability")
        .order_by(c.fitted_at.desc())
    )
    found = []
    for row in rows.itertuples(index=False, name=None):
        version = version_of(*row)
        if version.source == source:
            judgement = version.parameters["judgement"] or {}
            found.append(
                {
                    "model_id": version.model_id,
                    "fitted_at": version.fitted_at,
                    "kind": version.model.kind,
                    "auc": judgement.get("auc"),
                    "log_loss": judgement.get("log_loss"),
                    "is_promoted": bool(version.parameters["is_promoted"]),
                    "is_used": version.is_used,
                    "reason": version.why_not,
                }
            )
    return pd.DataFrame(found)


def drift(build: Build, version: Version) -> pd.DataFrame:
    """Say whether the lines of late are like those the model was judged on, and whether what was expected came.

    `stability` is the population stability index of the probabilities of the last 28 days against those judged; then
    the months of lines old enough, expected against observed. `is_drifting` where the index is above `SHIFTED`, or what
    came lies further off than chance and the usual spread of months let it.
    """
    judgement = version.parameters["judgement"]
    if judgement is None or not version.is_used:
        return pd.DataFrame()
    scored, lines = STAR.tables["estimate_return_probability"], STAR.tables["fact_order_line"]
    observed = build.fetch(select(func.max(lines.c.ordered_at).label("at")).where(lines.c.source == version.source))[
        "at"
    ].iloc[0]
    joined = scored.join(lines, lines.c.order_line_key == scored.c.order_line_key)
    late = observed.to_pydatetime() - timedelta(days=DRIFT_DAYS)
    probabilities = build.fetch(
        select(scored.c.probability)
        .select_from(joined)
        .where(lines.c.source == version.source, lines.c.ordered_at > literal_instant(late))
    )["probability"].to_numpy(float)
    counts = np.bincount(np.searchsorted(judgement["deciles"], probabilities), minlength=10)
    index = stability(np.full(10, 100.0), counts * 1000 / max(counts.sum(), 1))
    is_enough = len(probabilities) >= FEWEST_LINES
    rows: list[dict[str, Any]] = [
        {
            "measure": "stability",
            "month": None,
            "lines": len(probabilities),
            "value": index if is_enough else None,
            "expected": None,
            "observed": None,
            "is_drifting": bool(is_enough and index > SHIFTED),
        }
    ]
    return pd.DataFrame([*rows, *_months(build, version, joined, observed.to_pydatetime())])


def _months(build: Build, version: Version, joined: Any, observed: Any) -> list[dict[str, Any]]:
    """Compare expected with observed by month of order, of lines ordered after those the model was fitted on."""
    scored, lines = STAR.tables["estimate_return_probability"], STAR.tables["fact_order_line"]
    month = cast(func.extract("year", lines.c.ordered_on), Integer) * 12 + cast(
        func.extract("month", lines.c.ordered_on), Integer
    )
    returned = STAR.tables["fact_return_line"]
    units = (
        select(returned.c.order_line_key, func.sum(returned.c.units).label("units"))
        .where(returned.c.is_headline, returned.c.confirmed_at.is_not(None), returned.c.date_fault.is_(None))
        .group_by(returned.c.order_line_key)
        .subquery()
    )
    last = DAY_ZERO + timedelta(days=int(version.parameters["judgement"]["last_day"]))
    p = scored.c.probability
    share = func.least(func.coalesce(units.c.units, literal(0)) * 1.0 / lines.c.units_sold, 1.0)
    rows = build.fetch(
        select(
            month.label("month"),
            func.count().label("lines"),
            func.avg(p).label("expected"),
            func.avg(share).label("observed"),
            func.sum(p * (1 - p)).label("variance"),
        )
        .select_from(joined.outerjoin(units, units.c.order_line_key == lines.c.order_line_key))
        .where(
            lines.c.source == version.source,
            lines.c.ordered_on > literal(last),
            lines.c.ordered_at <= literal_instant(observed - timedelta(days=_MATURE_DAYS)),
        )
        .group_by(month)
        .order_by(month)
    )
    found = []
    names = ["month", "lines", "expected", "observed", "variance"]
    for number, n, expected, came, variance in rows[names].to_numpy(dtype=np.float64):
        each = Month(int(number), int(n), float(expected), float(came), float(variance) ** 0.5 / n)
        name = f"{(each.month - 1) // 12}-{(each.month - 1) % 12 + 1:02d}"
        is_off = bool(n >= FEWEST_LINES) and not each.is_as_expected(version.parameters["level_sd"])
        found.append(
            {
                "measure": "calibration",
                "month": name,
                "lines": each.lines,
                "value": each.observed - each.expected,
                "expected": each.expected,
                "observed": each.observed,
                "is_drifting": is_off,
            }
        )
    return found
