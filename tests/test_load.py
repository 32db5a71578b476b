"""The way of the data: landed, judged, logged, shaped, published; the same facts whatever the order of arrival."""

import copy
import hashlib
import hmac
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import TINY_SHOP, copied, fresh, write_rows, write_shop
from sqlalchemy import Double, Integer, Numeric, delete

from pipelines.errors import CheckFailed, SourceError, WarehouseLocked, WarehouseMissing
from pipelines.load import Report, land, load, verdicts
from pipelines.load import checks as checks_load
from pipelines.load.shape import versions
from pipelines.settings import Settings
from pipelines.warehouse import build, schema, sql, star, state, state_tables
from pipelines.warehouse.star import facts as facts_star
from tests.turns import by_turns, left_to_proofs

pytestmark = pytest.mark.usefixtures("nothing_fitted")

Shop = dict[str, list[dict[str, str]]]


def tables(settings: Settings, prefixes: tuple[str, ...] = ("fact_", "dim_")) -> dict[str, pd.DataFrame]:
    """Every fact and dimension of the current build, in a fixed order of rows."""
    path = build.build_path(settings.warehouse, build.current_id(settings.warehouse) or "")
    with duckdb.connect(str(path), read_only=True) as connection:
        return {
            t: connection.execute(f"SELECT * FROM {t} ORDER BY ALL").df()
            for t in star.STAR.tables
            if t.startswith(prefixes)
        }


def assert_same(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        pd.testing.assert_frame_equal(left[name], right[name], obj=name)


def as_if_written_before(settings: Settings) -> None:
    """Forget the checksums of the logs, as in a warehouse of the version that kept none.

    Log files may be other ones then.
    """
    state_file = state.State(settings.warehouse)
    with state_file.transaction() as connection:
        connection.execute(delete(state_tables.log_file))
    state_file.close()


def part(shop: Shop, orders: set[str], *, dimensions: bool = True) -> Shop:
    """The rows of some orders, with everything that hangs on them."""
    lines = {r["order_line_id"] for r in shop["order_line"] if r["order_id"] in orders}
    returns = {r["return_id"] for r in shop["return_event"] if r["order_line_id"] in lines}
    parcels = {r["parcel_id"] for r in shop["return_event"] if r["return_id"] in returns}
    chosen = {
        "order_line": [r for r in shop["order_line"] if r["order_id"] in orders],
        "return_event": [r for r in shop["return_event"] if r["return_id"] in returns],
        "chain_element": [r for r in shop["chain_element"] if r["parcel_id"] in parcels],
        "refund": [r for r in shop["refund"] if r["order_id"] in orders],
        "recovery": [r for r in shop["recovery"] if r["return_line_id"].split("-")[0] in returns],
    }
    refunds = {r["refund_id"] for r in chosen["refund"]}
    chosen["refund_line"] = [r for r in shop["refund_line"] if r["refund_id"] in refunds]
    if dimensions:
        chosen |= {t: shop[t] for t in ("shop", "product", "place", "policy")}
    return {t: rows for t, rows in chosen.items() if rows}


def quarantined(settings: Settings) -> dict[tuple[str, str], int]:
    found = state.quarantine_by_rule(settings)
    return {(r.thing, r.rules): r.rows for r in found[["thing", "rules", "rows"]].itertuples(index=False)}


def test_the_tiny_shop_has_the_numbers_worked_out_by_hand(tiny_settings: Settings) -> None:
    facts = tables(tiny_settings)
    lines, lots = facts["fact_order_line"], facts["fact_return_line"]
    assert lines.units_sold.sum() == 9
    assert lines.units_exchanged_in.sum() == 1
    assert lines.units_cancelled.sum() == 1
    assert float(lines[lines.units_sold > 0].net_amount.sum()) == 540
    assert lots[lots.is_headline & lots.confirmed_at.notna()].units.sum() == 4  # what was lost is not back
    assert lots.groupby("return_id").size().to_dict() == {"shop:R1": 1, "shop:R2": 2, "shop:R3": 1, "shop:R4": 1}
    assert set(lines[lines.has_several_sizes].order_line_id) == {"shop:O1-1", "shop:O1-2"}
    # ordered 5 December 23:30 UTC is the 6th in Paris
    assert str(lines.set_index("order_line_id").ordered_on["shop:O2-1"])[:10] == "2025-12-06"
    assert float(facts["fact_refund"].set_index("refund_id").discrepancy_amount["shop:F2"]) == -2


SAID = "Trop petit à la taille, rappelez Marie Dupont au 0612345678"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Report]:
    """The tiny shop with windows that end on a date, a note, a row given twice and two that cannot be read."""
    folder = tmp_path_factory.mktemp("odd")
    shop = copy.deepcopy(TINY_SHOP)
    for row in shop["policy"]:
        row["window_until"] = "2026-01-31"
    shop["order_line"][4]["units"] = "one"
    for row in shop["return_event"]:
        row["note_terms"] = SAID if row["event_id"] == "1" else ""
    first = shop["return_event"][0]
    shop["return_event"] += [dict(first), {**first, "event_id": "99", "event": "vanished"}]
    settings = fresh(folder)
    return settings, load(settings, [write_shop(folder / "shop", shop)])


