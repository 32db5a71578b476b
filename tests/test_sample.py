"""The simulator: what it draws is what its parameters say, what it plants is counted.

And nothing lies behind the curtain.
"""

import csv
import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.sample import write_sample
from pipelines.sample.draws import parameters, stories
from pipelines.settings import data_path
from pipelines.warehouse.schema import LOG

ORDERS = 20_000
UNTIL = dt.date(2026, 1, 31)
EVENING = "2026-01-31 22:00:00"
TIMES = (
    "ordered_at",
    "shipped_at",
    "delivered_at",
    "occurred_at",
    "started_at",
    "ended_at",
    "refunded_at",
    "recovered_at",
    "recorded_at",
)
TIME = {
    "order_line": "ordered_at",
    "return_event": "occurred_at",
    "chain_element": "started_at",
    "refund": "refunded_at",
    "refund_line": "refunded_at",
    "recovery": "recovered_at",
}


class Shop:
    """A written shop, read back with DuckDB: every value as text, one file at a time."""

    def __init__(self, folder: Path, truth: Path, written: dict[str, int]) -> None:
        self.folder, self.truth_folder, self.written = folder, truth, written
        self.read: set[str] = set()
        self.connection = duckdb.connect(config={"threads": "1"})
        self.connection.execute("SET TimeZone = 'UTC'")

    def relation(self, name: str) -> str:
        table = f'"{name}"'
        if name not in self.read:
            self.connection.execute(f"CREATE TABLE {table} AS SELECT * FROM {self._reader(name)}")
            self.read.add(name)
        return table

    def _reader(self, name: str) -> str:
        path = f"'{self.folder / name}'"
        if name.endswith(".parquet"):
            return f"(SELECT COLUMNS(*)::VARCHAR FROM read_parquet({path}))"
        if name.endswith(".csv"):
            with (self.folder / name).open(encoding="utf-8", newline="") as file:
                columns = ", ".join(f"'{c}': 'VARCHAR'" for c in next(csv.reader(file)))
            return (
                f"read_csv({path}, columns = {{{columns}}}, auto_detect = false, header = true, delim = ',', quote ="
                " '\"', null_padding = true, strict_mode = false)"
            )
        fields = ", ".join(f"'{c.name}': 'VARCHAR'" for c in LOG.tables[thing(name)].columns)
        return f"read_json({path}, format = 'newline_delimited', columns = {{{fields}}}, ignore_errors = true)"

    def columns(self, name: str) -> list[str]:
        return [row[0] for row in self.sql(f"DESCRIBE SELECT * FROM {self.relation(name)}")]

    def sql(self, text: str) -> list[Any]:
        return self.connection.execute(text).fetchall()

    def truth(self, name: str) -> str:
        return f"read_parquet('{self.truth_folder / name}.parquet')"

    def story(self, story: str) -> dict[str, float]:
        return dict(self.sql(f"SELECT figure, value FROM {self.truth('story')} WHERE story = '{story}'"))


