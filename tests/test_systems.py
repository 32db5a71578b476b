"""The mappings that come with the product, each on a fixture of its system's columns and traps.

With numbers worked out by hand.
"""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import select

from pipelines import metrics
from pipelines.errors import SourceError
from pipelines.load import land, run
from pipelines.metrics import Question
from pipelines.settings import Settings
from pipelines.sources import logs_of, mappings, recognise, source_named
from pipelines.sources.propose import propose
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import build_path, current_build, current_id
from pipelines.warehouse.sql import connect

pytestmark = pytest.mark.usefixtures("no_rules")

SYSTEMS = Path(__file__).parent / "fixtures" / "systems"
# mapping -> the name its rows get where it is not the mapping's own: a report that would tell the same sales twice
APART = {"amazon_date_range": "amazon_money", "aftership_webhooks": "aftership_hooks"}
# read by code, in two forms -> the name its rows get, so that each form's numbers stand alone
CODED = {"shopify_bulk": "shopify_bulk", "shopify_web_hooks": "shopify_hooks"}
NUMBERS = {
    "sold": "SELECT source, sum(units_sold) FROM fact_order_line GROUP BY 1",
    "net": "SELECT source, sum(net_amount)::DOUBLE FROM fact_order_line WHERE currency = 'EUR' GROUP BY 1",
    "asked": "SELECT source, sum(units) FROM fact_return_line GROUP BY 1",
    "back": "SELECT source, sum(units) FROM fact_return_line WHERE confirmed_at IS NOT NULL GROUP BY 1",
    "bound": (
        "SELECT r.source, sum(r.units) FROM fact_return_line r JOIN fact_order_line USING (order_line_key) GROUP BY 1"
    ),
    "refunded": "SELECT source, sum(amount)::DOUBLE FROM fact_refund WHERE currency <> 'JPY' GROUP BY 1",
}
EXPECTED = {
    # 1 + 3 + 1 in France and 2 in the United States; a cancelled order, a pending one and one of another shop are none.
    # 12 - 2, 36 - 3 - 5.50 and 24 - 4 EUR. Five rows of returns, one plate twice: four units.
    "amazon": {"sold": 7, "net": 57.5, "asked": 4, "back": 4, "bound": 4},
    # 600 of goods and 48 of tax went back; the fee and the transfer are neither sales nor returns
    "amazon_money": {"sold": 3, "asked": 1, "back": 1, "bound": 1, "refunded": 648},
    # 2 caps, a scarf and a cap; the cancelled order is none. 24 for one cap, 5 of goodwill
    "woocommerce": {"sold": 4, "net": 85, "asked": 1, "back": 1, "bound": 1, "refunded": 29},
    # 5 and one dozen left; 2 came back on the first delivery, a cancelled move is none; no move has a price
    "odoo": {"sold": 17, "net": None, "asked": 2, "back": 2, "bound": 2},
    # 2 + 1 + 1 + 1 asked; only the first line of the first return came back
    "adobe_commerce": {"asked": 5, "back": 2},
    # one entry a unit, the first hook delivered twice: 3 came back, of three other returns one expired, one was
    # cancelled, one is under way
    "loop": {"asked": 6, "back": 3, "refunded": 55},
    # the first return is told in three hooks, one of them twice: 2 asked and received; 1 was rejected, 3 expired
    "aftership_hooks": {"asked": 6, "back": 2},
    # 1 shoe and 2 socks came back; one return was rejected, one only approved
    "aftership": {"asked": 5, "back": 3, "refunded": 89},
    "happy_returns": {"asked": 2, "back": 1},
    # 10.50 and 5.00 EUR, 1.500 KWD, 500 UGX; failed, pending and cancelled refunds are no money (3,000 JPY beside them)
    "stripe": {"refunded": 517},
    # 20 + 15.50; the third was reversed, chargebacks are no refunds
    "adyen": {"refunded": 35.5},
    # 1 + 1 + 1 + 2 of six units, one was removed; 60 / 1.2 twice, 24 / 1.2 three times
    "onestock": {"sold": 5, "net": 160, "asked": 3, "back": 1, "bound": 3},
    # the first arrived; the second was scanned and lost, the third has only a label
    "carrier": {"asked": 3, "back": 1},
    # the first arrived, the second was scanned (an event that says nothing is none), the third has only a label
    "dhl": {"asked": 3, "back": 2},
    # 2 of 101 and 1 of 102 left; the second line of 101 is still to ship, 103 a test, 104 cancelled before it left.
    # 60 less 10 of tax each, for what left. 101's return of 1 is paid, told in the bulk file and on the refund's own
    # page; 102's of 1 was declined
    "shopify_bulk": {"sold": 3, "net": 100, "asked": 2, "back": 1, "bound": 2, "refunded": 30},
    # 201 (2 + 1, told twice) and 202 (3): 24 - 4, 60 - 10, 54 - 9. 1 of 201 is back and paid, 1 of 202 is back, its
    # payment failed; a customer's hook is nothing
    "shopify_hooks": {"sold": 6, "net": 115, "asked": 2, "back": 2, "bound": 2, "refunded": 12},
    # 60 + 40 + 90 + 60 with 20% tax inside; returns have a receipt of their own and name no sale: 2 came back over 5
    "till": {"sold": 5, "net": 208.3333, "asked": 2, "back": 2, "bound": 0, "refunded": 80, "rate_in_store": 0.4},
}


