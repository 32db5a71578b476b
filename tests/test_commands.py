"""The commands of the documents answer as the documents say."""

import shutil

import pytest
from conftest import fresh

from pipelines.settings import Settings
from tests import commands
from tests.turns import IS_WHOLE

LONG = ("backhaul forget C103976",)
"""What builds the shop anew; said by the proofs alone, to a small shop by tests/test_forget.py."""


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory, sample_settings: Settings) -> Settings:
    """A copy of the sample shop that commands may write to."""
    target = fresh(tmp_path_factory.mktemp("commands"))
    shutil.copytree(sample_settings.warehouse, target.warehouse, dirs_exist_ok=True)
    shutil.copytree(sample_settings.raw, target.raw)
    shutil.copyfile(sample_settings.key_file, target.key_file)
    return target


def test_every_command_answers_as_its_page_says(shop: Settings) -> None:
    told = (commands.ROOT / "docs" / "commands.md").read_text("utf-8")
    seen = 0
    for command, answer in commands.answered(shop, leaving_out=() if IS_WHOLE else LONG):
        seen += 1
        assert not answer[0].startswith("backhaul:"), f"{command}: {answer[0]}"
        _, _, rest = told.partition(f"$ {command}\n")
        lines = rest.partition("\n```")[0].splitlines()
        assert lines, f"{command} is not on the page: python -m tests.commands"
        assert commands.words_of(answer) == commands.words_of(lines), command
    assert seen == told.count("\n$ ") - (0 if IS_WHOLE else len(LONG))


def test_the_table_of_the_readme_is_the_list() -> None:
    text = (commands.ROOT / "README.md").read_text("utf-8")
    assert commands.in_readme(text) == text
