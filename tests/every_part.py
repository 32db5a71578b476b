"""Go through everything a warehouse can be asked: every page with its parts, every metric with its cuts, every verb.

How deep a walk goes is its shape's `Depth`. Each walk gives how much it went through and what ended in an error;
`python -m tests.every_part NAME...` does the same to shapes of any_shop in a process of its own and prints it as JSON
with the peak of its memory and the seconds it worked.
"""

import contextlib
import io
import json
import logging
import math
import os
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from unittest.mock import patch

from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.i18n import LANGUAGES, Words
from dashboard.shared import controls, filters
from pipelines import cli, metrics
from pipelines.errors import BackhaulError
from pipelines.load import load
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from tests.any_shop import Shape, shapes, write
from tests.conftest import fresh
from tests.pages import ADDRESSES, lightly_run, turn
from tests.peak import peak_bytes

HOME = Path(dashboard.__file__).parent
PAGES = ADDRESSES
LONGEST = 300  # letters of a sentence
FILTERS = 4  # shapes by which every filter is set on every page where each sets one in so many
TURNS = 6  # shapes by which every verb is said where one says some
VERBS = (
    "status",
    "check",
    "check --deep",
    "doctor",
    "withdrawn",
    "history",
    "sources",
    "quarantine list",
    "quarantine list --fields",
    "quarantine fixes --withdrawn",
    "quarantine export {folder}/aside.csv",
    "metrics",
    "metric ultimate_return_rate --by category --by month",
    "metric ultimate_return_rate --by category --against target",
    "metric sold_units --from 2025-06-01 --to 2025-06-30 --against year",
    "accrual",
    "accrual --by category --as-of 2025-07-01",
    "accrual --roll-forward",
    "reasons",
    "reasons --unknown",
    "backtest",
    "backtest --by-category",
    "action list",
    "action list --suggested",
    "action measure",
    "action add size_note --on style_id=x --effective 2025-05-01",
    "action update 1 --status done --effective 2025-05-02",
    "alert list",
    "alert add promise_kept --below .9",
    "alert check --dry-run",
    "alert log --all",
    "alert edit 1 --to mailto:a@example.org",
    "alert pause 1",
    "alert acknowledge 1",
    "alert withdraw 1",
    "subscribe add today --every load --to mailto:a@example.org",
    "subscribe edit 1 --hour 6 --every daily",
    "subscribe list",
    "subscribe pause 1",
    "subscribe send",
    "subscribe withdraw 1",
    "target set ultimate_return_rate 25% --from 2025-01-01",
    "target list --withdrawn",
    "target withdraw 1",
    "annotation add Sale --on 2025-06-01 --kind promotion",
    "annotation list",
    "annotation withdraw 1",
    "promise --market FR",
    "promise --method drop_off --at .95",
    "at-risk",
    "at-risk --milestones",
    *(
        f"work list {name} --state all"
        for name in ("refunds-due", "at-risk", "claims", "products", "goods", "quarantine")
    ),
    "owed",
    "owed --rule L241-4 --due 2026-01-05 --amount 80 --on 2026-02-01",
    "readers",
    "audit",
    "model",
    "model --part curve",
    "train",
    "factors list",
    "factors compare ademe",
    "factors missing",
    "parameters list",
    "explain R0",
    "levers",
    "uncertainty",
    "close 2025-04 --approver A",
    "closed",
    "verify",
    "company",
    "report {folder}/a.xlsx --from 2025-01-01 --to 2025-12-31",
    "report {folder}/a.pdf --from 2025-01-01 --to 2025-12-31",
    "forecast",
    "forecast --measure inspection_units --by place_id",
    "claims",
    "dispose --carbon-price 100",
    "simulate --fee 2 --window 30",
    "simulate --methods locker",
    "policy list",
    "policy show policy",
    "policy compare policy 2024-12-01 2024-12-01",
    "policy check {folder}/policy.yaml",
    "export ultimate_return_rate --by category --out {folder}/b.xlsx",
    "verify {folder}/b.xlsx",
    "export observed_return_rate --rows numerator --out {folder}/c.csv",
    "verify {folder}/c.csv",
    "backup {folder}/copy",
    "restore {folder}/copy --check",
    "retain --raw-days 9999",
    "copy --to {folder}/tables",
    "catalogue {folder}/catalogue.yaml",
)
FINDING = ("check", "doctor", "policy check", "sources")
"""Verbs that answer with a table and exit 1 where they find something."""
NOT_SAID = {
    "target import": "wants a file of targets; tests/test_plan.py",
    "sample": "writes files and knows no warehouse; tests/test_sample.py",
    "demo": "loads the sample shop and opens the pages; tests/test_cli.py",
    "dashboard": "does not end; each page is opened without it",
    "serve": "does not end; tests/test_serve.py",
    "receive": "does not end; tests/test_receiving.py",
    "received": "speaks of the spool, which no shape has; tests/test_receiving.py",
    "run": "runs the verbs of a schedule; tests/test_scheduling.py",
    "mcp": "does not end; tests/test_agents.py",
    "reader-key": "wants a reader of the file; tests/test_access.py",
    "map": "said where the mapping of a shape is proposed",
    "load": "what each shape begins with",
    "pull shopify": "asks an interface and knows no warehouse; tests/test_pull.py",
    "pull dhl": "asks an interface and knows no warehouse; tests/test_pull.py",
    "pull objects": "asks an interface and knows no warehouse; tests/test_pull.py",
    "score": "takes lines of its own; tests/test_probability_door.py",
    "withdraw": "builds anew without a load, as a load does; tests/test_cli.py",
    "forget": "builds anew without a customer, as a load does; tests/test_forget.py",
    "rotate-key": "judges each load again, as a load does; tests/test_cli.py",
    "factors import": "lands factors and builds anew, as a load does; tests/test_cli.py",
    "factors use": "builds anew with other factors, as a load does; tests/test_cli.py",
    "parameters import": "keeps parameters and builds anew, as a load does; tests/test_own_figures.py",
    "parameters survey": "keeps parameters and builds anew, as a load does; tests/test_own_figures.py",
    "quarantine show": "wants a row in quarantine; tests/test_quarantine.py",
    "quarantine fix": "wants a row in quarantine; tests/test_quarantine.py",
    "quarantine word": "wants a wording of the shop; tests/test_quarantine.py",
    "quarantine map": "wants a mapping of the shop's own; tests/test_quarantine.py",
    "quarantine undo": "wants a fix of the shop; tests/test_quarantine.py",
    "quarantine replay": "judges loads again, as a load does; tests/test_quarantine.py",
    "diff": "wants two builds that are kept; tests/test_history.py",
    "rollback": "wants another build that is kept; tests/test_history.py",
    "work set": "wants a row of the shop; tests/test_work.py",
    "policy publish": "lands a policy and builds anew, as a load does; tests/test_policies.py",
}
"""Commands that are said to no shape, and why."""


