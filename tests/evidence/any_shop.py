"""Right on any shop's files.

TPC-DS, generated here and loaded by one mapping through the command line, against SQL written by hand. The generator
writes NULL keys, dates, quantities and amounts: rows that a number cannot do without are quarantined and counted, none
is dropped in silence.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd

from pipelines import metrics
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from tests import test_propose
from tests.evidence import Claim, _any_shop_first_number, _any_shop_memory, _any_shop_shapes
from tests.evidence._any_shop_memory import MOST_MEMORY, backhaul, peak

MAPPING = Path(__file__).with_name("tpcds.yaml")
CHANNELS = {  # channel: (prefix of sales, of returns, key of an order, amount given back, our channel)
    "store": ("ss", "sr", "ticket", "sr_return_amt_inc_tax", "store"),
    "catalog": ("cs", "cr", "order", "cr_return_amt_inc_tax", "phone"),
    "web": ("ws", "wr", "order", "wr_return_amt_inc_tax", "web"),
}
CUTS = ("channel", "category", "month")


def claims() -> Iterator[Claim]:
    """Claim that numbers of three channels are those of SQL over the generated tables.

    And what shops of every shape show.
    """
    with tempfile.TemporaryDirectory() as place:
        connection = _generated(Path(place))
        yield from _tpcds(connection, Path(place) / "files", Path(place) / "warehouse")
    yield _proposals()
    yield from _any_shop_first_number.claims()
    yield from _any_shop_memory.claims()
    yield from _any_shop_shapes.claims()


def _proposals() -> Claim:
    """Claim that each proposed mapping of the corpus of headings loads.

    And gives the units and money written beside it.
    """
    cases = test_propose.corpus()
    with tempfile.TemporaryDirectory() as place:
        found = test_propose.loaded(Path(place), cases)
    right = [c for c in cases if all(found[c.source].get(k, 0) == v for k, v in c.expected.items())]
    name = "Proposals over a corpus of headings load and give the right units and money"
    return Claim(name, f"all {len(cases)}", f"{len(right)}", len(right) == len(cases))


def _generated(folder: Path) -> duckdb.DuckDBPyConnection:
    """Generate TPC-DS at scale 0.1 and lay a view of sales and of returns over its tables."""
    generator = Path(sys.prefix) / "tpcds" / "bin" / "python"  # made by `make evidence`
    subprocess.run([generator, Path(__file__).with_name("tpcds.py"), folder, "0.1"], check=True, env={})
    connection = duckdb.connect()
    for table in folder.glob("*.parquet"):
        connection.execute(f"CREATE VIEW {table.stem} AS FROM '{table}'")
    sales, returns = [], []
    for channel, (s, r, key, given_back, ours) in CHANNELS.items():
        sales.append(f"""
            SELECT '{ours}' AS channel, {s}_{key}_number AS number, {s}_item_sk AS item, d_date AS day, i_category
                AS category,
                {s}_quantity AS units, {s}_net_paid AS net FROM {channel}_sales LEFT
                    JOIN item ON i_item_sk = {s}_item_sk
            LEFT JOIN date_dim ON d_date_sk = {s}_sold_date_sk""")
        returns.append(f"""
            SELECT '{ours}' AS channel, {r}_{key}_number AS number, {r}_item_sk AS item, d_date AS day,
                {r}_return_quantity AS units,
                {given_back} AS paid FROM {channel}_returns LEFT JOIN date_dim ON d_date_sk = {r}_returned_date_sk""")
    connection.execute(f"""
        CREATE VIEW every_sale AS {" UNION ALL ".join(sales)};
        CREATE VIEW every_return AS {" UNION ALL ".join(returns)};
        CREATE TABLE sale AS SELECT * FROM every_sale WHERE day IS NOT NULL AND units IS NOT NULL AND net IS NOT NULL;
        CREATE TABLE back AS SELECT *, coalesce(units, 1) AS came FROM every_return WHERE day IS NOT NULL;
    """)
    return connection


def _tpcds(connection: duckdb.DuckDBPyConnection, folder: Path, warehouse: Path) -> Iterator[Claim]:
    begun = time.perf_counter()
    options = ["--source", str(MAPPING), "--warehouse", str(warehouse), "--format", "json"]
    done = backhaul("load", str(folder), *options)
    seconds = time.perf_counter() - begun
    if done.returncode:
        yield Claim("TPC-DS loads by one mapping", "exit 0", done.stderr[-200:], False)
        return
    report, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])
    most = peak(done)
    yield Claim(
        "TPC-DS, scale 0.1: peak memory of the load",
        "at most 1 GiB",
        f"{most / 2**20:,.0f} MiB, {seconds:.0f} s",
        most <= MOST_MEMORY,
    )
    yield from _accounted(connection, report)
    with current_build(Settings(warehouse=warehouse).warehouse) as build:
        yield from _numbers(connection, build)


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    return int(connection.execute(sql).fetchall()[0][0])


def _accounted(connection: duckdb.DuckDBPyConnection, report: dict[str, list[dict[str, int]]]) -> Iterator[Claim]:
    """Claim that every row with a NULL where none can be is counted as quarantined."""
    counts = {str(c["table"]): c for c in [*report["tables"], *report["derived"]]}
    expected = {
        "order_line": ("every_sale", "sale"),
        "return_event": ("every_return", "back"),
    }
    for log, (every, taken) in expected.items():
        rows, kept = (_one(connection, f"SELECT count(*) FROM {t}") for t in (every, taken))
        found = counts.get(log, {})
        said = (found.get("read"), found.get("accepted"), found.get("quarantined"))
        figure = f"{said[0]:,} read, {said[2]:,} quarantined" if found else "not said"
        yield Claim(
            f"TPC-DS: rows of {log} without a date, units or amount are quarantined, not dropped",
            f"{rows:,} read, {rows - kept:,} quarantined",
            figure,
            said == (rows, kept, rows - kept),
        )


def _numbers(connection: duckdb.DuckDBPyConnection, build: Build) -> Iterator[Claim]:
    """Claim units, money and rates by channel, category and month equal to SQL, to the cent."""
    for cut in CUTS:
        of_sale = "date_trunc('month', s.day)::DATE::VARCHAR" if cut == "month" else f"s.{cut}"
        sold = f"SELECT {of_sale} AS cut, sum(units) AS units, sum(net) AS net FROM sale s GROUP BY 1"
        back = (
            f"SELECT {of_sale} AS cut, sum(b.came) AS back FROM back b JOIN sale s USING (channel, number, item) GROUP"
            " BY 1"
        )
        hand = connection.execute(
            f"SELECT s.*, b.back FROM ({sold}) s LEFT JOIN ({back}) b ON b.cut IS NOT DISTINCT FROM s.cut"
        ).df()
        hand["back"] = hand["back"].fillna(0)
        hand["rate"] = hand["back"] / hand["units"]
        for key, column, within in (
            ("sold_units", "units", 0),
            ("net_sales", "net", 0.005),
            ("returned_units", "back", 0),
            ("observed_return_rate", "rate", 1e-12),
        ):
            yield _equal(build, key, cut, dict(zip(hand["cut"], hand[column], strict=True)), within)
    paid = (
        "SELECT date_trunc('month', day)::DATE::VARCHAR AS cut, sum(paid) AS paid FROM back WHERE paid IS NOT NULL"
        " GROUP BY 1"
    )
    yield _equal(build, "refund_amount", "month", dict(connection.execute(paid).fetchall()), 0.005)


def _equal(build: Build, key: str, cut: str, hand: dict[object, float], within: float) -> Claim:
    """Claim that a number by one cut is the hand-written one in every group."""
    found = metrics.answer(build, key, by=[cut])
    ours = {_name(g): row for g, row in zip(found[cut], found.to_dict("records"), strict=True)}
    theirs = {_name(g): float(v) for g, v in hand.items()}
    valued = {g for g, row in ours.items() if not pd.isna(row["value"])}
    gaps = [abs(float(ours[g]["value"]) - v) for g, v in theirs.items() if g in valued]
    # where too many returns name no sale that counts, the number is not given, and its bounds hold the true one
    bounded = [g for g in theirs if g in ours and g not in valued]
    is_inside = all(float(ours[g]["low"]) - within <= theirs[g] <= float(ours[g]["high"]) + within for g in bounded)
    holds = set(theirs) <= set(ours) and valued <= set(theirs) and is_inside and all(gap <= within for gap in gaps)
    figure = f"{len(gaps)} groups, greatest difference {max(gaps, default=0.0):.3g}"
    figure += f"; {len(bounded)} given as bounds, which hold it" if bounded and is_inside else ""
    bar = "the same" if within < 0.001 else "to the cent"
    return Claim(f"TPC-DS: {key} by {cut} is that of SQL", bar, figure, holds)


def _name(group: object) -> str:
    return "-" if group is None or pd.isna(group) else str(group)[:10] if not isinstance(group, str) else group  # type: ignore[call-overload]