def test_a_window_ends_on_a_date_where_that_is_later_than_its_days(odd: tuple[Settings, Report]) -> None:
    facts = tables(odd[0])
    ends = facts["fact_order_line"].set_index("order_line_id").window_ends_on
    # delivered 3 December: 30 days end on 2 January; delivered 13 January: on 12 February
    assert str(ends["shop:O1-1"])[:10] == "2026-01-31"
    assert pd.isna(ends["shop:O6-1"])
    lots = facts["fact_return_line"]
    assert lots.window_ends_on.notna().all()
    assert (lots.window_days == 30).all()


def test_a_log_written_before_a_column_was_added_is_read(copy_of_tiny: Settings, tmp_path: Path) -> None:
    before = tables(copy_of_tiny)
    for file in (copy_of_tiny.warehouse / "log" / "policy").rglob("*.parquet"):
        duckdb.execute(f"COPY (SELECT * EXCLUDE window_until FROM '{file}') TO '{tmp_path / 'older.parquet'}'")
        file.chmod(0o600)
        file.write_bytes((tmp_path / "older.parquet").read_bytes())
    as_if_written_before(copy_of_tiny)
    load(
        copy_of_tiny,
        [write_shop(tmp_path / "more", {"shop": [{**TINY_SHOP["shop"][0], "valid_from": "2025-06-01T00:00:00Z"}]})],
    )
    after = tables(copy_of_tiny)
    assert_same({"policy": before["dim_policy"]}, {"policy": after["dim_policy"]})


def test_a_second_load_of_the_same_files_changes_nothing_and_says_so(copy_of_tiny: Settings, tiny_files: Path) -> None:
    before = tables(copy_of_tiny, ("fact_", "dim_", "estimate_"))
    report = load(copy_of_tiny, [tiny_files])
    assert not report.is_new_build
    assert len(report.skipped) == len(TINY_SHOP)
    assert_same(before, tables(copy_of_tiny, ("fact_", "dim_", "estimate_")))


def test_the_same_rows_in_other_files_are_duplicates(copy_of_tiny: Settings, tmp_path: Path) -> None:
    before = tables(copy_of_tiny)
    again = {
        "order_line": list(reversed(TINY_SHOP["order_line"])),
        "return_event": list(reversed(TINY_SHOP["return_event"])),
    }
    report = load(copy_of_tiny, [write_shop(tmp_path / "again", again)])
    assert all(c["duplicate"] == c["read"] > 0 and c["accepted"] == 0 for c in report.counts)
    assert_same(before, tables(copy_of_tiny))


@pytest.mark.parametrize("first", [{"O4", "O5", "O6"}, left_to_proofs({"O2"})])
def test_two_halves_give_the_facts_of_the_whole(
    settings: Settings, tiny_settings: Settings, tmp_path: Path, first: set[str]
) -> None:
    everything = {r["order_id"] for r in TINY_SHOP["order_line"]}
    load(settings, [write_shop(tmp_path / "one", part(TINY_SHOP, first))])
    load(settings, [write_shop(tmp_path / "two", part(TINY_SHOP, everything - first, dimensions=False))])
    assert_same(tables(tiny_settings), tables(settings))


def test_shuffled_events_give_the_same_facts(settings: Settings, tiny_settings: Settings, tmp_path: Path) -> None:
    shop = copy.deepcopy(TINY_SHOP)
    for rows in shop.values():
        random.Random(0).shuffle(rows)
    load(settings, [write_shop(tmp_path / "shuffled", shop)])
    assert_same(tables(tiny_settings), tables(settings))


