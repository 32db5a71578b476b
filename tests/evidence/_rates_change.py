"""The parts of a change add up, over random periods and filters of a sample shop."""

import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from pipelines import analyses
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from tests.evidence import Claim

TRIALS = 100
FILTERS: tuple[dict[str, list[str]], ...] = (
    {},
    {"country": ["FR"]},
    {"country": ["DE", "AT"], "channel": ["web"]},
    {"category": ["dresses"]},
    {"brand": ["Atelier Ondine"]},
)
CUTS = (("category",), ("category", "country", "channel"), ("channel", "brand"), ("style_id",))


def claims() -> Iterator[Claim]:
    """Decompose the change between random pairs of periods and compare the sum of the parts with the change."""
    with tempfile.TemporaryDirectory(prefix="backhaul-evidence-") as folder:
        settings = Settings(warehouse=Path(folder) / "warehouse")
        write_sample(Path(folder) / "raw", 60_000, 19)
        load(settings, [Path(folder) / "raw"])
        rng = np.random.default_rng(190)
        worst, worst_bridge, used = 0.0, 0.0, 0
        with current_build(settings.warehouse) as build:
            for _ in range(TRIALS):
                starts = [date(2024, 2, 1) + timedelta(days=int(d)) for d in rng.integers(0, 700, 2)]
                spans = rng.integers(3, 180, 2)
                period, against = ((s, s + timedelta(days=int(n))) for s, n in zip(starts, spans, strict=True))
                where, by = FILTERS[int(rng.integers(len(FILTERS)))], CUTS[int(rng.integers(len(CUTS)))]
                found = analyses.rate_change(build, period, against, Question(where=where), by=by).set_index("effect")[
                    "points"
                ]
                if not len(found):
                    continue
                used += 1
                parts = found.drop(["previous", "current"]).sum()
                worst = max(worst, abs(parts - (found["current"] - found["previous"])))
                table = analyses.reconciliation(build, period, Question(where=where))
                for _, steps in table.groupby("bridge"):
                    value = steps["value"].to_numpy()
                    worst_bridge = max(worst_bridge, abs(value[:-1].sum() - value[-1]))
    yield Claim(
        "Decomposition: the parts of a change add up to it",
        "to 1e-9, over random periods, filters and cuts",
        f"at most {worst:.1e} apart over {used} of {TRIALS} random pairs with sales in both",
        worst <= 1e-9 and used >= TRIALS // 2,
    )
    yield Claim(
        "Reconciliation: the steps between the three days, the money and a shop system's figure add up",
        "to the cent",
        f"at most {worst_bridge:.4f} apart over {used} periods",
        worst_bridge < 0.005,
    )
