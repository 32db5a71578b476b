"""The first quarter of an hour: README's three lines, followed in an empty folder, reach a page with a number."""

from pathlib import Path

import pytest

from tests.first_number import LEAST, ROOT, of_least, of_system, opened, readme_lines, systems, typed

SOME = (
    "amazon_fba_returns",
    "onestock_orders",
    "shopify_bulk",
    "till",
    "woocommerce_orders",
)  # the evidence goes through all of them


def test_readme_has_three_lines_on_the_file_it_describes(tmp_path: Path) -> None:
    assert readme_lines()[2] == "backhaul dashboard"
    assert of_least(tmp_path).name == "Expected final rate"
    assert opened(tmp_path, "returns").metric[0].value == "60.0%"  # L1 and both units of L3: 3 of 5


@pytest.mark.parametrize("system", SOME)
def test_the_three_lines_reach_a_number_on_a_file_of_any_system(system: str, tmp_path: Path) -> None:
    assert system in systems()
    found = of_system(tmp_path, system)
    print(f"{system}: {found.name} {found.value}, {found.seconds:.1f} s from file to first number")


def test_readme_shows_the_first_lines_of_the_answers(tmp_path: Path) -> None:
    """What README shows under its lines is what they print, letter by letter; `...` stands for the rest of a line."""
    (tmp_path / "orders.csv").write_text(LEAST)
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    printed = ""
    for line in readme_lines()[:2]:
        answer = typed(tmp_path, line)
        printed += answer.stdout + answer.stderr
    for line in shown.splitlines():
        assert line.removesuffix("...").strip() in printed, line
