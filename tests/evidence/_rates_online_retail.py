"""Final rates on real invoices: said as of 31 May 2011, against what had come by 31 August.

The file has no deliveries, so the clock starts at the invoice; a credit is bound to a purchase by rule, one within the
hour of its purchase is an order-entry cancellation and no return. Units are wholesale: a few credits of hundreds move a
month's rate, which is why the intervals are wide.
"""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from pipelines import analyses
from pipelines.load import load
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from tests.evidence import Claim

FILE = "uci_online_retail/online_retail_2010-12_to_2011-08.parquet"
DAYS = (date(2011, 8, 31) - date(2011, 5, 31)).days


def claims() -> Iterator[Claim]:
    """Load the months, ask what would have been said, and lay what came beside it."""
    with TemporaryDirectory() as folder:
        settings = Settings(warehouse=Path(folder) / "warehouse")
        load(settings, [Path(os.environ["BACKHAUL_TEST_DATA"]) / FILE], source="online_retail")
        build = current_build(settings.warehouse)
        said = analyses.backtest(build, days_ago=(DAYS,))
        build.close()
    said = said[said["status"] == "ok"]
    for row in said.itertuples():
        yield Claim(
            f"Online Retail, orders of {pd.Timestamp(row.month):%B %Y}: what was said on 31 May 2011",
            "the 90% interval holds what had come by 31 August",
            f"{row.projected:.2%} ({row.low:.2%} to {row.high:.2%}) at maturity {row.maturity_then:.2f}; come by then"
            f" {row.observed_then:.2%}, by 31 August {row.observed_now:.2%}; error"
            f" {100 * (row.projected - row.observed_now):+.2f} points",
            bool(row.low <= row.observed_now <= row.high),
        )
    error, naive = ((said[c] - said["observed_now"]).abs().mean() for c in ("projected", "observed_then"))
    young = said[said["maturity_then"] < 0.95]
    young_error, young_naive = ((young[c] - young["observed_now"]).abs().mean() for c in ("projected", "observed_then"))
    yield Claim(
        f"Online Retail, mean error of the {len(said)} months",
        "under that of the share returned so far",
        f"{100 * error:.3f} against {100 * naive:.3f} points; of the {len(young)} months under maturity .95"
        f" {100 * young_error:.3f} against {100 * young_naive:.3f}",
        bool(error < naive and len(said) >= 4),
    )
    kept, came = said["to_come"].sum(), said["came_since"].sum()
    yield Claim(
        "Online Retail, units still to come on 31 May of those months",
        "within the summed 90% bounds",
        f"{kept:,.0f} said, {came:,.0f} came by 31 August",
        bool(said["to_come_low"].sum() <= came <= said["to_come_high"].sum()),
    )