def test_returns_before_their_orders_bind_when_the_orders_come(
    settings: Settings, tiny_settings: Settings, tmp_path: Path
) -> None:
    orders = {t: TINY_SHOP[t] for t in ("order_line",)}
    rest = {t: rows for t, rows in TINY_SHOP.items() if t != "order_line"}
    load(settings, [write_shop(tmp_path / "rest", rest)])
    assert tables(settings)["fact_return_line"].order_line_key.isna().all()
    load(settings, [write_shop(tmp_path / "orders", orders)])
    assert_same(tables(tiny_settings), tables(settings))


def big_shop(count: int) -> Shop:
    """The tiny shop's orders repeated, so that few of many can be touched."""
    shop = {t: TINY_SHOP[t] for t in ("shop", "product", "place", "policy")}
    names = (
        "order_line_id",
        "order_id",
        "event_id",
        "return_line_id",
        "return_id",
        "parcel_id",
        "element_id",
        "refund_id",
        "refund_line_id",
        "recovery_id",
    )
    for thing in ("order_line", "return_event", "chain_element", "refund", "refund_line", "recovery"):
        shop[thing] = [
            {k: f"{v}x{n}" if v and k in (*names, "exchanged_from_line_id") else v for k, v in row.items()}
            for n in range(count)
            for row in TINY_SHOP[thing]
        ]
    return shop


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Thirty times the orders of the tiny shop, loaded at once."""
    folder = tmp_path_factory.mktemp("big")
    settings = fresh(folder)
    assert load(settings, [write_shop(folder / "whole", big_shop(30))]).kind == "full"
    return settings


def test_an_increment_gives_what_a_full_build_gives(
    big: Settings, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [
        checks_load.Check(k, "Rows looked at.", f"SELECT 1 FROM {t} WHERE {{{k}}}", False)
        for t, k in (("fact_return_line", "return_line_key"), ("fact_return_leg", "shaped_leg"))
    ]
    monkeypatch.setattr(checks_load, "CHECKS", (*checks_load.CHECKS, *asked))
    whole = big_shop(30)
    late = {r["event_id"] for r in whole["return_event"] if r["event_id"] in ("7x3", "13x4", "12x5", "21x6")} | {
        r["event_id"] for r in whole["return_event"] if r["return_id"] == "R3x7"
    }
    last_order = "O6x29"
    first = {
        **whole,
        "return_event": [r for r in whole["return_event"] if r["event_id"] not in late],
        "order_line": [r for r in whole["order_line"] if r["order_id"] != last_order],
        "refund_line": whole["refund_line"][:-1],
        "chain_element": whole["chain_element"][:-1],
        "recovery": whole["recovery"][:-1],
    }
    second = {
        "return_event": [r for r in whole["return_event"] if r["event_id"] in late],
        "order_line": [r for r in whole["order_line"] if r["order_id"] == last_order],
        "refund_line": whole["refund_line"][-1:],
        "chain_element": whole["chain_element"][-1:],
        "recovery": whole["recovery"][-1:],
    }
    load(settings, [write_shop(tmp_path / "first", first)])
    report = load(settings, [write_shop(tmp_path / "second", second)])
    assert report.kind == "increment"
    looked_at = {w["check"]: w["rows"] for w in report.warnings}
    assert 0 < looked_at["return_line_key"] < report.changes["fact_return_line"]["rows"] / 4
    assert 0 < looked_at["shaped_leg"] < report.changes["fact_return_leg"]["rows"] / 4
    assert_same(tables(big), tables(settings))
    left, right = (
        tables(big, ("estimate_promise", "estimate_leg", "estimate_return_c")),
        tables(settings, ("estimate_promise", "estimate_leg", "estimate_return_c")),
    )
    assert_same(left, right)


def moved(whole: Shop, thing: str, key: str, changes: dict[str, dict[str, object]]) -> list[dict[str, object]]:
    """Later versions of rows, with something in them changed."""
    rows = {r[key]: r for r in whole[thing]}
    return [{**rows[i], **change, "recorded_at": "2026-01-25T00:00:00Z"} for i, change in changes.items()]


def test_a_row_that_moves_leaves_nothing_where_it_was(big: Settings, tmp_path: Path) -> None:
    settings = copied(big, tmp_path / "copy")
    whole = big_shop(30)
    line, event, element, refund_line = (
        whole[t][-1] for t in ("order_line", "return_event", "chain_element", "refund_line")
    )
    other = {
        t: next(r for r in whole[t] if r[k] != moving[k])
        for t, k, moving in (
            ("return_event", "return_line_id", event),
            ("chain_element", "parcel_id", element),
            ("refund_line", "refund_id", refund_line),
        )
    }
    edits: Shop = {
        "order_line": moved(
            whole,
            "order_line",
            "order_line_id",
            {line["order_line_id"]: {"customer_id": "somebody else", "order_id": "O1x3"}},
        ),
        "return_event": moved(
            whole,
            "return_event",
            "event_id",
            {
                event["event_id"]: {
                    k: other["return_event"][k] for k in ("return_line_id", "return_id", "order_line_id", "parcel_id")
                }
            },
        ),
        "chain_element": moved(
            whole,
            "chain_element",
            "element_id",
            {element["element_id"]: {"parcel_id": other["chain_element"]["parcel_id"]}},
        ),
        "refund_line": moved(
            whole,
            "refund_line",
            "refund_line_id",
            {refund_line["refund_line_id"]: {"refund_id": other["refund_line"]["refund_id"]}},
        ),
    }
    # touches again where the rows were
    after: Shop = {
        "return_event": [{**event, "event_id": "late", "event": "inspected", "occurred_at": "2026-01-26T09:00:00Z"}],
        "chain_element": [{**element, "element_id": "late", "element_no": 9}],
        "order_line": [{**line, "order_line_id": "late"}],
    }
    for name, rows in (("edits", edits), ("after", after)):
        assert load(settings, [write_shop(tmp_path / name, rows)]).kind == "increment"
    at_once = fresh(tmp_path / "at_once")
    load(at_once, [write_shop(tmp_path / "whole", {t: whole[t] + edits.get(t, []) + after.get(t, []) for t in whole})])
    assert_same(tables(at_once), tables(settings))
    estimates = ("estimate_promise", "estimate_leg", "estimate_return_c")
    assert_same(tables(at_once, estimates), tables(settings, estimates))


def test_the_latest_version_wins_whatever_arrives_last(settings: Settings, tmp_path: Path) -> None:
    line = TINY_SHOP["order_line"][0]
    newer = {**line, "net_amount": "45", "recorded_at": "2025-12-02T00:00:00Z"}
    older = {**line, "net_amount": "50", "recorded_at": "2025-12-01T12:00:00Z"}
    base = {t: TINY_SHOP[t] for t in ("shop", "product")}
    load(settings, [write_shop(tmp_path / "a", {**base, "order_line": [newer]})])
    load(settings, [write_shop(tmp_path / "b", {"order_line": [older]})])
    assert float(tables(settings)["fact_order_line"].net_amount.iloc[0]) == 45


def test_a_row_taken_back_leaves_the_facts(copy_of_tiny: Settings, tmp_path: Path) -> None:
    settings = copy_of_tiny
    gone = {**TINY_SHOP["return_event"][-1], "recorded_at": "2026-01-19T00:00:00Z", "is_deleted": "true"}
    load(settings, [write_shop(tmp_path / "b", {"return_event": [gone]})])
    assert tables(settings)["fact_return_line"].lost_at.isna().all()


BAD_ROWS = [
    ("order_line", {"units": "two"}, "bad_number units"),
    ("order_line", {"units": "2.5"}, "bad_number units"),
    ("order_line", {"units": "-1"}, "negative_units units"),
    ("order_line", {"net_amount": "-5"}, "negative_amount net_amount"),
    ("order_line", {"ordered_at": "2025-12-01T10:00:00"}, "naive_time ordered_at"),
    ("order_line", {"ordered_at": "2025-12-01"}, "naive_time ordered_at"),
    ("order_line", {"ordered_at": "yesterday"}, "bad_time ordered_at"),
    ("order_line", {"ordered_at": "1970-01-01T00:00:00Z"}, "impossible_time ordered_at"),
    ("order_line", {"ordered_at": "2999-01-01T00:00:00Z"}, "future_time ordered_at"),
    (
        "refund",
        {"refunded_at": "2020-12-12T09:00:00Z", "recorded_at": "2025-12-12T09:00:00Z"},
        "recorded_years_later refunded_at",
    ),
    ("order_line", {"order_id": ""}, "missing order_id"),
    ("order_line", {"product_id": ""}, "missing product_id"),
    ("order_line", {"units_cancelled": "9"}, "cancelled_too_many units_cancelled"),
    ("order_line", {"units": "x", "currency": ""}, "bad_number units, missing currency"),
    ("order_line", {"country": "France"}, "no_country_code country"),
    ("return_event", {"event": "teleported"}, "unknown_value event"),
    ("return_event", {"units": "0"}, "no_units units"),
    ("return_event", {"units": "1O"}, "bad_number units"),
    ("refund", {"amount": "-1"}, "negative_amount amount"),
]


@pytest.mark.parametrize(("thing", "change", "rules"), BAD_ROWS, ids=[f"{t}-{r}" for t, _, r in BAD_ROWS])
def test_a_bad_row_is_quarantined_with_every_rule_it_breaks(
    settings: Settings, tmp_path: Path, thing: str, change: dict[str, str], rules: str
) -> None:
    shop = copy.deepcopy(TINY_SHOP)
    shop[thing][0] |= change
    files = write_shop(tmp_path / "files", shop)
    state_file = state.State(settings.warehouse)
    state_file.close()
    connection = sql.connect(":memory:")
    from pipelines.sources import recognise

    table = files / f"{thing}.csv"
    rows = recognise([table]).name_rows(connection, [table], "shop")
    named = next(iter(rows))
    judged, bad = verdicts.judge(
        connection,
        named,
        source="canonical",
        namespace="shop",
        load_id="1",
        landed_at=state.now(),
        key=b"k" * 32,
        logged="",
        target=str(tmp_path / "out.parquet"),
    )
    assert (judged.read, judged.accepted, judged.duplicate, judged.quarantined) == (
        len(shop[thing]),
        len(shop[thing]) - 1,
        0,
        1,
    )
    assert [fault.rules for fault in bad] == [rules]


def test_nothing_is_lost_and_quarantine_shows_where(odd: tuple[Settings, Report]) -> None:
    settings, report = odd
    assert all(c["read"] == c["accepted"] + c["duplicate"] + c["quarantined"] for c in report.counts)
    counts = {c["table"]: c for c in report.counts}
    assert counts["return_event"]["duplicate"] == 1
    row = state.quarantine_by_rule(settings).set_index("thing", drop=False).loc["order_line"]
    assert (row["rules"], row["file"], row["line"], row["value"]) == ("bad_number units", "order_line.csv", 6, "one")


NUMBERS = [
    (log, c.name)
    for log in TINY_SHOP
    for c in getattr(schema, log).columns
    if isinstance(c.type, Double | Integer | Numeric)
]


FIGURES = ("nan", "-inf", "1e999", "-1e9", "1e9", "99999", "99999999999999")


def test_no_figure_of_one_row_stops_a_load_or_leaves_what_is_no_number(settings: Settings, tmp_path: Path) -> None:
    """Each figure (one in three; the proofs: all) in every column of a shop of its own; one build holds them all."""
    settings.warehouse.mkdir()
    state_file = state.State(settings.warehouse)
    figures = by_turns(FIGURES, 3)
    for number, value in enumerate(figures):
        shop = copy.deepcopy(TINY_SHOP)
        for log, column in NUMBERS:
            if column in shop[log][0]:
                shop[log][0][column] = value
        files = write_shop(tmp_path / value, shop)
        land.begin(state_file, sorted(files.iterdir()), None, f"shop{number}", None)
    state_file.close()
    load(settings)
    assert len(tables(settings)["dim_shop"]) == len(figures)
    path = build.build_path(settings.warehouse, build.current_id(settings.warehouse) or "")
    with duckdb.connect(str(path), read_only=True) as connection:
        held = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE data_type IN ('DOUBLE', 'FLOAT')"
        ).fetchall()
        without_end = [
            (t, c) for t, c in held if connection.execute(f"SELECT bool_or(NOT isfinite({c})) FROM {t}").fetchone()[0]
        ]
    assert without_end == []


def test_a_table_of_floats_says_missing_by_what_is_no_number(settings: Settings, tmp_path: Path) -> None:
    write_shop(tmp_path / "in", {**TINY_SHOP, "product": [], "place": []})
    for log in ("product", "place"):
        rows = pd.DataFrame(TINY_SHOP[log])
        for column in {"weight_kg", "unit_cost", "list_price", "latitude", "longitude"} & set(rows):
            rows[column] = rows[column].astype(float)
            rows.loc[0, column] = np.nan
        (tmp_path / "in" / f"{log}.csv").unlink(missing_ok=True)
        kept = pa.table({c: pa.array(rows[c].to_numpy(), from_pandas=False) for c in rows})
        pq.write_table(kept, tmp_path / "in" / f"{log}.parquet")
    report = load(settings, [tmp_path / "in"])
    assert [c for c in report.counts if c["quarantined"]] == []
    assert report.unread == []
    products = tables(settings)["dim_product"]
    assert products["weight_kg"].isna().sum() == 1


def test_customers_are_hashed_with_hmac_and_nothing_personal_is_kept(tiny_settings: Settings) -> None:
    key = tiny_settings.key_file.read_bytes()
    expected = hmac.new(key, b"anne@example.org", hashlib.sha256).hexdigest()[:32]
    assert f"shop:{expected}" in set(tables(tiny_settings)["dim_customer"].customer_id)
    kept = [*tiny_settings.warehouse.rglob("*")]
    assert kept
    assert not [f for f in kept if f.is_file() and b"anne@example" in f.read_bytes()]
    assert not [f for f in kept if f.is_file() and b"75011" in f.read_bytes()]
    assert stat.S_IMODE(tiny_settings.key_file.stat().st_mode) == 0o600
    assert {stat.S_IMODE(f.stat().st_mode) for f in tiny_settings.raw.rglob("*.csv")} == {0o600}


def test_a_note_leaves_its_concepts_and_nothing_else(odd: tuple[Settings, Report]) -> None:
    """A row in quarantine shows no note either."""
    settings, _ = odd
    assert quarantined(settings)["return_event", "unknown_value event"] == 1
    lines = tables(settings)["fact_return_line"].set_index("return_line_id")
    assert lines.loc["shop:R1-1", "note_terms"] == "size small"
    assert lines["note_terms"].notna().sum() == 1
    kept = [f for f in settings.warehouse.rglob("*") if f.is_file()]
    assert not [f for f in kept for word in (b"Dupont", b"dupont", b"0612345678") if word in f.read_bytes()]


def test_logs_written_before_a_column_was_added_still_load(copy_of_tiny: Settings, tmp_path: Path) -> None:
    (log,) = (copy_of_tiny.warehouse / "log" / "return_event").glob("*/*.parquet")
    older = tmp_path / "older.parquet"
    duckdb.execute(f"COPY (SELECT * EXCLUDE (note_terms) FROM '{log}') TO '{older}'")
    log.unlink()
    shutil.copyfile(older, log)
    as_if_written_before(copy_of_tiny)
    before = tables(copy_of_tiny)["fact_return_line"]
    event = {
        **TINY_SHOP["return_event"][0],
        "event_id": "50",
        "return_line_id": "R9-1",
        "return_id": "R9",
        "note_terms": "Too small",
    }
    load(copy_of_tiny, [write_shop(tmp_path / "new", {"return_event": [event]})], namespace="shop")
    after = tables(copy_of_tiny)["fact_return_line"]
    assert set(after["return_line_id"]) == {*before["return_line_id"], "shop:R9-1"}
    assert after["note_terms"].dropna().tolist() == ["small"]


def test_a_missing_warehouse_names_the_command_to_run(settings: Settings) -> None:
    with pytest.raises(WarehouseMissing, match="backhaul demo"):
        build.current_build(settings.warehouse)


def test_a_full_disk_keeps_what_landed(settings: Settings, tiny_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise duckdb.IOException("Could not write file: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(verdicts, "judge", full)
        with pytest.raises(OSError, match="No space left"):
            load(settings, [tiny_files])
    assert load(settings).is_new_build


def test_a_damaged_build_is_told_and_made_again_from_the_logs(copy_of_tiny: Settings) -> None:
    damaged = build.build_path(copy_of_tiny.warehouse, build.current_id(copy_of_tiny.warehouse) or "")
    damaged.chmod(0o644)
    damaged.write_bytes(b"not a database" * 1000)
    with pytest.raises(WarehouseMissing, match="damaged"):
        build.current_build(copy_of_tiny.warehouse)
    assert load(copy_of_tiny).kind == "full"
    build.current_build(copy_of_tiny.warehouse).close()


def test_a_warehouse_that_cannot_be_written_can_be_asked(
    copy_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert len(state.builds(copy_of_tiny)) > 0


def test_a_second_writer_is_refused_with_a_sentence(settings: Settings, tiny_files: Path) -> None:
    with build.writing(settings.warehouse), pytest.raises(WarehouseLocked, match="Another load is writing"):
        load(settings, [tiny_files])


def test_a_reader_keeps_its_build_while_another_is_published(copy_of_tiny: Settings, tmp_path: Path) -> None:
    reader = build.current_build(copy_of_tiny.warehouse)
    old = build.current_id(copy_of_tiny.warehouse)
    extra = {**TINY_SHOP["order_line"][0], "order_line_id": "O9-1", "order_id": "O9"}
    load(copy_of_tiny, [write_shop(tmp_path / "more", {"order_line": [extra]})])
    assert build.current_id(copy_of_tiny.warehouse) != old
    from sqlalchemy import func, select

    assert reader.fetch(select(func.count()).select_from(facts_star.fact_order_line)).iloc[0, 0] == 8
    reader.close()


def test_three_builds_are_kept_and_the_pointer_can_go_back(copy_of_tiny: Settings, tmp_path: Path) -> None:
    for n in range(3):
        extra = {**TINY_SHOP["order_line"][0], "order_line_id": f"N{n}-1", "order_id": f"N{n}"}
        load(copy_of_tiny, [write_shop(tmp_path / str(n), {"order_line": [extra]})])
    kept = sorted(f.stem for f in (copy_of_tiny.warehouse / "builds").glob("*.duckdb"))
    assert len(kept) == 3
    build.point_at(copy_of_tiny.warehouse, kept[0])
    assert len(tables(copy_of_tiny)["fact_order_line"]) == 8 + 1


def test_a_blocking_check_keeps_readers_on_the_last_build(
    copy_of_tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.load import checks

    old = build.current_id(copy_of_tiny.warehouse)
    planted = checks.Check("no_orders_at_all", "There must be no orders.", "SELECT order_line_id FROM fact_order_line")
    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, planted))
    extra = {**TINY_SHOP["order_line"][0], "order_line_id": "O9-1", "order_id": "O9", "units": "many"}
    with pytest.raises(CheckFailed, match="no_orders_at_all") as failure:
        load(copy_of_tiny, [write_shop(tmp_path / "more", {"order_line": [extra, {**extra, "units": "1"}]})])
    assert len(failure.value.rows) == 5
    assert build.current_id(copy_of_tiny.warehouse) == old
    # the failed load's quarantine is visible though nothing was published, and a later load without a path publishes it
    assert ("order_line", "bad_number units") in quarantined(copy_of_tiny)
    monkeypatch.undo()
    assert load(copy_of_tiny).is_new_build
    assert len(tables(copy_of_tiny)["fact_order_line"]) == 9


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00\xff\xfe broken", b"order_line_id\nonly-one-column\n"])
def test_a_file_that_is_no_table_is_a_source_error(settings: Settings, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "order_line.csv").write_bytes(content)
    from pipelines.errors import BackhaulError

    with pytest.raises(BackhaulError):
        load(settings, [tmp_path / "order_line.csv"])


def test_an_unknown_path_or_file_is_a_source_error(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file or folder"):
        load(settings, [tmp_path / "nowhere"])
    write_rows(tmp_path / "what_is_this.csv", [{"a": 1}])
    with pytest.raises(SourceError):
        load(settings, [tmp_path / "what_is_this.csv"])


def test_a_file_that_cannot_be_read_does_not_block_later_loads(
    settings: Settings, tmp_path: Path, tiny_files: Path
) -> None:
    (tmp_path / "order_line.csv").write_bytes(b"order_line_id\nonly-one-column\n")
    from pipelines.errors import BackhaulError

    with pytest.raises(BackhaulError):
        load(settings, [tmp_path / "order_line.csv"])
    assert load(settings, [tiny_files]).is_new_build


def test_a_log_that_is_read_once_gives_what_one_that_is_looked_at_gives(
    tmp_path: Path, tiny_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = write_shop(tmp_path / "later", {"refund": [{**TINY_SHOP["refund"][0], "amount": "61"}]})
    built = []
    for name, most in (("once", versions.READ_ONCE), ("looked", -1)):
        settings = fresh(tmp_path / name)
        monkeypatch.setattr(versions, "READ_ONCE", most)
        for files in (tiny_files, later):
            load(settings, [files])
        built.append(tables(settings, ("fact_", "dim_", "estimate_")))
    assert_same(*built)


LOAD = (
    "import sys; from pathlib import Path; from pipelines.load import load; from pipelines.settings import Settings;"
    " load(Settings(warehouse=Path(sys.argv[1])), [Path(p) for p in sys.argv[2:]])"
)


@pytest.mark.parametrize(
    "share", [0.2, left_to_proofs(0.8)]
)  # tests/evidence/_trust_kills.py kills at each of hundreds of moments
def test_a_killed_load_leaves_readers_on_the_previous_build_and_the_next_completes_it(
    copy_of_tiny: Settings, tmp_path: Path, share: float
) -> None:
    old = build.current_id(copy_of_tiny.warehouse)
    files = write_shop(
        tmp_path / "more",
        {
            t: rows
            for t, rows in big_shop(200).items()
            if t in ("order_line", "return_event", "chain_element", "refund", "refund_line", "recovery")
        },
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD, str(copy_of_tiny.warehouse), str(files)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    state_file = state.State(copy_of_tiny.warehouse)
    while len(state_file.loads_with("landing", "landed", "logged", "published")) == 1 and process.poll() is None:
        time.sleep(0.01)  # until the load has written down what it was asked for
    time.sleep(3 * share)
    process.send_signal(signal.SIGKILL)
    process.wait()
    current = build.current_id(copy_of_tiny.warehouse)
    if current == old:
        assert len(tables(copy_of_tiny)["fact_order_line"]) == 8
    load(copy_of_tiny)  # without a path
    assert len(tables(copy_of_tiny)["fact_order_line"]) == 8 * 201
    assert not list((copy_of_tiny.warehouse / "builds").glob(f"*{build.UNFINISHED}*"))


def test_counts_and_changes_of_a_load_are_remembered(tiny_settings: Settings) -> None:
    loads = state.loads(tiny_settings)
    assert set(loads.status) == {"published"}
    assert loads.set_index("thing").accepted["return_event"] == 21
    assert state.builds(tiny_settings).set_index("table").change["fact_return_line"] == 5
    results = state.check_results(tiny_settings)
    assert "refund_discrepancy" in set(results[results["rows"] > 0].name)
    assert not results[(results["rows"] > 0) & (results.is_blocking == 1)].size


def test_a_lost_hashing_key_is_not_replaced_in_silence(copy_of_tiny: Settings, tmp_path: Path) -> None:
    copy_of_tiny.key_file.unlink()
    extra = {**TINY_SHOP["order_line"][0], "order_line_id": "O9-1", "order_id": "O9"}
    with pytest.raises(SourceError, match="Restore it from a copy"):
        load(copy_of_tiny, [write_shop(tmp_path / "more", {"order_line": [extra]})])
    assert len(tables(copy_of_tiny)["fact_order_line"]) == 8


def test_a_build_of_another_version_is_named_and_made_again(copy_of_tiny: Settings) -> None:
    name = build.current_id(copy_of_tiny.warehouse)
    with duckdb.connect(str(build.build_path(copy_of_tiny.warehouse, str(name)))) as connection:
        connection.execute("UPDATE build_info SET value = '0' WHERE name = 'schema_version'")
    with pytest.raises(WarehouseMissing, match="made by another version of Backhaul"):
        build.current_build(copy_of_tiny.warehouse)
    report = load(copy_of_tiny)
    assert report.is_new_build
    with build.current_build(copy_of_tiny.warehouse) as again:
        assert again.build_id != name


@pytest.mark.parametrize("table", ["fact_order_line", "fact_return_line"])
def test_rows_of_a_full_build_lie_by_market_and_category(few_settings: Settings, table: str) -> None:
    """A filter on one of them skips what lies elsewhere in the file."""
    path = build.build_path(few_settings.warehouse, build.current_id(few_settings.warehouse) or "")
    with duckdb.connect(str(path), read_only=True) as connection:
        runs, kinds = connection.execute(f"""
            SELECT count(*) FILTER (kind IS DISTINCT FROM before), count(DISTINCT kind) FROM (
                SELECT concat_ws('/', country, category) AS kind, lag(kind) OVER (ORDER BY rowid) AS before
                FROM {table})
        """).fetchall()[0]
    assert runs == kinds > 10
