"""One build, three engines: every metric's statistics agree with DuckDB's to 1e-9.

Compared on the build written by hand and on the tiny shop as the loader makes it.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

import hand_build
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import false, literal_column, null, select

from pipelines import analyses, metrics
from pipelines.metrics import Question
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.elsewhere import copy_to_postgresql
from pipelines.warehouse.engine import (
    Build,
    calendar_days,
    copy_to_spark,
    double,
    key_of,
    literal_day,
    literal_instant,
    open_duckdb,
    period_start,
    ratio,
    seconds_between,
    sql_text,
    text_in,
)
from pipelines.warehouse.star import STAR
from tests import postgres
from tests.handwritten import HANDWRITTEN
from tests.turns import by_turns

Copy = Callable[[Path], Build]
QUESTIONS: list[dict[str, Any]] = [
    {},
    {"by": ("month", "country"), "since": date(2025, 11, 1), "until": date(2026, 1, 31)},
    {"by": ("week",), "where": {"country": ["FR", "it's"], "channel": ["web"]}, "as_of": date(2025, 12, 29)},
    {"by": ("region",), "where": {"region": ["Est", 'West "1"', None]}},
]


def test_what_is_written_out_once_is_told_apart_by_what_it_says() -> None:
    """Texts of statements are kept: another period, day, instant, name or value is another text."""
    day, own = STAR.tables["fact_order_line"].c.ordered_on, STAR.tables["fact_order_line"].c.dimensions
    said = [
        lambda n: select(period_start(("week", "month")[n], day)),
        lambda n: select(day).where(day == literal_day(date(2026, 1, 1 + n))),
        lambda n: select(day).where(day < literal_instant(datetime(2026, 1, 1, n))),
        lambda n: select(text_in(("region", "team")[n], own)),
        lambda n: select(day).where(own == ("a", "b")[n]),
        lambda n: select(day).where(own.in_(["a"] * (1 + n))),
        lambda n: select(double((1, 2.0)[n])),
    ]
    for one in said:
        first, other = (sql_text(one(n)) for n in (0, 1))
        assert first != other
        assert [sql_text(one(n)) for n in (0, 1)] == [first, other]


def test_every_statement_can_be_kept(tiny_build: Build) -> None:
    """A part that SQLAlchemy cannot tell apart (`inherit_cache`) would have every statement written out anew."""
    for key, (by, _) in HANDWRITTEN.items():
        assert metrics.statistics(tiny_build, key, by=by)._generate_cache_key() is not None, key


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Copy]:
    with postgres.postgresql() as address:
        yield lambda path: copy_to_postgresql(path, address, f"build_{abs(hash(path))}")


@pytest.fixture(scope="session")
def spark() -> Iterator[Copy]:
    vars(sys.modules["__main__"]).setdefault("__file__", __file__)  # without one pyspark looks for its own doctests
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connect = pytest.importorskip("pysail.spark")
        sessions = pytest.importorskip("pyspark.sql")
        pytest.importorskip("databricks.sqlalchemy")
        server = connect.SparkConnectServer("127.0.0.1", 0)
        server.start(background=True)
        host, port = server.listening_address
        session = sessions.SparkSession.builder.remote(f"sc://{host}:{port}").getOrCreate()
        session.conf.set("spark.sql.session.timeZone", "UTC")
    yield lambda path: copy_to_spark(path, session)
    session.stop()
    server.stop()


@pytest.fixture(scope="session")
def hand_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hand_build.write(tmp_path_factory.mktemp("hand") / "hand.duckdb")


@pytest.fixture(scope="session")
def tiny_path(tiny_settings: Settings) -> Path:
    return build_path(tiny_settings.warehouse, str(current_id(tiny_settings.warehouse)))


def compare_engines(path: Path, copy: Copy, questions: list[dict[str, Any]]) -> None:
    """Fail with every metric and question, one in two by turns, whose statistics differ between DuckDB and the copy."""
    different = []
    with open_duckdb(path) as here, copy(path) as there:
        for turn, m in enumerate(metrics.catalogue()):
            for question in by_turns(questions, 2, turn):
                known = metrics.dimensions(m.key, here)
                by = tuple(b for b in question.get("by", ()) if b in known)
                where = {k: v for k, v in question.get("where", {}).items() if k in known}
                days = {k: v for k, v in question.items() if k not in ("by", "where")}
                statement = metrics.statistics(here, m.key, Question(where=where, **days), by=by)
                try:
                    pd.testing.assert_frame_equal(
                        _sorted(here.fetch(statement)),
                        _sorted(there.fetch(statement)),
                        rtol=1e-9,
                        atol=1e-9,
                        check_dtype=False,
                    )
                except Exception as error:
                    different.append(f"{m.key} {question}: {type(error).__name__} {str(error)[:300]}")
    assert not different, "\n".join(different)


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    def plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
        if pd.api.types.is_datetime64_any_dtype(column):
            return column.astype("datetime64[us]").astype(str)
        return (
            column.astype(float)
            if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
            else column.map(lambda v: "" if pd.isna(v) else str(v))
        )

    plainly = frame.apply(plain)
    numbers = [c for c in plainly if plainly[c].dtype == float]
    keys = [c for c in plainly if c not in numbers] + [
        c for c in ("share", "doubt", "hours", "took", "cause", "clock_day") if c in numbers
    ]
    plainly[numbers] = plainly[numbers].fillna(0.0)  # a sum of nothing is NULL or 0, and both are nothing
    return plainly.sort_values(keys).reset_index(drop=True) if keys else plainly


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["postgresql", "spark"])
def test_other_engines_answer_alike(engine: str, hand_path: Path, request: pytest.FixtureRequest) -> None:
    compare_engines(hand_path, request.getfixturevalue(engine), QUESTIONS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["postgresql", "spark"])
def test_other_engines_answer_alike_on_a_loaded_shop(
    engine: str, tiny_path: Path, request: pytest.FixtureRequest
) -> None:
    compare_engines(tiny_path, request.getfixturevalue(engine), [{"by": ("month", "country")}, {}])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["postgresql", "spark"])
def test_other_engines_say_the_same_of_the_past(engine: str, hand_path: Path, request: pytest.FixtureRequest) -> None:
    with open_duckdb(hand_path) as here, request.getfixturevalue(engine)(hand_path) as there:
        for by in (None, "category"):
            ours, theirs = (analyses.backtest(b, days_ago=(30, 60), by=by) for b in (here, there))
            assert (ours["status"] == "ok").any()
            pd.testing.assert_frame_equal(_sorted(ours), _sorted(theirs), rtol=1e-9, atol=1e-9, check_dtype=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["postgresql", "spark"])
def test_other_engines_show_a_product_alike(engine: str, hand_path: Path, request: pytest.FixtureRequest) -> None:
    asked = Question(where={"country": ["FR"]}, as_of=date(2026, 1, 31))
    with open_duckdb(hand_path) as here, request.getfixturevalue(engine)(hand_path) as there:
        ours, theirs = (analyses.product_profile(b, "shop:alba", asked) for b in (here, there))
        ranked = [analyses.product_ranking(b, by="product_id") for b in (here, there)]
    frames = [f.name for f in fields(ours) if isinstance(getattr(ours, f.name), pd.DataFrame)]
    for one, other in [*((getattr(ours, f), getattr(theirs, f)) for f in frames), ranked]:
        one, other = (f.dropna(axis=1, how="all") for f in (one, other))
        pd.testing.assert_frame_equal(_sorted(one), _sorted(other), rtol=1e-9, atol=1e-9, check_dtype=False)
    assert len(ours.by_size) == 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["postgresql", "spark"])
def test_the_rows_behind_are_the_same_on_other_engines(
    engine: str, hand_path: Path, request: pytest.FixtureRequest
) -> None:
    with open_duckdb(hand_path) as here, request.getfixturevalue(engine)(hand_path) as there:
        for m in by_turns(metrics.catalogue(), 2, engine == "spark"):
            for part in metrics.PARTS if m.denominator else metrics.PARTS[:1]:
                number, total = metrics.rows_total(here, m.key, part=part)
                assert metrics.rows_total(there, m.key, part=part) == (number, pytest.approx(total)), (m.key, part)
            found = metrics.rows(there, m.key, limit=3)
            assert len(found) == min(3, len(metrics.rows(here, m.key))), m.key


CONSTRUCTS = {
    "seconds": (
        seconds_between(
            literal_instant(datetime(2025, 3, 29, 23)), literal_instant(datetime(2025, 3, 31, 0, 0, 1, 500_000))
        ),
        90_001.5,
    ),
    "days": (
        calendar_days(literal_instant(datetime(2025, 1, 1, 23, 59)), literal_instant(datetime(2025, 1, 2, 0, 1))),
        1,
    ),
    "week": (
        period_start("week", literal_day(date(2026, 1, 4))),
        "2025-12-29",
    ),  # a Sunday belongs to the week of its Monday
    "quarter": (period_start("quarter", literal_day(date(2026, 5, 31))), "2026-04-01"),
    "third": (ratio(literal_column("1"), literal_column("3")), 1 / 3),
    "nothing": (ratio(literal_column("1"), literal_column("0")), np.nan),
    "tenth": (double(literal_column("1.0")) / double(10), 0.1),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["duckdb", "postgresql", "spark"])
def test_constructs_mean_the_same(engine: str, hand_path: Path, request: pytest.FixtureRequest) -> None:
    statement = select(*(e.label(n) for n, (e, _) in CONSTRUCTS.items()))
    with open_duckdb(hand_path) if engine == "duckdb" else request.getfixturevalue(engine)(hand_path) as build:
        found = build.fetch(statement).iloc[0]
    for name, (_, expected) in CONSTRUCTS.items():
        if isinstance(expected, str):
            assert str(found[name])[:10] == expected
        else:
            assert float(found[name]) == pytest.approx(expected, nan_ok=True), name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["duckdb", "postgresql", "spark"])
def test_an_answer_of_nothing_has_the_types_of_a_full_one(
    engine: str, hand_path: Path, request: pytest.FixtureRequest
) -> None:
    nullable = {"int64": "Int64", "bool": "boolean"}  # whole numbers and booleans, where one is missing
    with open_duckdb(hand_path) if engine == "duckdb" else request.getfixturevalue(engine)(hand_path) as build:
        for table in STAR.sorted_tables:
            full, empty = build.fetch(select(table)), build.fetch(select(table).where(false()))
            nothing = build.fetch(select(*(null().cast(c.type).label(c.name) for c in table.c)))
            for column in table.c:
                kind = str(empty[column.name].dtype)
                assert str(full[column.name].dtype) in (kind, nullable.get(kind)), column
                assert str(nothing[column.name].dtype) == nullable.get(kind, kind), column
        kinds = build.fetch(select(STAR.tables["fact_order_line"]).where(false())).dtypes.astype(str)
    assert kinds[["source", "ordered_at", "ordered_on", "units_sold", "net_amount", "is_gift"]].tolist() == [
        "str",
        "datetime64[us]",
        "datetime64[us]",
        "int64",
        "float64",
        "bool",
    ]


def test_keys_are_the_same_in_both_databases(hand_path: Path, postgresql: Copy) -> None:
    statement = select(key_of(literal_column("'shop:order-17:2'")).label("key"))
    with open_duckdb(hand_path) as here, postgresql(hand_path) as there:
        assert here.fetch(statement)["key"].tolist() == there.fetch(statement)["key"].tolist()


def test_nothing_is_written_and_threads_may_share(hand_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    before = hand_path.stat().st_mtime_ns
    with open_duckdb(hand_path) as build, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: float(metrics.answer(build, "sold_units")["value"].iloc[0]), range(8)))
    assert found == [9.0] * 8
    assert hand_path.stat().st_mtime_ns == before


def test_what_is_fetched_twice_is_read_once_and_whoever_writes_to_it_writes_to_a_copy(hand_path: Path) -> None:
    with open_duckdb(hand_path) as build:
        line = STAR.tables["fact_order_line"]
        several = [
            select(line.c.order_line_id, line.c.units_sold).where(line.c.country == name) for name in ("FR", "FR", "DE")
        ]
        first, same, other = (build.fetch(one) for one in several)
        fetched = build._connection.fetched  # type: ignore[attr-defined]
        assert len(fetched._kept) == 2 + 1  # and what the build says of itself
        assert first.equals(same)
        assert not first.equals(other)
        first.loc[:, "units_sold"] = -1
        assert build.fetch(several[0]).equals(same)
        build.forget()
        assert not fetched._kept
        assert build.fetch(several[0]).equals(same)
