"""The first quarter of an hour: README's three lines, followed in an empty folder, reach a page with a number."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_dashboard import app

ROOT = Path(__file__).parents[1]
LEAST = """order line,SKU,units,net price,order date,return date,refund date,refund amount
L1,DRESS-S,1,50.00,2025-10-01,2025-10-10,2025-10-12,60.00
L2,DRESS-M,1,50.00,2025-10-02,,,
L3,SHOE-42,2,160.00,2025-10-03,2025-10-13,2025-10-20,192.00
L4,DRESS-S,1,50.00,2025-10-05,,,
"""


@dataclass(frozen=True)
class FirstNumber:
    """What a newcomer reached: the name and value of the first number of the landing page, and after how long."""

    name: str
    value: str
    seconds: float


def typed(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Type a line into a shell that has the product's environment, as after `pip install`."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    asked = {name: value for name, value in os.environ.items() if not name.startswith("BACKHAUL_")}
    return subprocess.run(
        line, shell=True, cwd=folder, env={**asked, "PATH": programs}, capture_output=True, text=True, check=False
    )


def reached(folder: Path, *lines: str, monkeypatch: pytest.MonkeyPatch) -> FirstNumber:
    """Type the lines, then open the pages; each must end well, and the landing page must show a number and no error."""
    begun = time.monotonic()
    for line in lines:
        answer = typed(folder, line)
        assert answer.returncode == 0, f"{line}\n{answer.stdout}\n{answer.stderr}"
    opened = app(folder / "warehouse", monkeypatch, lang="EN").run()
    assert not opened.exception
    assert not opened.error
    numbers = [m for m in opened.metric if re.search(r"\d", m.value)]
    assert numbers, [m.label for m in opened.metric]
    found = FirstNumber(numbers[0].label, numbers[0].value, time.monotonic() - begun)
    print(f"{folder.name}: {found.name} {found.value}, {found.seconds:.1f} s from file to first number")
    return found


def readme_lines() -> list[str]:
    """The lines of README's section on own data."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Your own data, in three lines")[1]
    return [line.split("#")[0].strip() for line in section.split("```sh\n")[1].split("```")[0].splitlines()]


def test_readme_has_three_lines_on_the_file_it_describes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of five units came back... of four lines, L1 and both units of L3: 3 of 5 units."""
    first, second, third = readme_lines()
    assert third == "backhaul dashboard"
    (tmp_path / "orders.csv").write_text(LEAST)
    found = reached(tmp_path, first, second, monkeypatch=monkeypatch)
    assert (found.name, found.value) == ("Expected final rate", "60.0%")


def test_readme_shows_the_first_lines_of_the_answers(tmp_path: Path) -> None:
    """What README shows under its lines is what they print, letter by letter."""
    (tmp_path / "orders.csv").write_text(LEAST)
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    printed = ""
    for line in readme_lines()[:2]:
        answer = typed(tmp_path, line)
        printed += answer.stdout + answer.stderr
    for line in shown.splitlines():
        assert line.removesuffix(" ...") in printed, line