@dataclass(frozen=True)
class Depth:
    """How deep a walk goes.

    In how many languages (with one: by turns); which pages as they come, and with `parts` each choice of each control,
    `rows` the rows behind each chart and table, in one language, and `filtered` one in FILTERS of the filters by turns,
    in one language; every metric whole and by one in `cuts` of its dimensions (0: by none); the verbs, all or one in
    TURNS of them.
    """

    name: str
    languages: int = 1
    pages: tuple[str, ...] = tuple(PAGES)
    parts: bool = True
    rows: bool = False
    filtered: bool = False
    cuts: int = 24
    verbs: str = "some"
    is_third: bool = False
    """Of the pages and the metrics a third, others at other shapes."""


WHOLE = Depth("whole", languages=len(LANGUAGES), rows=True, filtered=True, cuts=6, verbs="all")
PARTS = Depth("parts")
LANDING = Depth("landing", pages=("today",), parts=False, cuts=0, verbs="none")
BRIEF = Depth("brief", parts=False, cuts=0, verbs="none", is_third=True)
DEPTHS = {
    "rows": WHOLE,
    "mapped": WHOLE,
    "event": PARTS,
    "log": PARTS,
    "column": PARTS,
    "lacking": LANDING,
    "pair": BRIEF,
}
"""How deep a shape of each kind is gone through."""


