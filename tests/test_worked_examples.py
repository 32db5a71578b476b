"""Published worked examples, from files and commands to their digits.

Each folder of tests/fixtures/worked holds what is loaded (`files`), the example's own factors where it has some, and
its answer with where it was published.
"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli.app import app
from tests.turns import left_to_proofs

pytestmark = pytest.mark.usefixtures("no_rules")

WORKED = sorted(p for p in (Path(__file__).parent / "fixtures" / "worked").iterdir() if p.is_dir())


def run(*words: str) -> str:
    found = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.mark.parametrize("folder", [*WORKED[::2], *map(left_to_proofs, WORKED[1::2])], ids=lambda p: p.name)
def test_an_example_gives_its_printed_digits(folder: Path, tmp_path: Path) -> None:
    answer = (folder / "answer.txt").read_text().splitlines()[0]
    here = ["--warehouse", str(tmp_path / "warehouse")]
    if (folder / "factors.csv").exists():
        run("factors", "import", str(folder / "factors.csv"), "--set", "own", *here)
        run("factors", "use", "own", *here)
    run("load", str(folder / "files"), *here)
    told = json.loads(run("explain", "R1", "--format", "json", *here))
    decimals = len(answer.partition(".")[2])
    assert f"{told['kg_co2e']:.{decimals}f}" == answer
    assert not [leg for parcel in told["parcels"] for leg in parcel["legs"] if leg["kg_co2e"] is None]