def thing(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(".", 1)[0]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("sample")
    written = write_sample(folder / "raw", ORDERS, truth=folder / "truth")
    return Shop(folder / "raw", folder / "truth", written)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("plain")
    written = write_sample(folder / "raw", ORDERS, seed=3, stories=False, dirt=False, truth=folder / "truth")
    return Shop(folder / "raw", folder / "truth", written)


def test_every_parameter_names_its_source() -> None:
    entries = yaml.safe_load(data_path("sample/parameters.yaml").read_text(encoding="utf-8"))
    for name, entry in entries.items():
        assert "value" in entry, name
        own = any(word in entry["source"] for word in ("assumption", "invented", "our own words"))
        assert own or {"year", "address"} & entry.keys(), f"{name} gives neither a year nor an address"


def test_words_are_those_of_the_data_tables() -> None:
    with data_path("reasons.csv").open(encoding="utf-8", newline="") as file:
        known = {row["raw"].lower(): row["reason"] for row in csv.DictReader(file)}
    for reason, wordings in parameters()["wordings"].items():
        for wording in (*wordings["fr"], *wordings["en"]):
            assert known.get(wording.lower()) == reason, wording


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    written = write_sample(first, 1500, 11, truth=first / "truth")
    assert write_sample(second, 1500, 11, truth=second / "truth") == written
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    for name in files:
        if name.parts[0] == "truth":
            assert pq.read_table(first / name).equals(pq.read_table(second / name)), name
        else:
            assert (first / name).read_bytes() == (second / name).read_bytes(), name
    write_sample(other, 1500, 12)
    assert (other / "finance/refund.csv").read_bytes() != (first / "finance/refund.csv").read_bytes()


@pytest.mark.parametrize("orders", [1, 30])
def test_a_tiny_shop_is_written_too(tmp_path: Path, orders: int) -> None:
    written = write_sample(tmp_path / "raw", orders, until=dt.date(2025, 8, 15), truth=tmp_path / "truth")
    assert sum(rows for name, rows in written.items() if thing(name) == "order_line") >= orders


def test_columns_are_those_of_the_logs(plain: Shop) -> None:
    for name in plain.written:
        table = LOG.tables[thing(name)]
        columns = plain.columns(name)
        assert set(columns) <= set(table.columns.keys()), name
        required = [c.name for c in table.columns if c.info["required"]]
        assert set(required) <= set(columns), name
        empty = plain.sql(
            f"SELECT count(*) FROM {plain.relation(name)} WHERE {' OR '.join(f'{c} IS NULL' for c in required)}"
        )[0][0]
        assert empty == 0, f"{name}: {empty} rows lack a required value"
        for column in columns:
            if allowed := table.columns[column].info["values"]:
                found = {
                    row[0]
                    for row in plain.sql(
                        f"SELECT DISTINCT {column} FROM {plain.relation(name)} WHERE {column} IS NOT NULL"
                    )
                }
                assert found <= set(allowed), f"{name}.{column}: {found - set(allowed)}"


def test_rows_are_those_reported(shop: Shop) -> None:
    for name, rows in shop.written.items():
        path = shop.folder / name
        if name.endswith(".parquet"):
            found = shop.sql(f"SELECT count(*) FROM read_parquet('{path}')")[0][0]
        else:
            found = path.read_bytes().count(b"\n") - name.endswith(".csv")
        assert found == rows, name


def test_order_lines_are_as_many_as_asked(shop: Shop) -> None:
    files = [n for n in shop.written if thing(n) == "order_line"]
    assert len(files) == 24
    real = 0
    for name in files:
        real += shop.sql(
            f"SELECT count(DISTINCT order_line_id) FROM {shop.relation(name)} WHERE regexp_full_match(order_line_id,"
            " '[0-9]+-[0-9]+') AND recorded_at IS NOT NULL"
        )[0][0]
    assert real == ORDERS


def test_dirt_is_where_truth_says(shop: Shop) -> None:
    planted = {
        (file, dirt): rows
        for file, dirt, rows in shop.sql(f"SELECT file, dirt, sum(rows)::INT FROM {shop.truth('dirt')} GROUP BY ALL")
    }
    kinds = {dirt for _, dirt in planted}
    assert kinds == {
        "duplicate",
        "disorder",
        "late_edit",
        "naive_time",
        "impossible_date",
        "bad_number",
        "torn_row",
        "without_order",
        "missing_scan",
        "refund_before_receipt",
    }
    for name in shop.written:
        log = thing(name)
        if log not in TIME:
            continue
        key, time, source = LOG.tables[log].info["key"][0], TIME[log], shop.relation(name)
        whole = f"(SELECT * FROM {source} WHERE recorded_at IS NOT NULL)"  # a torn row loses its last column
        ends = {"naive_time": "n", "impossible_date": "i", "bad_number": "b"}
        for dirt, letter in ends.items():
            marked = shop.sql(
                f"SELECT count(*) FROM {whole} WHERE {key} LIKE '%{letter}' AND {time} IS NOT NULL AND"
                f" regexp_matches({key}, '[0-9a-z-]{letter}$') AND regexp_matches({key}, '(-|[0-9]){letter}$')"
            )[0][0]
            assert marked == planted.get((name, dirt), 0), f"{name}: {dirt}"
        copies = shop.sql(
            f"SELECT coalesce(sum(n - 1), 0)::INT FROM (SELECT count(*) AS n FROM {whole} AS t GROUP BY t)"
        )[0][0]
        assert copies == planted.get((name, "duplicate"), 0), f"{name}: duplicate"
        edits = shop.sql(
            f"SELECT coalesce(sum(n - 1), 0)::INT FROM (SELECT count(DISTINCT recorded_at) AS n FROM {whole} GROUP BY"
            f" {key})"
        )[0][0]
        assert edits == planted.get((name, "late_edit"), 0), f"{name}: late_edit"
        if not name.endswith(".parquet"):
            naive = shop.sql(f"SELECT count(*) FROM {whole} WHERE NOT regexp_matches({time}, '(Z|\\+00)')")[0][0]
            assert naive == planted.get((name, "naive_time"), 0), f"{name}: naive"
            torn = (
                (shop.folder / name).read_bytes().count(b"\n")
                - name.endswith(".csv")
                - shop.sql(f"SELECT count(*) FROM {whole}")[0][0]
            )
            assert torn == planted.get((name, "torn_row"), 0), f"{name}: torn"


def test_nothing_happens_after_the_evening(shop: Shop) -> None:
    for name in shop.written:
        if thing(name) not in TIME:
            continue
        for column in set(TIMES) & set(shop.columns(name)):
            key = LOG.tables[thing(name)].info["key"][0]
            late = shop.sql(
                f"SELECT count(*) FROM {shop.relation(name)} WHERE TRY_CAST({column} AS TIMESTAMPTZ) > TIMESTAMPTZ"
                f" '{EVENING}+00' AND {key} NOT LIKE '%i'"
            )[0][0]
            assert late == 0, f"{name}.{column}"


def test_without_dirt_nothing_is_planted(plain: Shop) -> None:
    kinds = {row[0] for row in plain.sql(f"SELECT DISTINCT dirt FROM {plain.truth('dirt')}")}
    assert kinds == {"missing_scan", "refund_before_receipt"}
    for name in plain.written:
        key = ", ".join(LOG.tables[thing(name)].info["key"])
        assert plain.sql(f"SELECT count(*) - count(DISTINCT ({key})) FROM {plain.relation(name)}")[0][0] == 0, name


def test_true_rates_are_the_parameters(plain: Shop) -> None:
    p = parameters()
    found = dict(
        plain.sql(
            f"SELECT category, sum(true_rate * units_sold) / sum(units_sold) FROM {plain.truth('category_country')}"
            " GROUP BY 1"
        )
    )
    for category, rate in p["ultimate_return_rate"].items():
        assert found[category] == pytest.approx(rate, abs=0.02), category
    by_country = dict(
        plain.sql(f"SELECT country, true_rate FROM {plain.truth('category_country')} WHERE category = 'apparel'")
    )
    assert by_country["DE"] / by_country["FR"] == pytest.approx(p["markets"]["DE"]["multiplier"], abs=0.02)
    drawn, expected = plain.sql(
        f"SELECT sum(units_returned), sum(true_rate * units_sold) FROM {plain.truth('category_country')}"
    )[0]
    assert drawn / expected == pytest.approx(1, abs=0.05)


def test_stages_take_what_the_parameters_say(plain: Shop) -> None:
    p = parameters()
    stages = {
        (stage, lane): (median, p90)
        for stage, lane, median, p90 in plain.sql(
            f"SELECT stage, lane, p50_days, p90_days FROM {plain.truth('stage_time')} WHERE way = 'parcel'"
        )
    }
    for stage, lane, shape in (
        ("label_issued-handed_over", "domestic", p["hand_over_delay"]),
        ("handed_over-carrier_scan", "domestic", p["first_scan_delay"]),
        ("carrier_scan-received", "domestic", p["transit"]["domestic"]),
        ("carrier_scan-received", "cross_border", p["transit"]["cross_border"]),
    ):
        assert stages[stage, lane] == pytest.approx((shape["median"], shape["p90"]), rel=0.15), (stage, lane)
    ended = dict(plain.sql(f"SELECT kind, count(*) FROM {plain.truth('order_line')} WHERE kind IS NOT NULL GROUP BY 1"))
    asked = ended["headline"] + ended["void"]
    assert ended["void"] / asked == pytest.approx(sum(p["void_requests"].values()), abs=0.03)


def test_stages_come_in_order(plain: Shop) -> None:
    events = " UNION ALL ".join(
        f"SELECT return_line_id, event, occurred_at::TIMESTAMPTZ AS moment FROM {plain.relation(n)}"
        for n in plain.written
        if thing(n) == "return_event"
    )
    wrong = plain.sql(f"""
        WITH stage AS (PIVOT ({events}) ON event IN ('requested', 'approved', 'label_issued', 'handed_over',
            'carrier_scan', 'received', 'inspected', 'restocked') USING min(moment) GROUP BY return_line_id)
        SELECT count(*) FROM stage WHERE approved < requested OR label_issued < approved OR handed_over
            < label_issued OR carrier_scan < handed_over
            OR received < coalesce(carrier_scan, handed_over, requested) OR inspected < received
                OR restocked < inspected
    """)[0][0]
    assert wrong == 0


def test_what_came_back_by_the_evening_is_in_the_files(plain: Shop) -> None:
    """Truth's confirmed lines are those with a scan, a receipt, a store's acceptance or a refund in the files."""
    events = " UNION ALL ".join(
        f"SELECT order_line_id, event, units FROM {plain.relation(n)}"
        for n in plain.written
        if thing(n) == "return_event"
    )
    seen = plain.sql(
        f"SELECT count(DISTINCT order_line_id) FROM ({events}) WHERE event IN ('carrier_scan', 'received', 'inspected')"
    )[0][0]
    known = plain.sql(f"SELECT count(*) FROM {plain.truth('order_line')} WHERE is_confirmed_by_end AND kind <> 'void'")[
        0
    ][0]
    assert seen == pytest.approx(known, rel=0.01)


def test_refunds_are_the_sum_of_their_lines(plain: Shop) -> None:
    off = plain.sql(f"""
        SELECT count(*) FROM (SELECT refund_id, sum(amount::DECIMAL(18, 2)) AS lines
            FROM {plain.relation("finance/refund_line.csv")} GROUP BY 1)
        FULL JOIN {plain.relation("finance/refund.csv")} AS r USING (refund_id) WHERE lines IS DISTINCT
            FROM r.amount::DECIMAL(18, 2)
    """)[0][0]
    assert off == 0


def test_stories_came_true(shop: Shop) -> None:
    told = stories()
    alba = shop.story("robe_alba")
    assert alba["rate_before"] == pytest.approx(told["robe_alba"]["rate"], abs=0.02)
    assert alba["rate_after"] == pytest.approx(told["robe_alba"]["rate_after"], abs=0.02)
    assert alba["too_small_before"] == pytest.approx(told["robe_alba"]["too_small_share"], abs=0.2)
    decoy = shop.story("decoy")
    assert (decoy["units"], decoy["returned"]) == (3, 3)
    noise = shop.story("noise")
    assert (noise["units_before"], noise["units_after"]) == (29, 30)
    assert (noise["returned_before"], noise["returned_after"]) == (2, 2)
    relais = shop.story("relais_atlantique")
    assert relais["first_scan_days_before"] == pytest.approx(1.0, abs=0.15)
    assert relais["first_scan_days_after"] == pytest.approx(4.0, abs=0.9)
    assert relais["missing_before"] < 0.06 < 0.12 < relais["missing_after"]
    backlog = shop.story("january_backlog")
    assert backlog["inflow"] == pytest.approx(told["january_backlog"]["inflow"], abs=0.3)
    assert backlog["throughput"] == pytest.approx(told["january_backlog"]["capacity"], abs=0.15)
    assert backlog["waiting_at_end"] > 3 * backlog["waiting_usually"]
    germany = shop.story("germany_window")
    assert germany["several_sizes_before"] == pytest.approx(0.09, abs=0.03)
    assert germany["several_sizes_after"] == pytest.approx(0.17, abs=0.04)
    assert germany["rate_after"] > germany["rate_before"]
    totes = shop.story("totes")
    assert totes["share"] == pytest.approx(told["totes"]["share"], abs=0.05)
    mix = shop.story("mix")
    assert mix["share_before"] == pytest.approx(0.18, abs=0.015)
    assert mix["share_after"] == pytest.approx(0.24, abs=0.02)


def test_longer_window_returns_come_after_day_35(shop: Shop) -> None:
    early, late = shop.sql(f"""
        SELECT count(*) FILTER (requested_at < strptime(strftime(ordered_month, '%Y-%m-%d'), '%Y-%m-%d')
            + INTERVAL 35 DAY), count(*)
        FROM {shop.truth("order_line")} WHERE is_from_longer_window AND kind = 'headline'
    """)[0]
    assert early == 0
    assert late > 0


def test_chain_uses_known_vehicles_and_no_landfill(plain: Shop) -> None:
    with data_path("factors/emission_factors.csv").open(encoding="utf-8", newline="") as file:
        known = {row["vehicle"] for row in csv.DictReader(file)}
    used = {
        row[0]
        for row in plain.sql(
            f"SELECT DISTINCT vehicle FROM {plain.relation('transport/chain_element.parquet')} WHERE vehicle IS NOT"
            " NULL"
        )
    }
    assert used <= known
    assert not any("landfill" in vehicle for vehicle in used)
    alone = plain.sql(
        f"SELECT count(*) FROM {plain.relation('transport/chain_element.parquet')} WHERE (from_place_id IS NULL OR"
        " to_place_id IS NULL)"
    )[0][0]
    assert alone == 0


def test_totes_hold_seventeen_items(shop: Shop) -> None:
    rows = shop.sql(
        "SELECT movement_id, count(DISTINCT parcel_id), min(movement_parcels::INT) FROM"
        f" {shop.relation('transport/chain_element.parquet')} WHERE movement_id LIKE 'TOTE-%' GROUP BY 1"
    )
    assert rows
    assert all(found <= 17 == stated for _, found, stated in rows)
    packed = shop.sql(f"""
        SELECT count(*) FROM {shop.relation("transport/chain_element.parquet")} WHERE role = 'packaging'
        AND parcel_id IN (SELECT parcel_id FROM {shop.relation("transport/chain_element.parquet")}
            WHERE movement_id LIKE 'TOTE-%')
    """)[0][0]
    assert packed == 0