@dataclass
class Walk:
    """How far a walk went, and what ended in an error on the way: where, and what it said.

    Pages are counted as they came and once a language, parts are what was shown beside that; metrics are those asked
    whole, answers also their cuts.
    """

    languages: list[str] = field(default_factory=list)
    pages: int = 0
    parts: int = 0
    metrics: int = 0
    answers: int = 0
    verbs: int = 0
    errors: list[str] = field(default_factory=list)


def loaded(shape: Shape, folder: Path, walk: Walk) -> Settings | None:
    """Load a shape; None where there is nothing to read after it. A load may end in one sentence."""
    settings = fresh(folder)
    for number, delivery in enumerate(shape.make()):
        files = write(folder / f"files{number}", delivery)
        source = "canonical"
        if delivery.mapping:
            text = delivery.mapping
            if text == "propose":
                code, text, said = command("map", *map(str, files))
                if code:
                    _sentence(walk, f"load {number}: map", code, said)
                    return None
            mapping = folder / f"mapping{number}.yaml"
            mapping.write_text(text, encoding="utf-8")
            source = str(mapping)
        with _recorded(walk, f"load {number}"):
            try:
                load(settings, files, source=source, namespace=delivery.namespace)
            except BackhaulError as error:
                if len(str(error)) > LONGEST:
                    walk.errors.append(f"load {number}: a sentence of {len(str(error))} letters: {error}")
    try:
        current_build(settings.warehouse).close()
    except BackhaulError:
        return None
    return settings


def _sentence(walk: Walk, where: str, code: int, said: str) -> None:
    """Take down what was refused otherwise than in one sentence with exit 1."""
    if code != 1 or len(said.strip().splitlines()) != 1:
        walk.errors.append(f"{where}: exit {code}: {said[-LONGEST:]}")


@contextlib.contextmanager
def _recorded(walk: Walk, where: str) -> Iterator[None]:
    """Take an error that is no sentence down, with the last lines of ours it came through."""
    try:
        yield
    except Exception as error:
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
        at = ", ".join(f"{Path(f.filename).name}:{f.lineno}" for f in ours[-3:])
        walk.errors.append(f"{where}: {type(error).__name__}: {error} ({at})")


def open_pages(
    settings: Settings,
    language: str,
    walk: Walk,
    *,
    parts: bool = True,
    rows: bool = True,
    filtered: int | None = 0,
    pages: Sequence[str] = PAGES,
) -> None:
    """Open every page in a language: as it comes and, with `parts`, each choice of each control.

    With `rows`, also the rows behind each chart and table, and the file of each, once; with a turn of
    `filtered`, periods and filters set and cleared, one in FILTERS of them.
    """
    written: set[tuple[str, str]] = set()
    walk.languages.append(language)

    def files(_words: Words, key: str, name: str, make: Callable[[str, str], bytes]) -> None:
        if (key, name) not in written:
            written.add((key, name))
            make("csv", language)

    with patch.dict(os.environ, BACKHAUL_WAREHOUSE=str(settings.warehouse)), contextlib.ExitStack() as stack:
        stack.enter_context(lightly_run())
        if rows:
            stack.enter_context(patch.object(controls, "files", files))
        app = AppTest.from_file(str(HOME / "app.py"), default_timeout=300)
        app.query_params["lang"] = language
        for page in pages:
            _Page(app, page, language, walk, rows).open(parts, filtered)