def files_of(mapping: str) -> list[Path]:
    return sorted((SYSTEMS / mapping).iterdir())


SHIPPED = sorted(path.name for path in SYSTEMS.iterdir() if path.name not in CODED)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Load every fixture by its mapping into one warehouse and give the numbers by source."""
    settings = Settings(warehouse=tmp_path_factory.mktemp("systems") / "warehouse")
    settings.warehouse.mkdir()
    state_file = state.State(settings.warehouse)
    for mapping in SHIPPED:
        land.begin(state_file, files_of(mapping), mapping, APART.get(mapping), None)  # built once, for all of them
    for form, name in CODED.items():
        land.begin(state_file, files_of(form), "shopify", name, None)
    state_file.close()
    run.load(settings)
    build = duckdb.connect(str(build_path(settings.warehouse, current_id(settings.warehouse) or "")), read_only=True)
    found: dict[str, dict[str, Any]] = {}
    for key, sql in NUMBERS.items():
        for source, number in build.execute(sql).fetchall():
            found.setdefault(source, {})[key] = None if number is None else round(float(number), 4)
    build.close()
    in_store = Question(where={"channel": ["store"]})
    rates = metrics.answer(current_build(settings.warehouse), "period_return_rate", in_store, by=["source"])
    for source, rate in rates.set_index("source")["value"].items():
        found.setdefault(str(source), {})["rate_in_store"] = round(float(rate), 4)
    state_file = state.State(settings.warehouse)
    for row in state_file.rows(select(state_tables.quarantine)):
        fault = (row["thing"], row["line"], row["rules"], row["value"])
        found.setdefault(row["source"], {}).setdefault("quarantined", []).append(fault)
    state_file.close()
    return found


@pytest.mark.parametrize("source", EXPECTED)
def test_a_system_gives_the_numbers_worked_out_by_hand(source: str, numbers: dict[str, dict[str, Any]]) -> None:
    found = numbers.get(source, {})
    assert {key: found.get(key, 0) for key in EXPECTED[source]} == EXPECTED[source]
    assert "quarantined" not in found


def test_every_mapping_of_a_system_has_a_fixture_says_what_was_verified_and_stands_in_the_manual() -> None:
    manual = (Path(__file__).parent.parent / "docs" / "sources.md").read_text(encoding="utf-8")
    general = {"one_table", "two_sheets", "shipment_log"}
    assert set(SHIPPED) <= set(mappings()), set(SHIPPED) - set(mappings())
    for mapping, path in mappings().items():
        if mapping not in general and not mapping.startswith("shopify"):
            assert mapping in SHIPPED
            assert "# Verified on 20" in path.read_text(encoding="utf-8"), mapping
        assert f"`{mapping}`" in manual, mapping


def test_times_of_a_settlement_are_in_the_zone_beside_them(tmp_path: Path) -> None:
    (file,) = files_of("adyen_settlement")
    told = tmp_path / file.name
    told.write_text(file.read_text(encoding="utf-8").replace("2026-04-09 09:00:00,CEST", "2026-04-09 09:00:00,PDT"))
    with connect(":memory:", threads=2, folders=[tmp_path]) as connection:
        for named in source_named("adyen_settlement").name_rows(connection, [told], "adyen"):
            if named.thing == "refund":
                times = connection.execute(f"SELECT DISTINCT refunded_at FROM ({named.sql})").fetchall()
    assert ("2026-04-09T16:00:00Z",) in times


@pytest.mark.parametrize("mapping", SHIPPED)
def test_a_file_of_a_system_is_recognised_and_told_how_to_load(mapping: str) -> None:
    proposal = propose(files_of(mapping))
    assert proposal.shipped == mapping
    assert proposal.text().endswith(f"--source {mapping}")
    assert proposal.yaml == mappings()[mapping].read_text(encoding="utf-8")
    assert recognise(files_of(mapping)).version == source_named(mapping).version


@pytest.mark.parametrize("form", CODED)
def test_a_file_that_code_reads_needs_no_mapping_and_is_told_how_to_load(form: str) -> None:
    files = files_of(form)
    with pytest.raises(SourceError, match=f"needs no mapping, for shopify knows it.*backhaul load {files[0].parent}"):
        propose(files)
    assert recognise(files).name == "shopify"


@pytest.mark.parametrize(
    ("together", "numbers"),
    [
        (("woocommerce_orders", "woocommerce_refunds"), "woocommerce"),
        (("amazon_all_orders", "amazon_fba_returns"), "amazon"),
    ],
)
def test_files_of_one_system_are_read_by_one_mapping(together: tuple[str, ...], numbers: str, tmp_path: Path) -> None:
    """Orders and refunds given together: each by its own mapping, under one source, so that they find each other."""
    for mapping in together:
        for file in files_of(mapping):
            shutil.copy(file, tmp_path / f"{mapping}{file.suffix}")
    proposal = propose(tmp_path)
    assert proposal.shipped == " and ".join(sorted(together))
    assert proposal.text().splitlines()[-1] == f"backhaul load {tmp_path}"
    settings = Settings(warehouse=tmp_path / "w")
    run.load(settings, sorted(tmp_path.iterdir())[:2])
    build = duckdb.connect(str(build_path(settings.warehouse, current_id(settings.warehouse) or "")), read_only=True)
    found = {key: dict(build.execute(sql).fetchall()) for key, sql in NUMBERS.items()}
    build.close()
    assert {k: found[k].get(numbers, 0) for k in EXPECTED[numbers]} == EXPECTED[numbers]


@pytest.mark.parametrize(
    ("mapping", "lacking"),
    [
        ("stripe_refunds", ("charge",)),
        ("amazon_fba_returns", ("customer-comments", "fulfillment-center-id")),
        ("woocommerce_refunds", ("reason",)),
    ],
)
def test_a_column_that_a_file_lacks_is_empty(mapping: str, lacking: tuple[str, ...], tmp_path: Path) -> None:
    """An account or a version that has not every documented column: the file is known all the same, and read."""
    (file,) = files_of(mapping)
    text = file.read_text(encoding="utf-8")
    for column in lacking:
        text = text.replace(column, "x")
    (tmp_path / file.name).write_text(text, encoding="utf-8")
    assert recognise([tmp_path / file.name]).version == source_named(mapping).version
    assert logs_of(source_named(mapping), [tmp_path / file.name])


def test_a_column_that_a_condition_needs_may_not_lack(tmp_path: Path) -> None:
    """Without its status a refund that failed would count: the file is not taken for Stripe's."""
    (file,) = files_of("stripe_refunds")
    (tmp_path / file.name).write_text(file.read_text(encoding="utf-8").replace('"status"', '"x"'), encoding="utf-8")
    with pytest.raises(SourceError, match="No source recognises"):
        recognise([tmp_path / file.name])
