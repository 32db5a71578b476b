"""Copies of a build for other tools: whole, described, put in place at once, and never over what is somebody else's."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pandas as pd
import psycopg
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from pipelines import metrics
from pipelines.cli import app
from pipelines.errors import CopyError, WarehouseLocked
from pipelines.load import load
from pipelines.outputs import semantics
from pipelines.settings import Settings
from pipelines.warehouse import elsewhere, elsewhere_postgresql
from pipelines.warehouse.build import build_path, checksum, current_build, current_id
from pipelines.warehouse.elsewhere import copy_build, described
from pipelines.warehouse.engine import open_postgresql
from pipelines.warehouse.star import STAR
from tests import any_shop, postgres
from tests.conftest import TINY_SHOP, ends, fresh, write_shop
from tests.turns import left_to_proofs

pytestmark = pytest.mark.usefixtures("no_rules")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.postgresql() as address:
        yield address


def published(settings: Settings) -> Path:
    return build_path(settings.warehouse, str(current_id(settings.warehouse)))


def same(build: Path, read: Callable[[duckdb.DuckDBPyConnection, str], str]) -> int:
    """Compare every table of a copy with the build's; gives how many rows there are."""
    rows = 0
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{build}' AS build (READ_ONLY)")
        for table in STAR.sorted_tables:
            columns = ", ".join(f'"{c.name}"' for c in table.columns)
            ours, theirs = (
                f"SELECT {columns} FROM build.{table.name}",
                f"SELECT {columns} FROM {read(connection, table.name)}",
            )
            for one, other in ((ours, theirs), (theirs, ours)):
                assert connection.execute(f"SELECT count(*) FROM ({one} EXCEPT ALL {other})").fetchone() == (0,), (
                    table.name
                )
            rows += connection.execute(f"SELECT count(*) FROM ({ours})").fetchone()[0]
    return rows


def in_file(path: Path) -> Callable[[duckdb.DuckDBPyConnection, str], str]:
    def read(connection: duckdb.DuckDBPyConnection, table: str) -> str:
        connection.execute(f"ATTACH IF NOT EXISTS '{path}' AS copy (READ_ONLY)")
        return f"copy.{table}"

    return read


def in_folder(path: Path) -> Callable[[duckdb.DuckDBPyConnection, str], str]:
    return lambda _, table: f"read_parquet('{path / table}.parquet')"


TARGETS = ("copy.duckdb", "folder")


def whole(settings: Settings, place: Path) -> int:
    return same(published(settings), in_file(place) if place.suffix == ".duckdb" else in_folder(place))