@dataclass
class _Page:
    app: AppTest
    page: str
    language: str
    walk: Walk
    rows: bool
    chosen: set[str] = field(default_factory=set)
    clicked: set[str] = field(default_factory=set)

    def open(self, parts: bool, filtered: int | None) -> None:
        turn(self.app, self.page).run()
        self.look("")
        if parts:
            self.part("")
        if filtered is not None:
            self.filter(filtered)

    def look(self, at: str) -> None:
        """Count what is shown, a page as it comes or a part of it, and take what went wrong on it down."""
        if at:
            self.walk.parts += 1
        else:
            self.walk.pages += 1
        for error in list(self.app.exception):
            lines = [
                str(line).strip().split("\n")[0] for line in error.proto.stack_trace if "site-packages" not in str(line)
            ]
            self.walk.errors.append(f"page {self.language} {self.page}{at}: {error.value} ({'; '.join(lines[-3:])})")
        if not len(self.app.exception) and not len(self.app.title):
            self.walk.errors.append(f"page {self.language} {self.page}{at}: no title")

    def part(self, at: str) -> None:
        """Choose each option of each control that is not chosen from yet, whatever it opens included."""
        self.behind(at)
        for kind in ("button_group", "selectbox"):
            for key in [c.key for c in self.app.get(kind) if c.key not in (None, "lang")]:
                if key not in self.chosen:
                    self.chosen.add(key)
                    self.each(kind, key, at)

    def each(self, kind: str, key: str, at: str) -> None:
        many = next((len(c.options) for c in self.app.get(kind) if c.key == key), 0)
        if not many:
            self.walk.errors.append(f"page {self.language} {self.page}{at}: {key} went away before it was chosen from")
        for place in range(many) if kind == "button_group" else sorted({many - 1, 0}, reverse=True):
            control = next((c for c in self.app.get(kind) if c.key == key), None)
            if control is None or place >= len(control.options):
                return
            option = control.options[place]
            if place or kind == "selectbox" or control.indices != [place]:
                control.set_value(option) if kind == "button_group" else control.select_index(place)
                self.app.run()
                self.look(f"{at} {key}={option}")
            self.part(f"{at} {key}={option}")  # what the page came with has been looked at

    def behind(self, at: str) -> None:
        """Open the rows behind each chart and table."""
        for key in [b.key for b in self.app.button if self.rows and str(b.key).endswith("_rows")]:
            button = next((b for b in self.app.button if b.key == key), None)
            if button is not None and key not in self.clicked:
                self.clicked.add(key)
                button.click().run()
                self.look(f"{at} rows of {key}")

    def filter(self, turn: int) -> None:
        """Set the period, the days compared with and filters, each cleared as the next is set: those of a turn."""
        every = [("period", 3), ("period", 6), ("period", 5), ("against", 3), ("against", 2), ("against", 1)]
        every += [(key, -1) for key in filters.DIMENSIONS]
        of_turn = every[turn % FILTERS :: FILTERS]
        for key, place in of_turn:
            if place >= 0:
                self.choose(key, place)
        for key in [key for key, place in of_turn if place < 0]:
            control = next((m for m in self.app.multiselect if m.key == key), None)
            if control is not None:
                option = control.options[-1]
                control.set_value([option]).run()
                self.look(f" {key}={option}")
                if (chosen := next((m for m in self.app.multiselect if m.key == key), None)) is not None:
                    chosen.set_value([])
        for key in ("period", "against"):
            if (box := next((r for r in self.app.radio if r.key == key), None)) is not None:
                box.set_value(box.options[0])
        self.app.run()
        self.look(" every filter cleared")

    def choose(self, key: str, place: int) -> None:
        box = next((r for r in self.app.radio if r.key == key), None)
        if box is not None:
            option = box.options[place]
            box.set_value(option).run()
            self.look(f" {key}={option}")


