"""What the files do not hold: the columns named do fill it, and pages and command line say whom to ask for what."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_SHOP, fresh, write_shop
from streamlit.testing.v1 import AppTest
from test_dashboard import app, said

from pipelines import metrics
from pipelines.analyses import unlocks
from pipelines.load import load
from pipelines.settings import Settings
from pipelines.sources import headings
from pipelines.warehouse import schema, vocabulary
from pipelines.warehouse.build import current_build
from tests.pages import turn

pytestmark = pytest.mark.usefixtures("no_rules")

LEAST = {
    "order_line": (
        "order_line_id",
        "order_id",
        "ordered_at",
        "product_id",
        "units",
        "net_amount",
        "currency",
        "country",
        "shipped_at",
    ),
    "return_event": ("event_id", "return_line_id", "return_id", "order_line_id", "event", "occurred_at", "units"),
}


def only(shop: dict[str, list[dict[str, str]]], columns: dict[str, tuple[str, ...]]) -> dict[str, list[dict[str, str]]]:
    """The logs and columns named, of a shop."""
    return {log: [{n: row[n] for n in names if n in row} for row in shop[log]] for log, names in columns.items()}


def loaded(folder: Path, shop: dict[str, list[dict[str, str]]]) -> Settings:
    settings = fresh(folder)
    load(settings, [write_shop(folder / "files", shop)])
    return settings


@pytest.fixture(scope="module")
def least(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Orders, and returns that were received: no request, no refund, nothing else."""
    shop = only(TINY_SHOP, LEAST)
    shop["return_event"] = [row for row in shop["return_event"] if row["event"] == "received"]
    return loaded(tmp_path_factory.mktemp("least"), shop)


def facts(settings: Settings) -> set[str]:
    """The kinds of fact some number waits for."""
    build = current_build(settings.warehouse)
    try:
        return {one.fact for one in unlocks.missing(build)}
    finally:
        build.close()


def test_the_columns_asked_for_are_headings_that_a_proposal_knows() -> None:
    """Or, where no role of a proposal fills the log, the names of the canonical format."""
    words = {word for heads in headings.WORDS.values() for word in heads}
    for fact, filling in unlocks.fillings().items():
        canonical = {c.name for filled in filling.fills for c in schema.LOG.tables[filled.split(".")[0]].columns}
        stages = {f"{stage}_at" for stage in vocabulary.EVENTS}
        for column in filling.columns:
            assert column.replace("_", " ") in words or column in canonical | stages, (fact, column)


def test_the_columns_asked_for_fill_what_was_missing(least: Settings, tiny_settings: Settings, tmp_path: Path) -> None:
    """Of the whole tiny shop, only the columns that were asked for are added to the least one.

    Nothing else is needed.
    """
    asked, possible = facts(least), facts(tiny_settings)
    assert {"stage_requested", "unit_cost", "leg", "reason"} <= asked - possible
    columns = {log: set(names) for log, names in LEAST.items()}
    for fact in asked:
        for log, column in (filled.split(".") for filled in unlocks.fillings()[fact].fills):
            if log in TINY_SHOP:
                required = {c.name for c in schema.LOG.tables[log].columns if c.info["required"]}
                columns.setdefault(log, set()).update({column} | required)
    settings = loaded(tmp_path, only(TINY_SHOP, {log: tuple(names) for log, names in columns.items()}))
    assert facts(settings) & (asked - possible) == set()


def test_a_fact_unlocks_what_waits_for_it_alone(least: Settings) -> None:
    build = current_build(least.warehouse)
    found = {one.fact: one for one in unlocks.missing(build)}
    assert "reason_share" in found["reason"].numbers
    for fact, key in (("conformity", "conformity_rate"), ("exchange", "exchange_rate"), ("refusal", "refused_rate")):
        assert found[fact].numbers == (key,)  # nothing in the files could say so: no zero
    assert "returned_units" not in {key for one in found.values() for key in one.numbers}
    assert {"margin_erosion"} <= set(found["unit_cost"].later) & set(found["leg"].later)
    assert found["leg"].pages == ("emissions", "recovery", "margin")
    assert unlocks.needed(build, "days_to_restock") == ("stage_restocked",)
    assert unlocks.needed(build, "sold_units") == ()
    build.close()


