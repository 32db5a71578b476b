"""What the repository promises of itself.

Locked dependencies, sourced figures, commands and links in the docs that work.
"""

import csv
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines import metrics
from pipelines.analyses import unlocks
from pipelines.cli import app
from pipelines.warehouse import schema
from tests import audit
from tests.evidence import _trust_page
from tests.pages import SUBJECTS

ROOT = Path(__file__).parents[1]
LOCKS = ["requirements.lock", *(f"requirements-{name}.lock" for name in ("bench", "dev", "schemathesis", "tpcds"))]
OWN_WORDS = {
    "countries.csv",
    "facts.csv",
    "headings.csv",
    "months.csv",
    "reasons.csv",
    "dispositions.csv",
    "materials.csv",
    *(f"{name}_template.csv" for name in ("glec", "uba", "co2emissiefactoren", "mobitool")),  # their owner fills them
    "looked_up.csv",  # no figures: where we looked
    "note_words.csv",
    "statuses.csv",
}  # our vocabulary, not figures


def locked(name: str) -> dict[str, set[str]]:
    """Read a lock: each pinned package to the versions it is pinned at (one a Python version)."""
    pins: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if pin := re.match(r"([a-z0-9.-]+)==([^ ;]+)", line):
            pins.setdefault(pin[1], set()).add(pin[2])
    return pins


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_the_audit_asks_about_every_pin(name: str) -> None:
    asked = re.findall(
        r'^#   "([a-zA-Z0-9.-]+)==([^ ";]+)', audit.script((ROOT / name).read_text("utf-8")), re.MULTILINE
    )
    assert sorted(asked) == sorted((package, version) for package, found in locked(name).items() for version in found)
    assert len(asked) > 60


def test_the_table_of_asvs_is_whole_and_its_tests_are_there() -> None:
    page = (ROOT / "docs" / "asvs.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\d., –]+) \| .* \| (met|n/a|open) \| (.+) \|$", page, re.MULTILINE)
    points = 0
    for numbers, state, how in rows:
        for number in numbers.split(", "):
            first, _, last = number.partition("–")
            points += (
                1 if not last else 4 if first == "9.1.1" else int(last.split(".")[-1]) - int(first.split(".")[-1]) + 1
            )
        named = re.findall(r"`(tests/\w+\.py)::(\w+)`", how)
        assert (
            state != "met"
            or named
            or "[" in how
            or "bandit" in how
            or "Python" in how
            or "wheel" in how
            or "same" in how
        ), numbers
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text("utf-8"), test
    assert points == 70


def test_every_promise_about_trust_has_a_test_that_is_there() -> None:
    page = (ROOT / "docs" / "trust.md").read_text("utf-8")
    rows = re.findall(r"^\| (?!promise)[^|]+ \| `(tests/\w+\.py)(?:::(\w+))?` \| (.*) ?\|$", page, re.MULTILINE)
    assert len(rows) == page.count("\n| ") - page.count("\n| promise")
    for file, name, _ in rows:
        assert not name or re.search(rf"^(def|class) {name}\b", (ROOT / file).read_text("utf-8"), re.MULTILINE), name
    parts = set(re.findall(r"`(\w+)`(?::| \||,|$)", " ".join(length for *_, length in rows)))
    source = (ROOT / "tests" / "evidence" / "trust.py").read_text("utf-8")
    assert all(f'"{part}": ' in source for part in parts - {"forget"})


def test_every_promise_about_trust_has_its_last_figure() -> None:
    page, evidence = ((ROOT / "docs" / name).read_text("utf-8") for name in ("trust.md", "evidence.md"))
    assert _trust_page.drawn(page, evidence) == page, "write it anew: python -m tests.evidence._trust_page"
    known = _trust_page.figures(evidence)
    starts = _trust_page.begun(page.partition(_trust_page.HEAD)[2])
    assert len(starts) > 15
    if known:  # once it was measured
        assert [s for s in starts if not any(name.startswith(s) for name in known)] == []
        assert [n for n in known if not any(n.startswith(s) for s in starts)] == []
        assert _trust_page.LACKING not in page


