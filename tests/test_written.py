"""What people write by hand beside their data: policies, readers, mappings, parameters, factors, surveys, lines.

Good files are spoiled at random, and each figure and year of them is given what Python takes for a number.
"""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as drawn
from hypothesis import strategies as st

from pipelines import factors, own_parameters
from pipelines.access.readers import load_readers
from pipelines.cli import app
from pipelines.cli.models import read_lines
from pipelines.cli.options import finite
from pipelines.errors import AccessError, BackhaulError, PolicyError, ReportError, SourceError, UnknownValue
from pipelines.outputs import disclosure
from pipelines.people import policy_text
from pipelines.settings import Settings, data_path
from pipelines.sources.mapping import Mapping
from pipelines.warehouse.scope import Scope
from tests.conftest import FUZZ
from tests.test_access import READERS
from tests.test_cli import run


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name, a good one, and what reads it."""

    name: str
    good: str
    read: Callable[[Path], Any]


def _set() -> str:
    return "".join(data_path("factors/emission_factors.csv").read_text("utf-8").splitlines(keepends=True)[:2])


def _at(path: Path, file: str) -> Settings:
    """A warehouse that keeps this text under a name of its own."""
    settings = Settings(warehouse=path.parent / "warehouse")
    settings.warehouse.mkdir(exist_ok=True)
    target = settings.readers_file if file == "readers" else settings.warehouse / file
    target.write_bytes(path.read_bytes())
    return settings


POLICY = """policy_id: P
valid_from: 2026-03-01
window_days: 30
methods: [store, mail]
fee_amount: 2.5
currency: EUR
promises:
  refund: {from: received, to: refunded, within: 5, unit: business_days}
