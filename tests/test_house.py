"""The house is as it was drawn: no arrow runs up, nothing private is shared, and the picture is the tree's."""

import re
from pathlib import Path

import pytest

from tests import house


def test_no_rooms_and_no_modules_stand_in_a_circle() -> None:
    assert house.circles(house.arrows(house.ROOT)) == []
    assert house.circles_of_modules(house.ROOT) == []


def test_the_picture_is_of_this_tree() -> None:
    text = (house.ROOT / house.PAGE).read_text("utf-8")
    assert house.drawn(text, house.ROOT) == text, "draw it anew: python -m tests.house --draw"
    for room in house.arrows(house.ROOT):
        if room.count(".") and (house.ROOT / room.replace(".", "/")).is_dir():
            assert f"| `{room}` |" in text or room == "dashboard.i18n", room


def test_the_house_grows_no_worse() -> None:
    counted = house.counts(house.ROOT)
    assert counted["rooms in a circle"] == 0
    assert counted["private names imported across modules"] == 0
    assert counted["lines over 120"] == 0
    assert house.long_files(house.ROOT) == []
    assert house.unexplained(house.ROOT) == []
    assert len(house.long_functions(house.ROOT)) <= 3
    assert (
        counted["signatures that repeat the question"] <= 8
    )  # options of the command line, and the way in from Python


@pytest.fixture
def crooked(tmp_path: Path) -> Path:
    """A house with a circle, a private name that is shared, and a question taken apart."""
    for name, text in {
        "models/__init__.py": "",
        "pipelines/__init__.py": "",
        "pipelines/a/__init__.py": "",
        "pipelines/a/one.py": "from pipelines.b.two import _hidden\n",
        "pipelines/b/__init__.py": "",
        "pipelines/b/two.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import models\n\n\n"
            "def _hidden(where, since, until):\n    from pipelines.a import one\n    return one\n"
        ),
        "dashboard/__init__.py": "from pipelines.a import one\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_is_crooked_is_found(crooked: Path) -> None:
    assert house.arrows(crooked) == {
        "models": set(),
        "pipelines": set(),
        "pipelines.a": {"pipelines.b"},
        "pipelines.b": {"pipelines.a"},
        "dashboard": {"pipelines.a"},
    }
    counted = house.counts(crooked)
    assert counted["rooms in a circle"] == 2
    assert counted["private names imported across modules"] == 1
    assert counted["signatures that repeat the question"] == 1
    assert house.circles_of_modules(crooked) == []  # one is imported when it is needed


def test_nothing_escapes_the_formatter() -> None:
    escapes = re.compile(r"#\s*fmt:\s*(skip|off)\b")
    files = [
        p for top in ("backhaul", "dashboard", "models", "pipelines", "tests") for p in (house.ROOT / top).rglob("*.py")
    ]
    assert len(files) > 400
    assert [str(p) for p in files if escapes.search(p.read_text("utf-8"))] == []
