"""Each metric's sums agree with SQL written by hand: the yardstick of `make bench` is an oracle of the metrics too."""

from collections import Counter
from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
import pytest
from handwritten import HANDWRITTEN

from pipelines.metrics import catalogue, measure_names, statistics
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.engine import Build


@pytest.fixture(scope="module")
def by_hand(tiny_settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    name = current_id(tiny_settings.warehouse)
    assert name
    connection = duckdb.connect(str(build_path(tiny_settings.warehouse, name)), read_only=True)
    yield connection
    connection.close()


def sums(frame: pd.DataFrame, measures: tuple[str, ...]) -> dict[tuple[str, ...], np.ndarray]:
    """Give the sums of each group; a missing sum is 0, and a group of nothing is no group."""
    groups = sorted(c for c in frame.columns if c not in measures)
    found: dict[tuple[str, ...], np.ndarray] = {}
    for _, row in frame.iterrows():
        values = np.array([0.0 if pd.isna(row[m]) else float(row[m]) for m in measures])
        key = tuple(
            "" if pd.isna(row[g]) else f"{row[g]:.6f}" if isinstance(row[g], int | float) else str(row[g])
            for g in groups
        )
        if values.any():
            assert key not in found, f"group {key} comes twice"
            found[key] = values
    return found


def test_every_metric_is_written_by_hand() -> None:
    assert Counter(list(HANDWRITTEN)) == Counter(m.key for m in catalogue())


@pytest.mark.parametrize("key", HANDWRITTEN)
def test_metric_agrees_with_sql_written_by_hand(
    tiny_build: Build, by_hand: duckdb.DuckDBPyConnection, key: str
) -> None:
    by, sql = HANDWRITTEN[key]
    declared, written = tiny_build.fetch(statistics(tiny_build, key, by=by)), by_hand.execute(sql).df()
    assert sorted(declared.columns) == sorted(written.columns)
    ours, theirs = (sums(frame, measure_names(key)) for frame in (declared, written))
    assert ours.keys() == theirs.keys()
    for group, values in ours.items():
        np.testing.assert_allclose(values, theirs[group], rtol=1e-9, atol=1e-12, err_msg=f"{key} of {group}")
