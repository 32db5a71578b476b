"""A log with two dates a row, made of real invoices.

Judged with a mapping file alone and counted again without Backhaul.

The log: of Online Retail, every customer and article bought once and credited once later (purchase, credit), and 300
bought once and never credited, so still open. Each promise is mapped as a stage from the first date to the second.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import holidays
import numpy as np
import pandas as pd

from pipelines import metrics
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from tests.evidence import Claim

FILE = "uci_online_retail/online_retail_2010-12_to_2011-08.parquet"
PROMISES = ((14, "calendar_days"), (72, "clock_hours"), (5, "business_days"))
OPEN = 300
ONLY = {"promise": ["credit"]}
MAPPING = """
name: two_dates
time_zone: Europe/London
constants: {{currency: GBP, country: GB}}
tables:
  - file: "log.csv"
    to:
      return_event:
        return_line_id: Row
        return_id: Row
        product_id: Article
        events: {{received: Bought, refunded: Credited}}
        promise: {{name: credit, from: received, to: refunded, within: {within}, unit: {unit}}}
"""


def log(data: Path) -> pd.DataFrame:
    """Make the log: Row, Article, Bought, Credited (missing while open), in local time."""
    rows = pd.read_parquet(data / FILE).dropna(subset=["CustomerID"])
    keys = ["CustomerID", "StockCode"]
    is_credit = rows["InvoiceNo"].str.startswith("C") & (rows["Quantity"] < 0)
    bought = rows[rows["Quantity"] > 0].groupby(keys)["InvoiceDate"].agg(["min", "size"])
    credited = rows[is_credit].groupby(keys)["InvoiceDate"].agg(["min", "size"])
    both = bought[bought["size"] == 1].join(credited.rename(columns={"min": "credited", "size": "credits"}), how="left")
    pairs = both[(both["credits"] == 1) & (both["credited"] > both["min"])]
    still = both[both["credits"].isna()].sort_index().iloc[:: max(len(both) // OPEN, 1)].head(OPEN)
    found = pd.concat([pairs, still]).reset_index()
    return pd.DataFrame(
        {
            "Row": [f"{c}-{s}" for c, s in zip(found["CustomerID"], found["StockCode"], strict=True)],
            "Article": found["StockCode"],
            "Bought": found["min"],
            "Credited": found["credited"],
        }
    )


def by_hand(rows: pd.DataFrame, within: int, unit: str) -> tuple[int, int, int]:
    """Count kept, broken and not yet due with pandas and NumPy's business days alone."""
    now = max(rows["Bought"].max(), rows["Credited"].max())
    start = rows["Bought"].dt.normalize()
    if unit == "clock_hours":
        due = rows["Bought"] + pd.Timedelta(hours=within)
    elif unit == "calendar_days":
        due = start + pd.Timedelta(days=within + 1) - pd.Timedelta(microseconds=1)
    else:
        free = sorted(holidays.country_holidays("GB", years=range(2010, 2013)))
        day = np.busday_offset(
            start.to_numpy("datetime64[D]"), within, roll="backward", holidays=np.array(free, "datetime64[D]")
        )
        due = pd.Series(pd.to_datetime(day)) + pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
    late = rows["Credited"].isna() & (due <= now) | (rows["Credited"] > due)
    kept = (rows["Credited"] <= due) & (due <= now)
    return int(kept.sum()), int(late.sum()), int(len(rows) - kept.sum() - late.sum())


def claims() -> Iterator[Claim]:
    """Claim, promise by promise, that the page counts what the log counts."""
    rows = log(Path(os.environ["BACKHAUL_TEST_DATA"]))
    for within, unit in PROMISES:
        kept, broken, running = by_hand(rows, within, unit)
        with tempfile.TemporaryDirectory() as place:
            mapping = Path(place) / "mapping.yaml"
            mapping.write_text(MAPPING.format(within=within, unit=unit), encoding="utf-8")
            rows.to_csv(Path(place) / "log.csv", index=False, date_format="%Y-%m-%d %H:%M:%S")
            settings = Settings(warehouse=Path(place) / "warehouse")
            report = load(settings, [Path(place) / "log.csv"], source=str(mapping))
            with current_build(settings.warehouse) as build:
                share = metrics.answer(build, "promise_kept", Question(where=ONLY)).iloc[0]
                others = [
                    metrics.answer(build, f"promise_{s}", Question(where=ONLY))["value"].iloc[0]
                    for s in ("broken", "undetermined")
                ]
        found = tuple(round(float(x)) for x in (share["value"] * share["n"], *others))
        accepted, dates = sum(c["accepted"] for c in report.counts), len(rows) + int(rows["Credited"].notna().sum())
        yield Claim(
            f"A log of two dates ({len(rows):,} rows of real invoices, {OPEN} open), within {within}"
            f" {unit.replace('_', ' ')}: on-time shares are the log's own",
            f"kept {kept:,}, broken {broken:,}, running {running:,} of {dates:,} dates",
            f"kept {found[0]:,}, broken {found[1]:,}, running {found[2]:,} of {accepted:,} dates ({share['value']:.1%}"
            " on time)",
            found == (kept, broken, running) and accepted == dates,
        )