@pytest.mark.parametrize("target", TARGETS)
def test_a_copy_holds_every_row_and_takes_the_place_of_the_last(
    target: str,
    copy_of_tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "out" / target
    first = copy_build(copy_of_tiny.warehouse, str(place))
    assert whole(copy_of_tiny, place) == first.rows > 100
    again = copy_build(copy_of_tiny.warehouse, str(place))
    assert again == first
    more = [{**TINY_SHOP["order_line"][0], "order_line_id": "O7-1", "order_id": "O7", "units": "5"}]
    load(copy_of_tiny, [write_shop(tmp_path / "more", {"order_line": more})])
    code, said, _ = ends(capsys, monkeypatch, "copy", "--to", place, "--warehouse", copy_of_tiny.warehouse)
    assert code == 0
    assert str(current_id(copy_of_tiny.warehouse)) in said
    assert whole(copy_of_tiny, place) > first.rows
    assert [p.name for p in place.parent.iterdir() if not p.name.startswith(".")] == [target]
    assert place.stat().st_mode & 0o077 == 0


def test_a_duckdb_file_carries_the_dictionary(tiny_settings: Settings, tmp_path: Path) -> None:
    place = tmp_path / "copy.duckdb"
    copy_build(tiny_settings.warehouse, str(place))
    with duckdb.connect(str(place), read_only=True) as connection:
        tables = dict(connection.execute("SELECT table_name, comment FROM duckdb_tables()").fetchall())
        query = "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
        columns = {(t, c): said for t, c, said in connection.execute(query).fetchall()}
    assert tables.keys() == STAR.tables.keys()
    assert tables["fact_order_line"] == "One order line."
    assert tables["build_info"].startswith("One property of the build. Copied by Backhaul: build 0")
    assert columns == {(t.name, c.name): described(c) for t in STAR.sorted_tables for c in t.columns}
    assert columns["fact_order_line", "net_amount"].endswith("[money, in the currency of the row]")
    assert all(columns.values())


def test_a_folder_carries_a_data_package(tiny_settings: Settings, tmp_path: Path) -> None:
    """Held against the words of Data Package 2.0 that it uses (https://datapackage.org/standard/data-resource/)."""
    place = tmp_path / "folder"
    copy_build(tiny_settings.warehouse, str(place))
    package = json.loads((place / "datapackage.json").read_text("utf-8"))
    assert package["$schema"] == "https://datapackage.org/profiles/2.0/datapackage.json"
    assert {r["path"] for r in package["resources"]} | {"datapackage.json"} == {p.name for p in place.iterdir()}
    for resource in package["resources"]:
        file = place / resource["path"]
        assert resource["hash"] == f"sha256:{checksum(file)}"
        assert resource["bytes"] == file.stat().st_size
        assert resource["rows"] == pq.read_metadata(file).num_rows
        assert [f["name"] for f in resource["schema"]["fields"]] == pq.read_schema(file).names
        assert all(f["description"] for f in resource["schema"]["fields"])
        kinds = {f["type"] for f in resource["schema"]["fields"]}
        assert kinds <= {"string", "integer", "number", "boolean", "date", "datetime"}
    fields = {
        f["name"]: f for r in package["resources"] if r["name"] == "fact_order_line" for f in r["schema"]["fields"]
    }
    assert (fields["weight_kg"]["type"], fields["weight_kg"]["unit"]) == ("number", "kg")
    assert (fields["ordered_on"]["type"], fields["is_gift"]["type"]) == ("date", "boolean")


def foreign(kind: str, place: Path, build: Path) -> Path:
    """Put at a place what `copy` did not make."""
    if kind == "text":
        place = place.with_suffix(".duckdb")
        place.write_text("notes")
    elif kind in ("another database", "a build"):
        place = place.with_suffix(".duckdb")
        with duckdb.connect(str(place)) as connection:
            connection.execute("CREATE TABLE mine AS SELECT 1 AS a")
        if kind == "a build":
            place.write_bytes(build.read_bytes())
    elif kind == "a file where a folder belongs":
        place.write_text("notes")
    else:
        place.mkdir()
        (place / ("datapackage.json" if kind == "another package" else "mine.parquet")).write_text('{"resources": []}')
    return place


@pytest.mark.parametrize(
    "kind",
    ["text", "another database", "a build", "a file where a folder belongs", "another package", "another folder"],
)
def test_what_was_not_copied_here_is_not_written_over(kind: str, tiny_settings: Settings, tmp_path: Path) -> None:
    place = foreign(kind, tmp_path / "place", published(tiny_settings))
    before = {p: p.read_bytes() for p in (place.iterdir() if place.is_dir() else [place])}
    with pytest.raises(CopyError, match="not written over"):
        copy_build(tiny_settings.warehouse, str(place))
    assert {p: p.read_bytes() for p in before} == before
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == [place.name]


@pytest.mark.parametrize("target", TARGETS)
def test_a_copy_that_somebody_added_to_is_left(target: str, tiny_settings: Settings, tmp_path: Path) -> None:
    place = tmp_path / target
    copy_build(tiny_settings.warehouse, str(place))
    if place.is_dir():
        (place / "notes.txt").write_text("mine")
    else:
        with duckdb.connect(str(place)) as connection:
            connection.execute("CREATE VIEW mine AS SELECT 1 AS a")
    with pytest.raises(CopyError, match=r"holds (mine|notes\.txt)"):
        copy_build(tiny_settings.warehouse, str(place))


def test_a_copy_goes_nowhere_into_what_backhaul_keeps(tiny_settings: Settings) -> None:
    home = tiny_settings.warehouse
    for place in (home / "copy.duckdb", home, home.parent, tiny_settings.raw / "folder"):
        with pytest.raises(CopyError, match="lie in each other"):
            copy_build(home, str(place))


def test_two_copies_to_one_place_do_not_mix(tiny_settings: Settings, tmp_path: Path) -> None:
    place, tried = tmp_path / "folder", []

    def other(_: str) -> None:
        if not tried:
            tried.append(True)
            with pytest.raises(WarehouseLocked):
                copy_build(tiny_settings.warehouse, str(place))

    copy_build(tiny_settings.warehouse, str(place), other)
    assert tried
    assert whole(tiny_settings, place) > 100


KILLED = """
import os, sys
from pathlib import Path
from pipelines.warehouse.elsewhere import copy_build
copy_build(Path(sys.argv[1]), sys.argv[2], lambda said: os.kill(os.getpid(), 9) if said == sys.argv[3] else None)
"""


def kill(settings: Settings, target: str, at: str) -> None:
    words = [sys.executable, "-c", KILLED, str(settings.warehouse), target, at]
    run = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, check=False)
    assert run.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("target", "at"),
    [
        (TARGETS[0], "copying model_version"),
        (TARGETS[1], "copying build_coverage"),
        left_to_proofs(TARGETS[0], "copying build_coverage"),
        left_to_proofs(TARGETS[1], "copying model_version"),
    ],
)
def test_a_killed_copy_leaves_the_old_one_and_the_next_is_whole(
    target: str, at: str, tiny_settings: Settings, tmp_path: Path
) -> None:
    place = tmp_path / target
    kill(tiny_settings, str(place), at)
    assert not place.exists()
    copy_build(tiny_settings.warehouse, str(place))
    before = {p: checksum(p) for p in (place.iterdir() if place.is_dir() else [place])}
    kill(tiny_settings, str(place), at)
    assert {p: checksum(p) for p in (place.iterdir() if place.is_dir() else [place])} == before
    assert whole(tiny_settings, place) == copy_build(tiny_settings.warehouse, str(place)).rows
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == [target]