def ask_metrics(
    settings: Settings,
    walk: Walk,
    cuts: Sequence[str] | None = None,
    turn: int = 0,
    *,
    turns: int = 1,
    rows: bool = True,
    share: slice = slice(None),
) -> None:
    """Ask every metric whole, cut by each of its dimensions (of `cuts`, when given), and with `rows` for its rows.

    By one in `turns` of its dimensions: others at another `turn`.
    """
    with current_build(settings.warehouse) as build:
        for metric in metrics.catalogue()[share]:
            possible = metrics.dimensions(metric.key)[turn % turns :: turns]
            by: list[tuple[str, ...]] = [(), *((d,) for d in possible if cuts is None or d in cuts)]
            for cut in by:
                where = f"number {metric.key} by {cut}"
                with _recorded(walk, where):
                    found = metrics.answer(build, metric.key, by=cut)
                    walk.answers += 1
                    walk.metrics += not cut
                    told = found["status"].eq("ok") | found["reason"].ne("")
                    if not told.all() or (not cut and len(found) != 1):
                        walk.errors.append(f"{where}: says neither a number nor why there is none")
                    if not cut and found["status"].iloc[0] == "ok" and not math.isfinite(found["value"].iloc[0]):
                        walk.errors.append(f"{where}: ok, and {found['value'].iloc[0]}")
            for part in (metrics.PARTS if metric.denominator else metrics.PARTS[:1]) if rows else ():
                with _recorded(walk, f"number {metric.key}, its rows"):
                    metrics.rows(build, metric.key, part=part, limit=3)
                    metrics.rows_total(build, metric.key, part=part)


def command(*words: str) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, what it printed, what it said on standard error."""
    out, said = io.StringIO(), io.StringIO()
    code = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(said),
        patch.object(sys, "argv", ["backhaul", *words]),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), said.getvalue()


def say_verbs(settings: Settings, folder: Path, walk: Walk, verbs: Sequence[str] = VERBS) -> None:
    """Say every verb: it answers, or ends in one sentence with exit 1."""
    _, draft, _ = command("policy", "show", "policy", "--new", "--warehouse", str(settings.warehouse))
    (folder / "policy.yaml").write_text(draft, encoding="utf-8")
    for verb in verbs:
        words = verb.format(folder=folder).split()
        at = [] if words[0] in ("metrics", "catalogue") else ["--warehouse", str(settings.warehouse)]
        with _recorded(walk, f"verb {verb}"):
            code, _, said = command(*words, *at)
            walk.verbs += 1
            has_found = code == 1 and verb.startswith(FINDING) and not said.strip()
            if code and not has_found:
                _sentence(walk, f"verb {verb}", code, said)


def gone_through(shape: Shape, folder: Path, number: int, depth: Depth | None = None) -> Walk:
    """Load a shape and go through it as deep as shapes of its kind are; `number` tells whose turn it is."""
    walk = Walk()
    depth = depth or DEPTHS[shape.kind]
    turn = zlib.crc32(shape.name.encode())
    share = slice(turn % 3, None, 3) if depth.is_third else slice(None)
    settings = loaded(shape, folder, walk)
    if settings is None:
        return walk
    every = list(LANGUAGES)
    languages = [every[(number + n) % len(every)] for n in range(depth.languages)]
    for language in languages:
        open_pages(
            settings,
            language,
            walk,
            parts=depth.parts,
            rows=depth.rows and language == languages[0],
            filtered=turn if depth.filtered and language == languages[-1] else None,
            pages=depth.pages[share],
        )
    cuts = None if depth.cuts else ()
    ask_metrics(settings, walk, cuts, turn, turns=depth.cuts or 1, rows=depth.rows, share=share)
    if depth.verbs != "none":
        some = slice(turn % TURNS * len(VERBS) // TURNS, (turn % TURNS + 1) * len(VERBS) // TURNS)
        say_verbs(settings, folder, walk, VERBS if depth.verbs == "all" else VERBS[some])
    return walk


def main() -> None:
    """Go through the shapes that are named, each in turn; `brief:` before a name asks for less."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("error")
    warnings.simplefilter("default", ResourceWarning)
    known = {shape.name: (number, shape) for number, shape in enumerate(shapes())}
    for name in sys.argv[1:]:
        number, shape = known[name.removeprefix("brief:")]
        depth = BRIEF if name.startswith("brief:") else DEPTHS[shape.kind]
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            walk = gone_through(shape, Path(folder), number, depth)
        told = {"name": name, "depth": depth.name, **asdict(walk), "seconds": round(time.process_time() - begun, 1)}
        print(json.dumps({**told, "peak_bytes": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
