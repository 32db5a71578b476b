"""What carriers charge and owe.

Invoices matched to legs, rate cards, handling by site, duties, claims; each before the usual rate.
"""

from pathlib import Path

import duckdb
import pytest
from conftest import TINY_SHOP, fresh, write_rows, write_shop

from pipelines import analyses, metrics
from pipelines.load import load
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_build, current_id

pytestmark = pytest.mark.usefixtures("nothing_fitted")

INVOICES = [
    {
        "invoice_line_id": "I1-1",
        "invoice_id": "I1",
        "invoiced_at": "2025-12-31T00:00:00Z",
        "carrier": "Relais",
        "parcel_id": "P4",
        "kind": "freight",
        "amount": "3.2",
        "vat_amount": "0.64",
        "currency": "EUR",
    },
    {
        "invoice_line_id": "I1-2",
        "invoice_id": "I1",
        "invoiced_at": "2025-12-31T00:00:00Z",
        "carrier": "Relais",
        "parcel_id": "P4",
        "kind": "fuel",
        "amount": "0.3",
        "vat_amount": "0.06",
        "currency": "EUR",
    },
    {
        "invoice_line_id": "I1-3",
        "invoice_id": "I1",
        "invoiced_at": "2025-12-31T00:00:00Z",
        "carrier": "Relais",
        "parcel_id": "P1",
        "kind": "duty",
        "amount": "2",
        "vat_amount": "0",
        "currency": "EUR",
    },
    {
        "invoice_line_id": "I1-4",
        "invoice_id": "I1",
        "invoiced_at": "2025-12-31T00:00:00Z",
        "carrier": "Relais",
        "parcel_id": "P99",
        "kind": "freight",
        "amount": "9",
        "vat_amount": "1.8",
        "currency": "EUR",
    },
]
CARDS = [
    {
        "rate_id": "all",
        "valid_from": "2025-01-01T00:00:00Z",
        "carrier": "Relais",
        "weight_from_kg": "0",
        "weight_to_kg": "1",
        "price": "5",
        "fuel_share": "0.1",
        "surcharge": "0.5",
        "currency": "EUR",
    },
    {
        "rate_id": "heavy",
        "valid_from": "2025-01-01T00:00:00Z",
        "carrier": "Relais",
        "weight_from_kg": "1",
        "price": "8",
        "fuel_share": "0",
        "surcharge": "0",
        "currency": "EUR",
    },
]
HANDLING = [
    {
        "place_id": "RC",
        "activity": a,
        "valid_from": "2025-01-01T00:00:00Z",
        "minutes": m,
        "hourly_cost": "30",
        "currency": "EUR",
    }
    for a, m in (("receipt", "2"), ("inspection", "3"), ("grading", "1"), ("repacking", "4"))
]
CLAIMS = [
    {
        "claim_id": "C1",
        "opened_at": "2026-01-05T00:00:00Z",
        "parcel_id": "P1",
        "carrier": "Relais",
        "kind": "damaged",
        "amount": "20",
        "decided_at": "2026-01-20T00:00:00Z",
        "paid_amount": "12",
        "currency": "EUR",
    },
]
MORE = {"carrier_invoice": INVOICES, "rate_card": CARDS, "handling_rate": HANDLING, "carrier_claim": CLAIMS}


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The tiny shop with what its carrier charges."""
    folder = tmp_path_factory.mktemp("paid")
    settings = fresh(folder)
    files = write_shop(folder / "files")
    for thing, rows in MORE.items():
        write_rows(files / f"{thing}.csv", rows)
    load(settings, [files])
    return settings


def opened(settings: Settings) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(build_path(settings.warehouse, str(current_id(settings.warehouse)))), read_only=True)


def costs(settings: Settings) -> dict[str, tuple[float, str, str]]:
    with opened(settings) as connection:
        rows = connection.execute(
            "SELECT element_id, e.amount::DOUBLE, e.status, e.method FROM fact_return_leg JOIN estimate_leg_cost e"
            " USING (leg_key)"
        ).fetchall()
    return {r[0]: r[1:] for r in rows}


def test_an_invoice_comes_first_then_the_card_then_the_usual_rate(paid: Settings, tiny_settings: Settings) -> None:
    """P4 by its carrier's invoice.

    P1's first leg by the card, 5 x 1.1 + .5; elements with an amount of their own by that; VAT stays apart.
    """
    found = costs(paid)
    assert found["shop:E4"] == (pytest.approx(3.5), "measured", "carrier invoice")
    assert found["shop:E2"] == (4, "measured", "invoice")
    assert found["shop:E3"] == (5, "measured", "invoice")
    assert found["shop:E1"] == (pytest.approx(6.0), "imputed", "rate card")
    assert costs(tiny_settings)["shop:E1"][1:] == ("assumed", "usual rate")


def test_the_weight_break_decides(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    shop = {
        **TINY_SHOP,
        "chain_element": [
            {**r, "mass_kg": "1.5", "cost_amount": "-"} if r["element_id"] == "E4" else r
            for r in TINY_SHOP["chain_element"]
        ],
    }
    shop = {thing: [{k: "" if v == "-" else v for k, v in row.items()} for row in rows] for thing, rows in shop.items()}
    files = write_shop(tmp_path / "files", shop)
    write_rows(files / "rate_card.csv", CARDS)
    load(settings, [files])
    assert costs(settings)["shop:E4"] == (8, "imputed", "rate card")


def test_unmatched_lines_are_shown(paid: Settings) -> None:
    with current_build(paid.warehouse) as build:
        assert metrics.answer(build, "invoice_unmatched_amount")["value"].iloc[0] == 9
        rows = metrics.rows(build, "invoice_unmatched_amount")
        assert list(rows["invoice_line_id"]) == ["shop:I1-4"]


def test_without_invoices_the_number_waits(tiny_settings: Settings) -> None:
    with current_build(tiny_settings.warehouse) as build:
        found = metrics.answer(build, "invoice_unmatched_amount").iloc[0]
    assert found["status"] == "greyed"


def test_duties_claims_and_site_rates_are_components(paid: Settings) -> None:
    """Duties and what the carrier paid fall to the parcel's lots; handling is minutes x the hour of the site.

    (2 + 3 + 1 + 4) / 60 x 30 = 5.
    """
    with opened(paid) as connection:
        rows = connection.execute(
            "SELECT component, e.status, e.method, sum(e.amount)::DOUBLE FROM fact_return_line JOIN"
            " estimate_return_cost e USING (return_lot_key) WHERE parcel_id = 'shop:P1' GROUP BY ALL"
        ).fetchall()
    found = {r[0]: r[1:] for r in rows}
    assert found["duties"] == ("measured", "carrier invoice", 2)
    assert found["carrier_claim"] == ("measured", "paid by the carrier", -12)
    assert found["handling"] == ("imputed", "rates of the site", pytest.approx(5.0))


def test_a_later_invoice_gives_what_one_load_gives(paid: Settings, copy_of_tiny: Settings, tmp_path: Path) -> None:
    settings = copy_of_tiny
    for thing, rows in MORE.items():
        write_rows(tmp_path / "more" / f"{thing}.csv", rows)
    assert load(settings, [tmp_path / "more"]).kind == "full"
    assert costs(settings) == costs(paid)


def test_lost_parcels_are_worth_claiming(sample_settings: Settings) -> None:
    """Every lost parcel once, the ones still to be claimed first, the dearest on top; the metric is their sum."""
    with current_build(sample_settings.warehouse) as build:
        found = analyses.claims(build)
        open_ = metrics.answer(build, "claims_open_amount")["value"].iloc[0]
    assert len(found) > 10
    assert found["parcel_id"].is_unique
    assert set(found["status"]) <= {"eligible", "too_late"}
    first = found[found["status"] == "eligible"]
    assert first["amount"].is_monotonic_decreasing
    assert (first["days_left"] >= 0).all()
    assert found["amount"].sum() == pytest.approx(open_)


def test_price_lists_in_another_currency_and_at_their_time(tmp_path: Path) -> None:
    """Francs at half a euro.

    The site's dearer hour begins after the parcel was received; a card in an unknown currency is none.
    """
    settings = fresh(tmp_path)
    files = write_shop(tmp_path / "files")
    later = {**HANDLING[0], "valid_from": "2026-01-25T00:00:00Z", "hourly_cost": "3000"}
    write_rows(files / "rate_card.csv", [{**c, "currency": "CHF"} for c in CARDS])
    write_rows(files / "handling_rate.csv", [*({**h, "currency": "CHF"} for h in HANDLING), later])
    write_rows(
        files / "fx_rate.csv",
        [{"day": "2025-12-01T00:00:00Z", "currency": "CHF", "quote_currency": "EUR", "rate": "0.5"}],
    )
    load(settings, [files])
    assert costs(settings)["shop:E1"] == (pytest.approx(3.0), "imputed", "rate card")
    with opened(settings) as connection:
        sum_ = (
            "SELECT sum(e.amount)::DOUBLE FROM fact_return_line JOIN estimate_return_cost e USING (return_lot_key)"
            " WHERE parcel_id = 'shop:P1' AND component = 'handling'"
        )
        assert connection.execute(sum_).fetchall()[0][0] == pytest.approx(2.5)
        assert connection.execute("SELECT count(*) FROM dim_handling_rate WHERE activity = 'receipt'").fetchall() == [
            (2,)
        ]
    unknown = fresh(tmp_path / "unknown")
    files = write_shop(tmp_path / "unknown" / "files")
    write_rows(files / "rate_card.csv", [{**c, "currency": "XTS"} for c in CARDS])
    load(unknown, [files])
    assert costs(unknown)["shop:E1"][1:] == ("assumed", "usual rate")