def ask(server: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server) as connection:
        return connection.execute(query.encode()).fetchall()


def test_a_schema_holds_every_row_with_the_dictionary_and_views_on_it_stay(
    server: str, copy_of_tiny: Settings, tmp_path: Path
) -> None:
    target = f"{server}#stays"
    first = copy_build(copy_of_tiny.warehouse, target)
    with psycopg.connect(server) as connection:
        connection.execute("CREATE VIEW public.sold AS SELECT sum(units_sold) AS units FROM stays.fact_order_line")
        connection.execute("CREATE TABLE stays.mine AS SELECT 1 AS a")
    assert ask(server, "SELECT units FROM public.sold") == [(9,)]
    more = [{**TINY_SHOP["order_line"][0], "order_line_id": "O7-1", "order_id": "O7", "units": "5"}]
    load(copy_of_tiny, [write_shop(tmp_path / "more", {"order_line": more})])
    assert copy_build(copy_of_tiny.warehouse, target).rows > first.rows
    assert ask(server, "SELECT units FROM public.sold") == [(14,)]
    assert ask(server, "SELECT a FROM stays.mine") == [(1,)]
    said = ask(
        server,
        "SELECT c.relname, a.attname, col_description(c.oid, a.attnum) FROM pg_class c JOIN pg_attribute a"
        " ON a.attrelid = c.oid AND a.attnum > 0 WHERE c.relnamespace = 'stays'::regnamespace AND c.relname <> 'mine'",
    )
    assert {(t, c): text for t, c, text in said} == {
        (t.name, c.name): described(c) for t in STAR.sorted_tables for c in t.columns
    }
    assert ask(server, "SELECT obj_description('stays.fact_order_line'::regclass)") == [("One order line.",)]
    with current_build(copy_of_tiny.warehouse) as here, open_postgresql(server, "stays") as there:
        for key in ("sold_units", "observed_return_rate", "refund_amount", "promise_kept", "kg_co2e"):
            pd.testing.assert_frame_equal(metrics.answer(here, key), metrics.answer(there, key))


