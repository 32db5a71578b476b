"""The runner of the long proofs: a line a claim, the exit code, and a page that keeps what was not run."""

import pkgutil
import re
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from pathlib import Path

import pytest

from tests import evidence
from tests.evidence import Claim, _kept, run, suite

HOLDS = '''"""Times of a load.

More words.
"""
from tests.evidence import Claim

def claims():
    yield Claim("A load is quick", "at most 4x", "2.1x | median", True)
'''
FALLS_SHORT = """from tests.evidence import Claim

def claims():
    yield Claim("Intervals cover", "87 to 93%", "71%", False)
    raise ValueError("out of seeds")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of two subjects, named after the test so that none is imported twice."""
    name = f"subjects_of_{tmp_path.name}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "run.py").write_text("raise AssertionError('the runner is not a subject')")
    (folder / "first_load.py").write_text(HOLDS)
    (folder / "intervals.py").write_text(FALLS_SHORT)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_every_claim_is_a_line_and_one_that_falls_short_decides(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "evidence.md"
    assert run.main(package, page) == 1
    assert capsys.readouterr().out.splitlines() == [
        "A load is quick: 2.1x | median (bar: at most 4x): holds",
        "Intervals cover: 71% (bar: 87 to 93%): falls short",
        "The subject runs to its end: ValueError after 1 claims (bar: no error): falls short",
    ]
    text = page.read_text()
    assert "## First load\n\nTimes of a load.\n\nMeasured on 20" in text
    assert "| A load is quick | at most 4x | 2.1x \\| median | holds |" in text
    assert "| Intervals cover | 87 to 93% | 71% | falls short |" in text
    assert " cores, " in text


def test_one_subject_alone_leaves_the_other_sections_as_they_were(package: str, tmp_path: Path) -> None:
    page = tmp_path / "evidence.md"
    page.write_text("# Evidence\n\n## Gone\n\nold\n\n## Intervals\n\nas it was\n")
    assert run.main(package, page, only="first_load") == 0
    text = page.read_text()
    assert text.index("## First load") < text.index("## Intervals\n\nas it was\n")
    assert "## Gone" not in text
    assert run.main(package, page, only="first_load") == 0
    assert page.read_text() == text


def test_an_unknown_subject_is_refused_with_the_names(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(package, tmp_path / "evidence.md", only="nothing") == 2
    assert "There are: first_load, intervals." in capsys.readouterr().err
    assert not (tmp_path / "evidence.md").exists()


def test_a_part_that_was_measured_is_kept_and_of_another_product_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = list[int]()

    def claims() -> Iterator[Claim]:
        runs.append(1)
        yield Claim("A load is quick", "at most 4x", f"{len(runs)}x", True)

    monkeypatch.setattr(_kept, "digest", lambda: "one")
    monkeypatch.setattr(_kept, "_commit", lambda: "abc1234")
    for _ in range(2):
        assert [one.figure for one in _kept.known("part", claims, tmp_path)] == ["1x"]
    monkeypatch.setattr(_kept, "digest", lambda: "another")
    monkeypatch.setenv("BACKHAUL_EVIDENCE", "kept")
    assert [one.figure for one in _kept.known("part", claims, tmp_path)] == [f"1x (commit abc1234, {date.today()})"]
    monkeypatch.delenv("BACKHAUL_EVIDENCE")
    assert [one.figure for one in _kept.known("part", claims, tmp_path)] == ["2x"]


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(evidence.__path__) if m.name != "tpcds"])
def test_each_proof_finds_what_it_imports(name: str) -> None:
    """They run for hours and seldom; `tpcds` alone has an environment of its own."""
    assert import_module(f"{evidence.__name__}.{name}").__doc__


def test_what_the_tests_take_turns_at_the_proofs_run_whole() -> None:
    """A file of tests that leaves anything to the proofs is among what they run."""
    home = Path(__file__).parent
    leaving = {
        path.stem.removeprefix("test_")
        for path in home.glob("test_*.py")
        if path != Path(__file__) and re.search(r"tests\.turns import|mark\.whole", path.read_text("utf-8"))
    }
    assert leaving == {file for files in suite.SUBJECTS.values() for file in files}


def test_a_proof_of_the_tests_falls_short_where_one_fails(tmp_path: Path) -> None:
    test = tmp_path / "test_whole.py"
    test.write_text("from tests.turns import by_turns\n\ndef test_all():\n    assert by_turns('abc', 3) == 'abc'\n")
    assert suite.ran("all", [str(test)], processes=0) == Claim("all", "all pass", "1 passed, 0 not", True)
    test.write_text("def test_none():\n    assert False\n")
    assert not suite.ran("all", [str(test)], processes=0).holds
