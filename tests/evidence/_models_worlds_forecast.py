"""The next twelve weeks, where they are not those of a year ago.

`backhaul forecast` is asked on a day, and its weeks are held against what came back in them, of orders placed before
and after that day. The naive forecast is what came back in the same weeks a year before, counted in the world itself.
No constant of the forecast was chosen on these worlds.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.evidence import Claim
from tests.evidence._worlds_asked import answers, ask, between, failed, is_labelled, loaded, share, whole
from tests.worlds import Shop, years

SHOPS = 100
LINES = 12_000
WORLDS: dict[str, Callable[..., Shop]] = {
    "a year as the last": years.usual,
    "January": years.january,
    "promotion": years.promotion,
    "growth": years.growth,
    "step": years.step,
}


def asked(world: str, seed: int, folder: Path) -> dict[str, Any]:
    """Ask a shop for its next weeks, and set beside each what came back and what had a year before."""
    shop = WORLDS[world](seed, lines=LINES)
    at = loaded(shop, folder)
    back = shop.confirmed_at().dropna()
    weeks = []
    for row in ask(at, "forecast"):
        first = pd.Timestamp(row["week"])
        came, before = (
            int(((back >= day) & (back < day + pd.Timedelta(days=7))).sum())
            for day in (first, first - pd.Timedelta(days=364))
        )
        weeks.append([row["value"], row["low"], row["high"], came, before, is_labelled(row)])
    return {"shown": len(weeks), "weeks": weeks}


def claims() -> Iterator[Claim]:
    """Hold the weeks that are shown against the bars, and see that a usual year is shown."""
    for world in WORLDS:
        found = answers(__name__, world, SHOPS)
        shops, errors = whole(found), failed(found)
        shown = [a for a in shops if a["shown"]]
        weeks = np.array([w for a in shown for w in a["weeks"]], dtype=float).reshape(-1, 6)
        seen = len(shown) / max(len(shops), 1)
        yield Claim(
            f"Forecast, {world} ({len(shops)} shops, shown in {len(shown)}): 80% intervals cover",
            "70 to 90%, or not shown" if world != "a year as the last" else "70 to 90%, shown in at least 80%",
            _covered(weeks) + errors,
            bool(
                not errors
                and (len(weeks) == 0 or between(_share(weeks), 0.7, 0.9))
                and (world != "a year as the last" or seen >= 0.8)
            ),
        )
        if not len(weeks):
            yield Claim(f"The same, {world}: error", "at most seasonal naive, or not shown", "not shown", not errors)
            continue
        own, naive = (float(np.abs(weeks[:, i] - weeks[:, 3]).sum()) for i in (0, 4))
        yield Claim(
            f"The same, {world}: error",
            "at most seasonal naive, or not shown",
            f"{own / weeks[:, 3].sum():.1%} of what came, seasonal naive {naive / weeks[:, 3].sum():.1%}{errors}",
            bool(not errors and own <= naive),
        )


def _share(weeks: Any) -> float:
    return share((weeks[:, 1] <= weeks[:, 3]) & (weeks[:, 3] <= weeks[:, 2]))


def _covered(weeks: Any) -> str:
    if not len(weeks):
        return "not shown"
    width = float(np.mean((weeks[:, 2] - weeks[:, 1]) / np.maximum(weeks[:, 0], 1)))
    return f"{_share(weeks):.1%}; mean relative width {width:.2f}; labelled {share(weeks[:, 5] > 0):.1%}"