def test_a_figure_is_written_beside_its_promise() -> None:
    head = f"{_trust_page.HEAD}\n|---|---|---|---|\n"
    rows = "| A | `t` | `kills`: *Killed* | |\n| B | `u` | – | |\n| C | `v` | *Else* | old |\n"
    evidence = "\n## Trust\n\n| Killed often | 3 | 2 \\| 3 kills | falls short |\n\n## Z\n| Else | 1 | 1 | holds |\n"
    assert _trust_page.drawn(f"# Page\n\n{head}{rows}\nEnd.\n", evidence).splitlines()[4:7] == [
        "| A | `t` | `kills`: *Killed* | 2 \\| 3 kills (falls short) |",
        "| B | `u` | – | in every run of the tests |",
        "| C | `v` | *Else* | not measured yet |",
    ]


def test_the_notice_names_the_licence_of_every_package_that_runs() -> None:
    named = dict(
        line.split(maxsplit=1)
        for line in (ROOT / "NOTICE").read_text().splitlines()
        if re.match(r"[a-z0-9.-]+  +\S", line)
    )
    assert named.keys() == locked("requirements.lock").keys()
    assert all(named.values())


def test_every_fact_that_a_number_needs_can_be_asked_for() -> None:
    needs = {fact for metric in metrics.catalogue() for need in metric.needs for fact in need.split("|")}
    others = {"customer", "product"}  # parts of pages need these
    others |= {"stage_declared", "stage_acknowledged"}  # a policy's promise from one to the other does
    assert needs | others == unlocks.fillings().keys()
    for fact, filling in unlocks.fillings().items():
        for log, column in (filled.split(".") for filled in filling.fills):
            assert column in schema.LOG.tables[log].columns, fact
        assert filling.owner in unlocks.OWNERS, fact
        assert filling.export in unlocks.EXPORTS, fact
    assert {unlocks.PAGES.get(m.family, m.family) for m in metrics.catalogue()} <= set(SUBJECTS)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_names_versions_and_hashes_only(name: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    pin = re.compile(r"[a-z0-9.-]+==[\w.!+-]+( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+")
    assert [e for e in entries if not pin.fullmatch(e.strip())] == []


@pytest.mark.parametrize(
    ("name", "extras"), [("requirements.lock", []), ("requirements-dev.lock", ["agents", "postgres", "spark", "dev"])]
)
def test_a_lock_satisfies_what_is_declared(name: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["dependencies"] + [r for e in extras for r in project["optional-dependencies"][e]]
    pins = locked(name)
    for requirement in map(Requirement, declared):
        if requirement.name == project["name"]:
            continue
        versions = pins.get(canonicalize_name(requirement.name), set())
        assert versions, f"{name} lacks {requirement.name}: run make lock"
        assert all(v in requirement.specifier for v in versions), (
            f"{name} has {requirement.name} {versions}: run make lock"
        )


def test_tests_run_on_the_versions_that_users_get() -> None:
    dev = locked("requirements-dev.lock")
    assert {n: v for n, v in locked("requirements.lock").items() if dev.get(n) != v} == {}


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("missing tool: git, and a clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_tracked_file_is_large(tracked: list[Path]) -> None:
    assert [p.name for p in tracked if p.stat().st_size > 2 * 2**20] == []


def test_no_tracked_file_names_a_place_on_a_machine_or_a_download(tracked: list[Path]) -> None:
    place = re.compile(r"(?<![\w.~*-])/(home|root|tmp|work|Users|mnt)/[\w.-]+")
    download = re.compile(r"https?://[^\"' ]+\.(whl|tar\.gz|tgz|deb)\b|--(extra-)?index" + r"-url|--find" + r"-links")
    found = []
    for path in tracked:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {m[0]}" for rule in (place, download) for m in rule.finditer(text)]
    assert found == []


def test_what_is_ignored_is_anchored_so_that_the_package_is_whole() -> None:
    lines = [line for line in (ROOT / ".gitignore").read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not line.startswith("/")] == ["__pycache__/", ".DS_Store"]


def commands(document: str) -> Iterator[list[str]]:
    """Give the commands in a document's shell blocks, as words."""
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text("utf-8"), re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words[: words.index(">")] if ">" in words else words


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_command_in_the_documents_exists(document: str) -> None:
    verbs = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    program: Any = typer.main.get_command(app)
    seen = 0
    for words in commands(document):
        seen += 1
        if words[0] == "make":
            assert set(words[1:]) <= verbs, words
        elif words[0] == "backhaul":
            assert words[1] in program.commands, words
            verb = program.commands[words[1]]
            verb.make_context(words[1], words[2:], parent=None)  # raises on an unknown option or a missing argument
        else:
            assert words[:3] == ["python3", "-m", "pip"], words
    assert seen >= 3


def test_the_makefile_explains_every_verb() -> None:
    makefile = (ROOT / "Makefile").read_text()
    explained = set(re.findall(r"^([a-z]+):.*## \w", makefile, re.MULTILINE))
    declared = next(re.finditer(r"^\.PHONY: (.*)$", makefile, re.MULTILINE))[1].split()
    assert explained == set(declared)


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_the_map_of_the_tree_is_the_tree(tracked: list[Path]) -> None:
    named = set(re.findall(r"^(\w+)/ ", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    parts = [p.relative_to(ROOT).parts for p in tracked]
    assert named == {p[0] for p in parts if len(p) > 1 and not p[0].startswith(".")}


def test_decisions_are_numbered_listed_and_complete() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = sorted(folder.glob("[0-9]*.md"))
    assert [int(p.name[:4]) for p in pages] == list(range(1, len(pages) + 1))
    index = (folder / "README.md").read_text("utf-8")
    for page in pages:
        text = page.read_text("utf-8")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "What it costs",
            "What would change our mind",
        ], page.name
        assert f"]({page.name})" in index


def unsourced(rows: list[dict[str, str]]) -> list[str]:
    """List rows without source, year and address. An assumption says so in its source and needs no address."""
    faults = []
    for number, row in enumerate(rows, start=2):
        source = row.get("source") or ""
        address = row.get("address") or row.get("source_address") or ""
        year = str(row.get("year") or "")
        is_assumption = re.match(r"(backhaul )?(assumption|rule)|invented|our own", source.lower())
        if not source or not (is_assumption or (re.fullmatch(r"(19|20)\d\d", year) and address.startswith("https://"))):
            faults.append(f"line {number}: source {source!r}, year {year!r}, address {address!r}")
    return faults


def test_every_figure_in_data_has_its_source_year_and_address() -> None:
    tables = [
        p
        for p in [*(ROOT / "data").glob("*.csv"), *(ROOT / "data" / "factors").glob("*.csv")]
        if p.name not in OWN_WORDS
    ]
    assert tables
    for path in tables:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows, path.name
        assert unsourced(rows)[:5] == [], path.name


def test_every_parameter_of_the_sample_shop_has_its_source() -> None:
    parameters = yaml.safe_load((ROOT / "data" / "sample" / "parameters.yaml").read_text("utf-8"))
    assert {
        k: unsourced([v])
        for k, v in parameters.items()
        if not isinstance(v, dict) or "value" not in v or unsourced([v])
    } == {}


def test_the_source_check_has_teeth() -> None:
    good = {"source": "DESNZ", "year": "2025", "address": "https://www.gov.uk/x"}
    assert unsourced([good, {"source": "assumption: a guess"}]) == []
    assert len(unsourced([{**good, "year": ""}, {**good, "address": ""}, {**good, "source": ""}])) == 3