def places(server: str, schema: str) -> list[str]:
    asked = f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '{schema}\\_\\_rows\\_%' ORDER BY 1"
    return [name for (name,) in ask(server, asked)]


def test_who_reads_waits_for_nothing_and_rows_go_once_nobody_reads_them(
    server: str, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader holds a view while a copy is made: reading goes on all the time, the copy waits, and old rows stay."""
    target, read, tried = f"{server}#reads", "SELECT sum(units_sold) FROM reads.fact_order_line", list[float]()
    copy_build(tiny_settings.warehouse, target)
    assert places(server, "reads") == ["reads__rows_1"]
    with psycopg.connect(server) as held:
        assert held.execute(read.encode()).fetchall() == [(9,)]

        def waited(seconds: float) -> None:
            tried.append(seconds)
            assert ask(server, read) == [(9,)]
            if len(tried) == 2:
                held.commit()
                held.execute(b"SELECT 1 FROM reads__rows_1.fact_order_line")

        monkeypatch.setattr(elsewhere_postgresql.time, "sleep", waited)

        def said(text: str) -> None:
            assert ask(server, read) == [(9,)], text

        copy_build(tiny_settings.warehouse, target, said)
        assert len(tried) == 2
        assert places(server, "reads") == ["reads__rows_1", "reads__rows_2"]  # the first are still held
        assert ask(server, read) == [(9,)]
    copy_build(tiny_settings.warehouse, target)
    assert places(server, "reads") == ["reads__rows_3"]
    assert ask(server, read) == [(9,)]


def test_views_that_are_held_too_long_leave_the_last_copy(
    server: str, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"{server}#held"
    copy_build(tiny_settings.warehouse, target)
    monkeypatch.setattr(elsewhere_postgresql, "TRIES", 1)
    monkeypatch.setattr(elsewhere_postgresql, "WAIT_S", 0.05)
    with psycopg.connect(server) as holding:
        holding.execute(b"SELECT 1 FROM held.dim_reason")
        with pytest.raises(CopyError, match=r"did not take the copy: .*lock timeout"):
            copy_build(tiny_settings.warehouse, target)
    assert places(server, "held") == ["held__rows_1"]


def test_a_schema_of_somebody_else_is_left(server: str, tiny_settings: Settings) -> None:
    with psycopg.connect(server) as connection:
        connection.execute("CREATE SCHEMA theirs; CREATE TABLE theirs.fact_order_line AS SELECT 1 AS a")
    with pytest.raises(CopyError, match="somebody else"):
        copy_build(tiny_settings.warehouse, f"{server}#theirs")
    assert ask(server, "SELECT a FROM theirs.fact_order_line") == [(1,)]
    with pytest.raises(CopyError, match="is no name of a schema"):
        copy_build(tiny_settings.warehouse, f"{server}#x; DROP TABLE y")


def test_a_killed_copy_leaves_the_schema_as_it_was(server: str, tiny_settings: Settings) -> None:
    target = f"{server}#killed"
    kill(tiny_settings, target, "putting the tables in place")
    assert ask(server, "SELECT count(*) FROM pg_namespace WHERE nspname = 'killed'") == [(0,)]
    rows = copy_build(tiny_settings.warehouse, target).rows
    kill(tiny_settings, target, "putting the tables in place")
    assert ask(server, "SELECT sum(units_sold) FROM killed.fact_order_line") == [(9,)]
    assert copy_build(tiny_settings.warehouse, target).rows == rows


def test_a_table_that_changed_is_made_anew_unless_something_rests_on_it(server: str, tiny_settings: Settings) -> None:
    target = f"{server}#changed"
    copy_build(tiny_settings.warehouse, target)
    for old in ("VIEW changed.dim_reason AS SELECT 1 AS more", "TABLE changed.dim_reason (family text)"):
        with psycopg.connect(server) as connection:  # of another version, and of one that copied into tables
            connection.execute(f"DROP VIEW changed.dim_reason; CREATE {old}".encode())
        copy_build(tiny_settings.warehouse, target)
        assert ask(server, "SELECT count(family) > 0 FROM changed.dim_reason") == [(True,)]
    with psycopg.connect(server) as connection:
        connection.execute("DROP VIEW changed.dim_reason; CREATE VIEW changed.dim_reason AS SELECT 1 AS more")
        connection.execute("CREATE VIEW public.rests AS SELECT more FROM changed.dim_reason")
    with pytest.raises(CopyError, match=r"something rests on the old ones: .*rests"):
        copy_build(tiny_settings.warehouse, target)
    assert ask(server, "SELECT count(*) FROM public.rests") != [(0,)]


def test_a_server_that_is_not_there_is_one_sentence(tiny_settings: Settings) -> None:
    with pytest.raises(CopyError, match="did not take the copy"):
        copy_build(tiny_settings.warehouse, "postgresql://nobody@127.0.0.1:1/shop")


def test_a_password_on_the_command_line_is_refused(
    tiny_settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "postgresql://writer:secret@127.0.0.1:1/shop"
    code, _, said = ends(capsys, monkeypatch, "copy", "--to", address, "--warehouse", tiny_settings.warehouse)
    assert (code, "BACKHAUL_COPY_TO" in said, "secret" in said) == (1, True, False)


def test_every_number_of_a_table_names_what_it_is() -> None:
    units = {f"{t.name}.{c.name}": elsewhere.unit_of(c) for t in STAR.sorted_tables for c in t.columns}
    assert units["estimate_leg_carbon.tonne_km"] == "t.km"
    assert units["estimate_leg_carbon.kg_co2e"] == "kg"
    assert units["fact_order_line.order_key"] == ""
    wanted = ("_kg", "_km", "_amount", "_at")
    lacking = [n for n, u in units.items() if not u and n.endswith(wanted)]
    assert lacking == ["fact_activity_use.activity_amount", "fact_return_leg.activity_amount"]  # unit in a column


# ---- the catalogue


@pytest.fixture(scope="module")
def catalogue_file(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("catalogue") / "metrics.yaml"
    run = CliRunner().invoke(app, ["catalogue", str(out), "--schema", "copy"])
    assert run.exit_code == 0
    found: dict[str, Any] = yaml.safe_load(out.read_text("utf-8"))
    return found


def test_the_catalogue_holds_against_the_published_schema(catalogue_file: dict[str, Any]) -> None:
    """The schema of OSI 0.1.1, as published: https://github.com/apache/ossie/blob/osi-0.1.1-rc1/core-spec/osi-schema.json."""
    schema = json.loads((ROOT / "tests" / "fixtures" / "osi" / "osi-schema-0.1.1.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(catalogue_file)
    (model,) = catalogue_file["semantic_model"]
    for kind in ("datasets", "metrics"):
        names = [part["name"] for part in model[kind]]
        assert len(set(names)) == len(names) > 10
    for dataset in model["datasets"]:
        names = [f["name"] for f in dataset["fields"]]
        assert len(set(names)) == len(names)
    asked = json.loads(model["custom_extensions"][0]["data"])["backhaul"]["asked_only"]
    written = {m["name"] for m in model["metrics"]}
    assert written | {a["name"] for a in asked} == {m.key for m in metrics.catalogue()}
    assert written.isdisjoint(a["name"] for a in asked)
    assert {"ultimate_return_rate", "breach_risk", "kg_co2e"} <= {a["name"] for a in asked}
    with pytest.raises(Exception, match=r"[Aa]dditional"):
        jsonschema.Draft202012Validator(schema).validate({**catalogue_file, "sql": ""})


def evaluated(connection: duckdb.DuckDBPyConnection, model: dict[str, Any], metric: dict[str, Any]) -> float | None:
    """Evaluate a metric as a tool would: each sum on its own dataset, then the expression of the sums."""
    sources = {d["name"]: d["source"] for d in model["datasets"]}
    (written,) = metric["expression"]["dialects"]
    text = written["expression"]
    parts = json.loads(metric["custom_extensions"][0]["data"])["backhaul"]["parts"]
    for part in sorted(parts, key=lambda p: -len(p["expression"])):
        source = sources[part["dataset"]]
        table = f"({source})" if source.startswith("SELECT") else source
        ((value,),) = connection.execute(f"SELECT {part['expression']} FROM {table} AS {part['dataset']}").fetchall()
        text = text.replace(part["expression"], "NULL" if value is None else f"({value})")
    assert "CASE" not in text
    ((found,),) = connection.execute(f"SELECT {text}").fetchall()
    return None if found is None else float(found)


def test_every_expression_gives_the_answer_of_the_metric(
    catalogue_file: dict[str, Any], tiny_settings: Settings, tmp_path: Path
) -> None:
    """On the tiny shop and on one with every log: what is answered is what the expression gives on the copy."""
    rich = fresh(tmp_path)
    load(rich, any_shop.write(tmp_path / "in", any_shop.Delivery(any_shop.whole(orders=60))))
    (model,) = catalogue_file["semantic_model"]
    compared = set()
    for settings in (tiny_settings, rich):
        place = tmp_path / f"{settings.warehouse.parent.name}.duckdb"
        copy_build(settings.warehouse, str(place))
        with duckdb.connect() as connection, current_build(settings.warehouse) as build:
            connection.execute(f"ATTACH '{place}' AS copy (READ_ONLY)")
            for metric in model["metrics"]:
                row = metrics.answer(build, metric["name"]).iloc[0]
                if row["status"] == "ok":
                    found = evaluated(connection, model, metric)
                    assert found == pytest.approx(float(row["value"]), rel=1e-9, abs=1e-9), metric["name"]
                    compared.add(metric["name"])
    assert len(compared) > 0.8 * len(model["metrics"])


def test_every_field_of_a_dataset_can_be_read(
    catalogue_file: dict[str, Any], tiny_settings: Settings, tmp_path: Path
) -> None:
    copy_build(tiny_settings.warehouse, str(tmp_path / "copy.duckdb"))
    (model,) = catalogue_file["semantic_model"]
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{tmp_path / 'copy.duckdb'}' AS copy (READ_ONLY)")
        for dataset in model["datasets"]:
            source = dataset["source"]
            table = f"({source})" if source.startswith("SELECT") else source
            fields = ", ".join(f["expression"]["dialects"][0]["expression"] for f in dataset["fields"])
            connection.execute(f"SELECT {fields} FROM {table} AS {dataset['name']} LIMIT 1").fetchall()


def test_the_catalogue_takes_two_forms(tmp_path: Path) -> None:
    semantics.write(tmp_path / "a.json", "")
    (model,) = json.loads((tmp_path / "a.json").read_text("utf-8"))["semantic_model"]
    assert model["datasets"][0]["source"] == "fact_order_line"
    run = CliRunner().invoke(app, ["catalogue", str(tmp_path / "a.txt")])
    assert run.exit_code == 1
