"""The guides: what they name is on screen, what they type runs, what they show is small and there."""

import contextlib
import os
import re
import shlex
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from dashboard.i18n import Words, catalogue
from dashboard.shared import places
from pipelines.settings import Settings
from tests import commands
from tests.conftest import fresh
from tests.every_part import command
from tests.first_number import LEAST
from tests.screenshots import SHOTS

GUIDES = sorted((commands.ROOT / "docs" / "guides").glob("*.md"))
ELSEWHERE = {command for pairs in commands.READERS.values() for _, command in pairs}
"""Commands of the README's table: `tests/test_commands.py` runs them on the sample shop."""
OUTSIDE = ("backhaul pull ", "backhaul load inbox", "backhaul load --source shopify_fivetran")
"""Commands towards a database or an interface: tests/test_database.py and tests/test_pull.py run such ones."""
SMALL = 120 * 1024  # bytes of a picture


def typed_in(guide: Path) -> list[str]:
    """List the commands of a guide in their order."""
    blocks = re.findall(r"```sh\n(.*?)```", guide.read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def typed(folder: Path, line: str) -> tuple[int, str]:
    """Type a line in this process: exit code and all that was said. tests/test_first_number.py has a real shell."""
    words = shlex.split(line)
    words, into = (words[:-2], [folder / words[-1]]) if words[-2:-1] == [">"] else (words, [])
    ours = {name: value for name, value in os.environ.items() if not name.startswith("BACKHAUL_")}
    with contextlib.chdir(folder), patch.dict(os.environ, ours, clear=True):
        code, out, said = command(*words[1:])
    for file in into:
        file.write_text(out, encoding="utf-8")
    return code, out + said


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_what_a_guide_names_is_on_screen(guide: Path) -> None:
    words = Words("en")
    shown = {re.sub(r"\s*\(.*", "", text) for text in catalogue("en").values()}
    pages = {places.whole_title(words, sheet) for sheet in places.SHEETS}
    named = re.findall(r"(?<![*\w])\*([^*\n]+)\*(?!\*)", guide.read_text("utf-8"))
    assert [name for name in named if name not in (pages if "›" in name else shown)] == []
    assert named or guide.stem in ("operator", "README")


def test_each_reader_has_a_guide_and_each_guide_its_picture() -> None:
    index = (GUIDES[0].parent / "README.md").read_text("utf-8")
    assert set(re.findall(r"\]\((\w+\.md)\)", index)) == {path.name for path in GUIDES} - {"README.md"}
    shown = {name for guide in GUIDES for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", guide.read_text("utf-8"))}
    made = {shot.name for shot in SHOTS if shot.folder == "guides"}
    assert shown == made == {path.name for path in GUIDES[0].parent.glob("*.png")}
    assert {path.name for path in GUIDES[0].parent.glob("*.png") if path.stat().st_size > SMALL} == set()


def test_what_a_guide_types_runs(tiny_settings: Settings, tmp_path: Path) -> None:
    """Each guide's commands, in their order, in a folder with the file they name; what README lists runs there."""
    ran = 0
    for guide in GUIDES:
        folder = tmp_path / guide.stem
        shop = fresh(folder)
        shutil.copytree(tiny_settings.warehouse, shop.warehouse)
        shutil.copytree(tiny_settings.raw, shop.raw)
        (folder / "orders.csv").write_text(LEAST)
        for line in typed_in(guide):
            if (line in ELSEWHERE and line not in NEEDED) or line.startswith(OUTSIDE):
                continue
            if shlex.split(line)[0] != "backhaul":
                assert line in (commands.ROOT / "README.md").read_text("utf-8"), line
                continue
            if "--source orders.yaml" in line and not (folder / "orders.yaml").exists():
                assert typed(folder, "backhaul map orders.csv > orders.yaml")[0] == 0
            code, said = typed(folder, line)
            assert code == 0, f"{guide.name}: {line}\n{said}"
            ran += 1
    assert ran >= 8


NEEDED = ("backhaul backup copy",)  # what follows it in its guide reads the copy


def test_a_command_that_fails_is_found(tmp_path: Path) -> None:
    assert typed(tmp_path, "backhaul status")[0] != 0
    assert list(tmp_path.iterdir()) == []
