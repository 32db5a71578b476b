"""Signals that last: what began lately and has not ended, as sentences, the gravest first. No Streamlit.

A signal comes from a control chart, an alert or a drift of delays. It has a first day, a least number of cases and an
interval that it stands out of. Those that touch the law come first, then by money, then by kilograms, then the newest.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dashboard.i18n import Words
from dashboard.shared.findings import FEWEST, Finding, told
from pipelines.metrics import Metric

OF_LAW = frozenset({"legal_refund", "legal_refund_kept", "refunds_due_soon", "late_refund_surcharge"})
OF_UNIT = {"kg CO2e": "kg"}


@dataclass(frozen=True)
class Signal:
    """Something that began on a day and lasts: what it says, whether law is touched, and what is at stake."""

    finding: Finding
    since: dt.date
    is_of_law: bool = False
    money: float = 0.0
    kg: float = 0.0


def gravest(signals: Sequence[Signal]) -> list[Signal]:
    """Order signals: law, money, kilograms, the newest.

    >>> old, new = (Signal(Finding("late", str(year), 0.0), dt.date(year, 1, 1)) for year in (2025, 2026))
    >>> [s.finding.sentence for s in gravest([old, new])]
    ['2026', '2025']
    """
    return sorted(signals, key=lambda s: (not s.is_of_law, -s.money, -s.kg, -s.since.toordinal()))


def behind(words: Words, promise: str, weeks: pd.DataFrame, money: float) -> Signal | None:
    """Say since when a promise is kept less often than chance explains, up to the last week that is settled.

    `weeks` as `analyses.control_chart` gives them; None where the last settled week is within its limits, or where
    too few promises fell due since.
    """
    settled = weeks[~weeks["is_young"].astype(bool) & (weeks["n"] > 0)].reset_index(drop=True)
    if settled.empty:
        return None
    is_below = settled["signal"].astype(str).str.endswith("below")
    within = is_below[~is_below]
    lasting = settled.loc[(within.index[-1] + 1 if len(within) else 0) :]
    if lasting.empty or lasting["n"].sum() < FEWEST:
        return None
    since = pd.Timestamp(lasting["week"].iloc[0])
    said = told(
        words,
        "today.behind",
        lasting,
        promise=words.value("promise", promise),
        day=words.day(since),
        share=words.percent(lasting["kept"].sum() / lasting["n"].sum(), 0),
        before=words.percent(lasting["centre"].iloc[-1], 0),
    )
    link = (("part", "control"), ("promise", promise))
    return Signal(Finding("delays", said, 0.0, link), since.date(), promise in OF_LAW, money)


def alarmed(words: Words, alert: dict[str, Any], finding: Finding, metric: Metric) -> Signal | None:
    """Make a signal of an alert that says that a number is worse; None for one without an interval, or good news."""
    rule = alert["rule"]
    is_bad = rule.test in ("worse", "unkeepable") or (rule.test, metric.good) in (("above", "down"), ("below", "up"))
    if not is_bad or pd.isna(alert["low"]) or pd.isna(alert["high"]):
        return None
    since = pd.Timestamp(alert["since"] or alert["since_at"]).date()
    other = alert["previous"] if pd.notna(alert["previous"]) else rule.bound
    gap, unit = abs(float(alert["value"]) - float(other or 0.0)), str(alert["unit"])
    is_money = len(unit) == 3 and unit.isupper()
    touched = {metric.key, *map(str, alert["cell"].values())}
    plain = Finding(finding.page, finding.sentence.replace("**", ""), 0.0, finding.link)
    return Signal(plain, since, bool(touched & OF_LAW), gap if is_money else 0.0, gap if unit in OF_UNIT else 0.0)


def drifted(words: Words, drifts: pd.DataFrame) -> list[Signal]:
    """Make a signal of each delay of returns that no longer follows its curve."""
    found = []
    for row in drifts[drifts["is_drifting"].astype(bool)].to_dict("records") if len(drifts) else ():
        where = words("finding.everywhere") if pd.isna(row["category"]) else words.value("category", row["category"])
        said = words(
            "today.drift",
            where=where,
            day=words.day(pd.Timestamp(row["since_on"])),
            factor=words.percent(abs(row["factor"] - 1), 0),
            way=words("finding.later" if row["factor"] > 1 else "finding.earlier"),
        )
        since = pd.Timestamp(row["since_on"]).date()
        found.append(Signal(Finding("returns", said, 0.0, (("part", "speed"),)), since))
    return found


def every(
    words: Words,
    charts: dict[str, tuple[pd.DataFrame, float]],
    alerts: Sequence[tuple[dict[str, Any], Finding]],
    drifts: pd.DataFrame,
    of: Callable[[str], Metric],
) -> list[Signal]:
    """List every signal that lasts, the gravest first.

    `charts` are control charts by promise with the money that waits under it, `of` gives the metric of a key.
    """
    found = [behind(words, promise, weeks, money) for promise, (weeks, money) in charts.items()]
    found += [alarmed(words, row, finding, of(row["rule"].metric)) for row, finding in alerts]
    return gravest([*(signal for signal in found if signal is not None), *drifted(words, drifts)])
