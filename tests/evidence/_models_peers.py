"""The return model beside LightGBM and CatBoost at their defaults: the same lines, the same features, later lines.

They stand in an environment of their own (`.venv/boosting`, requirements-boosting.lock) and see the product's matrix
alone. Shops are those of tests/return_worlds.py, of seeds that nothing was chosen by.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from models.model_judgement import area_under_curve
from models.model_training import GAP_DAYS, train
from pipelines.estimate.probability import lines_of
from tests import return_worlds
from tests.evidence import Claim
from tests.evidence._models_probability import counted

PEERS = ("LightGBM", "CatBoost")
PYTHON = Path(sys.prefix) / "boosting" / "bin" / "python"
SEEDS, FIRST_SEED, MOST = 5, 93_000, 0.002
LINES = {"the design's world": 200_000, "a world of fit, brackets and serial buyers": 100_000}


def areas(frame: pd.DataFrame, python: Path = PYTHON, judged: float = 0.85) -> dict[str, float]:
    """Train ours and theirs on the earlier days, and give each one's area on the later ones."""
    with return_worlds.as_build(frame) as connection:
        counted(connection)
        lines, rates, _ = lines_of(connection, "shop_n >= 200")
    first = np.quantile(lines.day, judged)
    seen, later = (lines.day <= first - GAP_DAYS) & (lines.day >= lines.day.min() + GAP_DAYS), lines.day > first
    ours = train(lines.of(seen), {n: r[seen] for n, r in rates.items()}).model.margin(lines.x[later])
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "lines.npz"
        np.savez(given, seen=lines.x[seen], came=lines.share[seen] > 0.5, later=lines.x[later])
        script = Path(__file__).with_name("_boosting.py")
        done = subprocess.run([python, script, given], capture_output=True, text=True, check=True)
    said = {"ours": ours, **json.loads(done.stdout)}
    return {name: area_under_curve(lines.share[later], np.asarray(p)) for name, p in said.items()}


def claims(seeds: int = SEEDS, python: Path = PYTHON) -> Iterator[Claim]:
    """Claim that neither orders later lines better by more than .002 of area, on the mean of the seeds."""
    bar = f"not below either by more than {MOST}"
    for name, lines in LINES.items():
        claim = f"AUC beside LightGBM and CatBoost at their defaults, {name} ({seeds} seeds of {lines:,} lines)"
        if not python.exists():
            yield Claim(claim, bar, "not measured: make evidence makes .venv/boosting", False)
            continue
        world = return_worlds.design if "design" in name else return_worlds.fitting
        found = pd.DataFrame([areas(world(FIRST_SEED + i, lines), python) for i in range(seeds)])
        behind = {peer: float((found[peer] - found["ours"]).mean()) for peer in PEERS}
        figure = ", ".join(f"{peer} {found[peer].mean():.4f} ({gap:+.4f})" for peer, gap in behind.items())
        yield Claim(claim, bar, f"{found['ours'].mean():.4f}; {figure}", max(behind.values()) <= MOST)
