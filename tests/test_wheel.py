"""What is installed: one package beside none of a stranger's names, the same numbers, and the way in from Python."""

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import TINY_SHOP, write_rows

import backhaul
from pipelines import metrics
from pipelines.metrics import Question
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build

ROOT = Path(__file__).parents[1]
STRANGERS = ("models", "pipelines", "dashboard", "data", "tests")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked and modules of a stranger beside it that must not be imported."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    for name in STRANGERS:
        (folder / "site" / f"{name}.py").write_text("raise SystemExit('a stranger was imported')\n")
    return folder / "site"


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_installs_one_package(installed: Path) -> None:
    found = {p.name for p in installed.iterdir()} - {f"{n}.py" for n in STRANGERS}
    assert {n for n in found if not n.endswith(".dist-info")} == {"backhaul"}
    assert {p.name for p in (installed / "backhaul").iterdir()} >= {"models", "pipelines", "dashboard"}
    shipped = {p.relative_to(ROOT / "data") for p in (ROOT / "data").rglob("*") if p.is_file()}
    packed = installed / "backhaul" / "pipelines" / "_data"
    assert {p.relative_to(packed) for p in packed.rglob("*") if p.is_file()} == shipped
    entry = next(installed.glob("*.dist-info/entry_points.txt")).read_text()
    assert "backhaul = backhaul.cli:main" in entry


def test_every_module_of_the_wheel_is_the_repository_s_but_for_its_imports(installed: Path) -> None:
    for package in ("models", "pipelines", "dashboard"):
        for path in (ROOT / package).rglob("*.py"):
            ours = path.read_text("utf-8").splitlines()
            theirs = (installed / "backhaul" / path.relative_to(ROOT)).read_text("utf-8").splitlines()
            assert len(ours) == len(theirs)
            for mine, other in zip(ours, theirs, strict=True):
                assert mine == other or mine == re.sub(
                    r"\bfrom backhaul\.(?=models|pipelines|dashboard)", "from ", other
                )


def test_what_is_installed_loads_answers_and_is_read_from_python(installed: Path, tmp_path: Path) -> None:
    for log, rows in TINY_SHOP.items():
        write_rows(tmp_path / "files" / f"{log}.csv", rows)
    command = "import sys, backhaul.cli; sys.argv = ['backhaul', *sys.argv[1:]]; backhaul.cli.main()"
    loaded = run(installed, tmp_path, "-c", command, "load", "files")
    assert loaded.returncode == 0, loaded.stderr
    asked = run(installed, tmp_path, "-c", command, "metric", "sold_units", "--format", "json")
    assert asked.returncode == 0, asked.stderr
    read = run(
        installed,
        tmp_path,
        "-c",
        "import backhaul, sys\nwith backhaul.connect('warehouse') as shop:\n"
        "    print(shop.metric('sold_units')['value'].iloc[0])\n"
        f"print([m for m in sys.modules if m.split('.')[0] in {STRANGERS!r}])",
    )
    assert read.returncode == 0, read.stderr
    value, strangers = read.stdout.split("\n", 1)
    assert float(value) == json.loads(asked.stdout)[0]["value"] > 0
    assert strangers.strip() == "[]"


def test_a_module_that_a_wheel_cannot_rewrite_is_refused() -> None:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    hook: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    assert hook.within("def f():\n    from models.rates import wilson as w\n    return 'from models import x'\n") == (
        "def f():\n    from backhaul.models.rates import wilson as w\n    return 'from models import x'\n"
    )
    assert hook.within("import modelsx\nfrom . import models\n") == "import modelsx\nfrom . import models\n"
    with pytest.raises(ValueError, match="line 1"):
        hook.within("import pipelines.load\n")


def test_python_gives_what_the_pages_give(sample_settings: Settings) -> None:
    with backhaul.connect(sample_settings.warehouse) as shop, current_build(sample_settings.warehouse) as build:
        asked = Question(where={"country": ["FR"]})
        found = shop.metric("ultimate_return_rate", by="category", where={"country": "FR"}, since="2025-06-01")
        whole = metrics.answer(
            build, "ultimate_return_rate", asked.but(since=pd.Timestamp("2025-06-01").date()), by=("category",)
        )
        assert list(found) == ["category", "value", "low", "high", "n", "coverage", "unit", "status", "why"]
        assert found["value"].equals(whole["value"])
        assert found["why"].equals(whole["reason"])
        rows = shop.rows("returned_units", where={"country": ["FR"]}, limit=None)
        assert math.isclose(rows["counted"].sum(), shop.metric("returned_units", where={"country": "FR"})["value"][0])
        listed = shop.catalogue()
        assert list(listed["key"]) == [m.key for m in metrics.catalogue()]
        assert "FR" in shop.values("sold_units", "country")
        for wrong in (
            {"where": {"nonsense": ["1"]}},
            {"where": {"country": ["XX"]}},
            {"since": "June"},
            {"by": "nonsense"},
        ):
            with pytest.raises(backhaul.BackhaulError):
                shop.metric("sold_units", **wrong)
    with pytest.raises(backhaul.BackhaulError, match="warehouse"):
        backhaul.connect(sample_settings.warehouse / "not" / "there")


def test_the_notebook_runs(sample_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sample_settings.warehouse.parent)
    assert sample_settings.warehouse.name == "warehouse"
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    for cell in cells:
        exec(compile(cell, "notebook", "exec"), names)
    assert len(names["rates"]) > 3
    assert all(not cell.get("outputs") for cell in notebook["cells"])
