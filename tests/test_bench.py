"""What `make bench` compares: peers that give the numbers of a build, and a difference that would be seen."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import fresh

from pipelines.load import load
from pipelines.sample import write_sample
from tests.bench import fair
from tests.bench.ratios import Cost, Ratio


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "files"
    write_sample(folder, 2_000, 7, dirt=False)
    return folder


@pytest.fixture(scope="module")
def ours(files: Path, tmp_path_factory: pytest.TempPathFactory) -> fair.Numbers:
    settings = fresh(tmp_path_factory.mktemp("bench-warehouse"))
    load(settings, [files], source="canonical")
    return fair.of_build(settings.warehouse)


@pytest.mark.parametrize("peer", ["duckdb", "pandas"])  # polars is in an environment of its own
def test_a_peer_gives_every_number_of_a_build(peer: str, files: Path, ours: fair.Numbers, tmp_path: Path) -> None:
    out = tmp_path / "numbers.csv"
    subprocess.run([sys.executable, str(fair.PEERS / f"by_{peer}.py"), str(files), str(out)], check=True)
    theirs = fair.of_file(out)
    assert fair.differing(ours, theirs) == []
    assert {number for number, _ in ours} == {"rate", "promise", "cost"}
    assert len(ours) > 60
    key, (part, whole) = next(iter(theirs.items()))
    assert fair.differing(ours, theirs | {key: (part + 0.01, whole)}) == [
        f"{key}: {ours[key]} and {(part + 0.01, whole)}"
    ]


def test_a_table_of_peers_says_what_each_took_and_how_many_numbers_agree() -> None:
    rows = fair.table({"backhaul": Cost(12.34, 20.0, 1.5), "dlt, loading alone": Cost(1.0, 2.0, 0.25)}, 72, 6.7)
    assert "| backhaul | 12.3 | 20.0 | 1.50 | 72 of 72 |" in rows
    assert "| dlt, loading alone | 1.0 | 2.0 | 0.25 |  |" in rows
    assert rows[-1].endswith("after 6.7 s of its wall time.")
    assert (Ratio("load", "it", 2.4, 2.5).holds, Ratio("load", "it", 2.6, 2.5).holds) == (True, False)