"""
KINDS = [
    Kind("policy.yaml", POLICY, policy_text.read),
    Kind(
        "policy.csv",
        "policy_id,valid_from,window_days,promise_id,from_stage,to_stage,duration,duration_unit,fee_amount\n"
        "P,2026-03-01,30,refund,received,refunded,5,business_days,2\n",
        policy_text.read,
    ),
    Kind(
        "parameters.csv",
        "parameter,applies_to,value,low,high,source,country,valid_from_year\ntrip_distance,,5,2,9,a survey,FR,2024\n",
        lambda path: own_parameters.own_parameters(_at(path, "parameters.csv")),
    ),
    Kind(
        "survey.csv",
        "mode,km,share\n" + "car,5,1\nfoot,0.5,0\n" * 20,
        lambda path: own_parameters.import_survey(Settings(warehouse=path.parent / "own"), path, 2024, "FR"),
    ),
    Kind("set.csv", _set(), lambda path: factors.read_set(path, "own")),
    Kind("readers.yaml", READERS, lambda path: load_readers(_at(path, "readers"))),
    Kind("lines.csv", "product_id,country,net_amount,units\nA,FR,9.5,1\n", read_lines),
    Kind("lines.json", '[{"product_id": "A", "country": "FR", "net_amount": 9.5}]', read_lines),
    Kind(
        "company.json",
        '{"country": "FR", "employees": 10, "turnover_eur_m": 5.0, "markets": ["FR"]}',
        lambda path: disclosure.company(_at(path, "company.json")),
    ),
    Kind("mapping.yaml", "name: a\ntables:\n  - file: a.csv\n    to: {refund: {refund_id: {column: a}}}\n", Mapping),
]
FIGURES = ("value", "low", "high", "wtt", "ttw", "wtw", "ttw_ar6", "biogenic", "window_days", "duration", "fee_amount")
FIGURES += ("km", "share", "year", "valid_from_year", "valid_from")
NO_FIGURES = ("nan", "inf", "-inf", "1e999", "9" * 400, "²", "٣", "1_000", "0x1F", "1,5", "[]", "2026-13-45")
NASTY = (*NO_FIGURES, "true", "~", "\0", '"', "'", ",", "\n", "\r", "{", "]", ": ", "&a ", "*a", "<<: *a", "---\n", "|")
NASTY += ("!!python/name:os.system ", "x" * 140_000, "{" * 2000, "[" * 2000, "\ufeff", "\t", "é", "-", "%", "`", "@")


def only_ours(kind: Kind, path: Path) -> Any:
    """Read a file; only an error of ours may come out, in a sentence. Gives None for one that was refused."""
    found, said = None, ""
    try:
        found = kind.read(path)
    except BackhaulError as error:
        said = str(error).replace(str(path.parent), "")
    assert len(said) < 400
    assert "\n" not in said
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_good_file_is_read(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / kind.name).write_text(kind.good, encoding="utf-8")
    assert only_ours(kind, tmp_path / kind.name)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@drawn(max_examples=12 * FUZZ, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_written_files_of_any_text(kind: Kind, tmp_path: Path, data: st.DataObject) -> None:
    text = kind.good
    for _ in range(data.draw(st.integers(1, 3))):
        words = [m.span() for m in re.finditer(r"[^\s,:\[\]{}\"]+", text)] or [(0, 0)]
        begin, end = data.draw(st.sampled_from(words)) if data.draw(st.booleans()) else (0, 0)
        if not end:
            begin = data.draw(st.integers(0, len(text)))
            end = begin + data.draw(st.integers(0, 12))
        text = text[:begin] + data.draw(st.sampled_from(("", *NASTY))) + text[end:]
    (tmp_path / kind.name).write_text(text, encoding="utf-8", newline="")
    only_ours(kind, tmp_path / kind.name)


@pytest.mark.parametrize("kind", [k for k in KINDS if k.name.endswith(".csv")], ids=lambda kind: kind.name)
def test_what_is_no_figure_is_refused_in_each_column_of_figures(kind: Kind, tmp_path: Path) -> None:
    names, *rows = csv.reader(io.StringIO(kind.good))
    tried = 0
    for at, name in enumerate(names):
        for text in NO_FIGURES if name in FIGURES else ():
            out = io.StringIO()
            csv.writer(out).writerows([names, [*rows[0][:at], text, *rows[0][at + 1 :]], *rows[1:]])
            (tmp_path / kind.name).write_text(out.getvalue(), encoding="utf-8")
            assert only_ours(kind, tmp_path / kind.name) is None, (name, text)
            tried += 1
    assert tried or kind.name == "lines.csv"


@pytest.mark.parametrize("name", ["policy.yaml", "readers.yaml", "mapping.yaml"])
def test_an_alias_is_refused_by_every_reader_of_yaml(name: str, tmp_path: Path) -> None:
    (kind,) = (k for k in KINDS if k.name == name)
    (tmp_path / name).write_text(f"{kind.good}a: &one [1]\nb: *one\n", encoding="utf-8")
    line = kind.good.count("\n") + 2
    with pytest.raises((PolicyError, AccessError, SourceError), match=rf"line {line}: not YAML: `\*one` stands for"):
        kind.read(tmp_path / name)


def test_norway_is_no_no_in_a_policy() -> None:
    (found,) = policy_text.parse(POLICY + "market: NO\n")
    assert found.market == "NO"


def test_a_market_in_small_letters_is_the_market(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("version: 1\nreaders:\n  - {email: a@example.org, role: viewer, markets: [fr]}\n")
    (found,) = load_readers(_at(tmp_path / "r", "readers")).every
    assert found.scope == Scope.of(markets=["FR"])


def test_a_company_that_was_damaged_is_said_and_written_anew(settings: Settings) -> None:
    settings.warehouse.mkdir()
    (settings.warehouse / "company.json").write_text('{"country": "F')
    with pytest.raises(ReportError, match="is damaged"):
        disclosure.company(settings)
    with pytest.raises(ReportError, match="is damaged"):
        disclosure.set_company(settings, employees=20)
    disclosure.set_company(settings, country="FR", employees=20, turnover_eur_m=3.0)
    assert disclosure.company(settings) == disclosure.Company("FR", 20, 3.0)


def options_of_numbers() -> list[tuple[str, Any]]:
    """Every option of every verb that takes a number with decimals: the verb's name, and the option."""
    apps = [app, *(group.typer_instance for group in app.registered_groups)]
    verbs = [command.callback for one in apps if one for command in one.registered_commands if command.callback]
    found = []
    for verb in verbs:
        for name, hint in get_type_hints(verb, include_extras=True).items():
            kinds = get_args(hint)
            if kinds and (kinds[0] is float or float in get_args(kinds[0])):
                found.append((f"{verb.__name__} --{name}", kinds[1]))
    return found


def test_every_option_of_a_number_refuses_what_is_none() -> None:
    options = options_of_numbers()
    assert len(options) >= 12
    assert [name for name, option in options if option.callback is not finite] == []
    run("dispose", "--carbon-price", "nan", code=2)


@pytest.mark.parametrize("given", ["refurbished=abc", "refurbished=nan"])
def test_a_capacity_is_a_number(given: str, tiny_settings: Settings) -> None:
    run("dispose", "--capacity", given, "--warehouse", str(tiny_settings.warehouse), code=2)


@pytest.mark.parametrize("given", ["refurbished=-1", "nonsense=3"])
def test_a_capacity_is_of_a_route(given: str, tiny_settings: Settings) -> None:
    with pytest.raises(UnknownValue, match="give 0 or more for one of as_new"):
        run("dispose", "--capacity", given, "--warehouse", str(tiny_settings.warehouse))
