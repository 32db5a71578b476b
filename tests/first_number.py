"""README's three lines, typed in an empty folder as a newcomer would, and the first number they reach."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from streamlit.testing.v1 import AppTest

import dashboard
from pipelines.sources import mappings
from tests.pages import lines as shown
from tests.pages import turn

ROOT = Path(__file__).parents[1]
SYSTEMS = Path(__file__).parent / "fixtures" / "systems"
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


def opened(folder: Path, page: str = "today") -> AppTest:
    """Open a page on the warehouse of a folder."""
    before = os.environ.get("BACKHAUL_WAREHOUSE")
    os.environ["BACKHAUL_WAREHOUSE"] = str(folder / "warehouse")
    try:
        found = AppTest.from_file(str(Path(dashboard.__file__).with_name("app.py")), default_timeout=120)
        found.query_params["lang"] = "en"
        return turn(found, page).run()
    finally:
        os.environ.pop("BACKHAUL_WAREHOUSE")
        if before is not None:
            os.environ["BACKHAUL_WAREHOUSE"] = before


def reached(folder: Path, *lines: str) -> FirstNumber:
    """Type the lines, then open the pages; each must end well, and the landing page must show a number and no error."""
    begun = time.monotonic()
    for line in lines:
        answer = typed(folder, line)
        assert answer.returncode == 0, f"{line}\n{answer.stdout}\n{answer.stderr}"
    landing = opened(folder)
    assert not landing.exception
    assert not landing.error
    numbers = [(name, value) for name, value, _ in shown(landing) if re.search(r"\d", value)]
    assert numbers, shown(landing)
    return FirstNumber(*numbers[0], time.monotonic() - begun)


def systems() -> list[str]:
    """The systems whose files are among the fixtures."""
    return sorted(path.name for path in SYSTEMS.iterdir())


def of_least(folder: Path) -> FirstNumber:
    """Follow README on the least file it describes."""
    (folder / "orders.csv").write_text(LEAST)
    return reached(folder, *readme_lines()[:2])


def of_system(folder: Path, system: str) -> FirstNumber:
    """Follow README on the files of a system."""
    shutil.copytree(SYSTEMS / system, folder, dirs_exist_ok=True)
    files = shlex.join(sorted(path.name for path in folder.iterdir()))
    lines = [line.replace("orders.csv", files).replace("orders.yaml", "mine.yaml") for line in readme_lines()[:2]]
    return reached(folder, *(lines if is_mapped(system) else [lines[1].removesuffix(" --source mine.yaml")]))


def is_mapped(system: str) -> bool:
    """Tell whether a mapping reads a system's files; what code reads needs none, as README says."""
    return system in mappings()


def readme_lines() -> list[str]:
    """The lines of README's section on own data."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Your own data, in three lines")[1]
    return [line.split("#")[0].strip() for line in section.split("```sh\n")[1].split("```")[0].splitlines()]