def test_requests_alone_say_nothing_of_what_came_back(tmp_path: Path) -> None:
    """An export of a portal: what was asked for is known, and that nothing came back is not."""
    shop = only(TINY_SHOP, LEAST)
    shop["return_event"] = [row for row in shop["return_event"] if row["event"] == "requested"]
    with current_build(loaded(tmp_path, shop).warehouse) as build:
        asked = metrics.answer(build, "requested_units").iloc[0]
        assert (asked["status"], asked["value"] > 0) == ("ok", True)
        for key in ("returned_units", "observed_return_rate", "ultimate_return_rate", "confirmed_units"):
            row = metrics.answer(build, key).iloc[0]
            assert row["status"] == "greyed"
            assert row["reason"].startswith("needs returns that came back or were paid")
        assert unlocks.needed(build, "returned_units") == ("back",)


def test_a_request_goes_to_who_has_the_column_in_both_languages() -> None:
    wanted = ["unit_cost", "leg", "stage_carrier_scan", "stage_handed_over"]
    english, french = (unlocks.requests(wanted, language) for language in ("en", "fr"))
    assert list(english) == ["carrier", "finance"]
    assert (
        english["finance"]
        == "Please export as a file: the purchase cost of one unit of each product, without VAT (columns sku,"
        " unit_cost, currency)."
    )
    lines = english["carrier"].splitlines()
    assert lines[0] == "Please add to the export of returns:"
    assert lines[1] == "- the day of the carrier's first scan of each parcel (column carrier_scan_at)"
    assert lines[3].startswith("Please export as a file: the transport of each return parcel")
    assert french["finance"].startswith("Merci d'exporter dans un fichier\u00a0: le coût d'achat unitaire")


def test_status_names_what_one_more_column_would_unlock(
    least: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from pipelines.cli.app import app as command

    answer = CliRunner().invoke(command, ["status", "--format", "json", "--warehouse", str(least.warehouse)])
    rows: list[dict[str, Any]] = json.loads(answer.stdout)["what_one_more_column_would_unlock"]
    assert rows[0]["unlocks"] >= rows[-1]["unlocks"]
    assert any(r["who_has_it"] == "finance" and "unit_cost" in r["ask"] for r in rows)


def opened(settings: Settings, monkeypatch: pytest.MonkeyPatch, page: str, language: str) -> AppTest:
    return turn(app(settings.warehouse, monkeypatch, lang=language), page).run()


@pytest.mark.parametrize(
    ("language", "page", "owner", "sentence"),
    [
        ("EN", "carbon", "the carrier", "Please export as a file"),
        ("FR", "try-policy", "la comptabilité", "Merci d'exporter dans un fichier"),
    ],
)
def test_a_page_without_any_number_shows_one_block(
    least: Settings, monkeypatch: pytest.MonkeyPatch, language: str, page: str, owner: str, sentence: str
) -> None:
    found = opened(least, monkeypatch, page, language)
    assert not found.exception
    assert len(found.expander) == 1
    assert any(sentence in block.value for block in found.expander[0].code)
    assert owner in said(found)
    assert not found.metric
    assert not found.info


def test_numbers_that_wait_stand_in_one_block_beside_those_that_are_known(
    least: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(least, monkeypatch, "returns", "EN")
    assert not found.exception
    assert [m.label for m in found.metric][:2] == ["Returned so far", "Expected final rate"]
    turn(found, "reasons").run()
    assert any("the reason of each return (column return_reason)" in block.value for block in found.code)


def test_the_data_page_lists_whom_to_ask_for_what(least: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(least, monkeypatch, "checks", "EN")
    found.session_state["part"] = "coverage"
    found.run()
    assert not found.exception
    asked = [block for block in found.code if block.value.startswith("Please")]
    assert len(asked) == len(unlocks.requests(facts(least)))
