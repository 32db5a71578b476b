"""The commands by reader, with the first lines of what each answers on the sample shop.

`python -m tests.commands` writes docs/commands.md and the table in README.md anew; `tests/test_commands.py` runs them
all and holds the words of the answers against that page. Digits may move, words may not.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from unittest.mock import patch

from pipelines import cli
from pipelines.load import load
from pipelines.sample import write_sample
from pipelines.settings import Settings

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- written by python -m tests.commands -->\n", "<!-- end of the table -->\n"
LINES, WIDTH = 8, 112  # of an answer that are shown
READERS = {
    "Executives": (
        (
            "What share of sales will be returned?",
            "backhaul metric ultimate_return_rate --from 2025-10-01 --to 2025-12-31",
        ),
        ("Set a target", "backhaul target set ultimate_return_rate 25% --from 2025-10-01"),
        ("Was the target met?", "backhaul metric ultimate_return_rate --by month --from 2025-10-01 --against target"),
        (
            "How is that against last year?",
            "backhaul metric promise_kept --from 2025-11-03 --to 2025-11-30 --against year",
        ),
        ("How accurate were past estimates?", "backhaul backtest"),
        ("How many returns in the next weeks?", "backhaul forecast --measure inspection_units --by place_id"),
        (
            "Have a page sent each Monday",
            "backhaul subscribe add today --every weekly --file pdf --to mailto:anna@example.org",
        ),
    ),
    "Merchandisers": (
        ("Which categories have the highest return rate?", "backhaul metric ultimate_return_rate --by category"),
        ("Which changes are not logged as actions?", "backhaul action list --suggested"),
        ("Log an action", "backhaul action add size_note --on style_id=shop:DR0061 --effective 2025-06-02"),
        (
            "Note what happened on a day",
            "backhaul annotation add 'New sizing' --on 2025-09-15 --kind product --where category=dresses",
        ),
        ("How are return reasons worded?", "backhaul reasons"),
    ),
    "Operations": (
        ("Which promises are kept?", "backhaul metric promise_kept --by promise --where country=FR"),
        ("What could be promised today?", "backhaul promise --market FR --method drop_off --at 0.95"),
        ("Which returns will be late?", "backhaul at-risk --limit 20"),
        ("By when must each step come?", "backhaul at-risk --milestones --limit 20"),
        ("What to claim from carriers?", "backhaul claims"),
        ("Tick off late refunds", "backhaul work list refunds-due --limit 20"),
        ("Which routes would recover most?", "backhaul dispose --carbon-price 100"),
        ("Alert when a promise is broken", "backhaul alert add promise_kept --below 0.9 --where country=FR"),
        ("What is promised?", "backhaul policy show policy-FR"),
        ("What would another policy change?", "backhaul simulate --fee 2 --window 30"),
    ),
    "Finance": (
        ("What is the refund liability?", "backhaul accrual --by category"),
        ("What changed it in a month?", "backhaul accrual --roll-forward --month 2025-12 --journal journal.csv"),
        ("What do late refunds owe by law?", "backhaul owed"),
        (
            "Export the source rows of a number",
            "backhaul export observed_return_rate --rows numerator --where category=dresses --out rows.csv",
        ),
        ("Is the file unchanged?", "backhaul verify rows.csv"),
    ),
    "Sustainability": (
        ("How are a return's emissions computed?", "backhaul explain R100035-1"),
        ("What would other factors give?", "backhaul factors compare ademe"),
        ("What would narrow the uncertainty?", "backhaul uncertainty"),
        ("Which lever would save most?", "backhaul levers"),
        ("Close a month", 'backhaul close 2025-12 --approver "A. Martin"'),
        ("Write the report", "backhaul report emissions-2025.xlsx --from 2025-01-01 --to 2025-12-31"),
    ),
    "Data people": (
        ("What was loaded, what was quarantined?", "backhaul status"),
        ("Which rows are in quarantine, and why?", "backhaul quarantine list --limit 20"),
        ("What did each load change?", "backhaul history"),
        ("Do the sources deliver as before?", "backhaul sources"),
        ("Which metrics are there?", "backhaul metrics"),
        ("Do all checks pass?", "backhaul check"),
        ("Which problems are there?", "backhaul doctor"),
        ("What is the return model worth?", "backhaul model"),
        ("Erase one customer", "backhaul forget C103976"),
        ("Copy a whole warehouse", "backhaul backup copy"),
    ),
}


def answered(settings: Settings, leaving_out: Collection[str] = ()) -> Iterator[tuple[str, list[str]]]:
    """Run every command on a warehouse, in a folder of its own; give each with the first lines of its answer."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for _, command in (pair for pairs in READERS.values() for pair in pairs if pair[1] not in leaving_out):
                words = shlex.split(command)
                at = [] if words[1] in ("metrics", "verify") else ["--warehouse", str(settings.warehouse)]
                out, said = io.StringIO(), io.StringIO()
                with (
                    contextlib.redirect_stdout(out),
                    contextlib.redirect_stderr(said),
                    patch.object(sys, "argv", [*words, *at]),
                    contextlib.suppress(SystemExit),
                ):
                    cli.main()
                text = (out.getvalue() or said.getvalue().strip().split("\n")[-1]).replace(
                    str(settings.warehouse), "warehouse"
                )
                yield command, shown(text.replace(folder, "."))
        finally:
            os.chdir(before)


def shown(text: str) -> list[str]:
    """Cut an answer to its first lines."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    cut = [line if len(line) <= WIDTH else line[: WIDTH - 1] + "…" for line in lines[:LINES]]
    return [*cut, *(["…"] if len(lines) > LINES else [])]


def words_of(lines: list[str]) -> set[str]:
    """Give the words of an answer that no digit is in, whatever the widths of its columns."""
    return {word for line in lines for word in re.findall(r"[^\W\d_]{3,}", re.sub(r"\S*\d\S*|\S*…", " ", line))}


def table() -> str:
    """Write the table of commands by reader."""
    lines = ["| Who | Asks | With |", "|---|---|---|"]
    for reader, pairs in READERS.items():
        lines += [f"| {reader if n == 0 else ''} | {asks} | `{command}` |" for n, (asks, command) in enumerate(pairs)]
    return "\n".join([*lines, ""])


def page(answers: list[tuple[str, list[str]]]) -> str:
    """Write the page of commands and answers."""
    asked = {command: (reader, asks) for reader, pairs in READERS.items() for asks, command in pairs}
    lines = [
        "# Commands",
        "",
        "The first lines of what each command answers on the sample shop; `python -m tests.commands` writes it anew.",
    ]
    for command, answer in answers:
        reader, asks = asked[command]
        if f"## {reader}" not in lines:
            lines += ["", f"## {reader}"]
        lines += ["", f"**{asks}**", "", "```text", f"$ {command}", *answer, "```"]
    return "\n".join([*lines, ""])


def in_readme(text: str) -> str:
    """Put the table between its marks in the README's text."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        shop = Settings(warehouse=Path(place) / "w" / "warehouse")
        shop.warehouse.parent.mkdir()
        write_sample(Path(place) / "raw", 20_000, 3)
        load(shop, [Path(place) / "raw"])
        shutil.rmtree(Path(place) / "raw")
        (ROOT / "docs" / "commands.md").write_text(page(list(answered(shop))), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(in_readme(readme.read_text("utf-8")), encoding="utf-8")
