"""The first quarter of an hour: README's three lines, followed in an empty folder, reach a page with a number."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests import first_number
from tests.every_part import command
from tests.first_number import LEAST, ROOT, of_system, opened, reached, readme_lines, systems, typed

SOME = ("amazon_fba_returns", "shopify_bulk", "till")  # the evidence goes through all of them


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Type README's first two lines on the file it describes: the folder, and what was printed."""
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "orders.csv").write_text(LEAST)
    answers = [typed(folder, line) for line in readme_lines()[:2]]
    assert [answer.returncode for answer in answers] == [0, 0]
    return folder, "".join(answer.stdout + answer.stderr for answer in answers)


def test_readme_has_three_lines_on_the_file_it_describes(newcomer: tuple[Path, str]) -> None:
    assert readme_lines()[2] == "backhaul dashboard"
    assert reached(newcomer[0]).name == "Expected final rate"
    assert opened(newcomer[0], "returns").metric[0].value == "60.0%"  # L1 and both units of L3: 3 of 5


def typed_here(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Type a line in this process: one of its own for each line of each system is for the evidence."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for name in [name for name in os.environ if name.startswith("BACKHAUL_")]:
            patched.delenv(name)
        words, _, into = line.partition(" > ")
        code, answer, said = command(*shlex.split(words)[1:])
        if into:
            Path(into).write_text(answer, encoding="utf-8")
    return subprocess.CompletedProcess(line, code, answer, said)


@pytest.mark.parametrize("system", SOME)
def test_the_three_lines_reach_a_number_on_a_file_of_any_system(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert system in systems()
    monkeypatch.setattr(first_number, "typed", typed_here)
    found = of_system(tmp_path, system)
    print(f"{system}: {found.name} {found.value}, {found.seconds:.1f} s from file to first number")


def test_readme_shows_the_first_lines_of_the_answers(newcomer: tuple[Path, str]) -> None:
    """What README shows under its lines is what they print, letter by letter; `...` stands for the rest of a line."""
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    for line in shown.splitlines():
        assert line.removesuffix("...").strip() in newcomer[1], line
