"""Text from outside that was written to do harm: it is data everywhere, in SQL, in a terminal, in a file, on a page."""

import asyncio
import contextlib
import csv
import io
import json
import re
import stat
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote as quote_url

import duckdb
import plotly.graph_objects as go
import pytest
from starlette.responses import PlainTextResponse
from streamlit.testing.v1 import AppTest

from dashboard.door import Door
from dashboard.i18n import Words, inert
from dashboard.shared.charts import described
from pipelines import alerts, cli, delivery, factors, metrics
from pipelines.cli import pages
from pipelines.errors import AlertError, BackhaulError, MappingError, ReportError, SourceError
from pipelines.load import land, load, withdraw
from pipelines.outputs import closing, disclosure
from pipelines.people import actions, policies, policy_text
from pipelines.settings import Settings
from pipelines.sources import mapping_source
from pipelines.sources.online_retail import COLUMNS
from pipelines.warehouse import state
from pipelines.warehouse.build import current_build
from pipelines.warehouse.sql import connect, quote, read_sql
from tests.conftest import TINY_SHOP, ends, fresh, write_rows, write_shop
from tests.pages import ADDRESSES, turn
from tests.test_cli import run
from tests.test_policies import GOOD
from tests.test_serve import Client, served
from tests.test_sources_shopify import ORDER

HOSTILE = {
    "apostrophe": "o'neill",
    "quotes": "a\"b'c`d",
    "statement": "x'; DROP TABLE fact_order_line; --",
    "comment": "x /* y */ -- z",
    "copy": "x' AS a) SELECT 1; COPY (SELECT 1) TO 'owned.txt'; SELECT ('",
    "reader": "x' || (SELECT content FROM read_text('/etc/hostname')) || '",
    "template": "{{ 7*7 }}${7*7}{0}%(x)s%s",
    "path": "../../../etc/passwd",
    "control": "a\x1b[31mred\x1b]0;title\x07\x08b",
    "markdown": "![x](http://example.org/leak.png) [y](javascript:alert) $\\LaTeX$ :red[red]",
    "markup": "<script>window.pwn=1</script><img src=x onerror=alert(1)>",
    "rich": "[bold]rich[/bold][/red]",
    "formula": '=HYPERLINK("http://example.org/","x")',
    "pattern": "%_\\*?[a-z]",
    "backslash": "ends in \\",
    "direction": "a\u202egnp.exe\u200b",
    "long": "long " * 50,
}

ROOT = Path(__file__).parents[1]
PARTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ADDRESSES, ()),
    "margin": ("goods",),
}
"""Every page, and parts beside its first that name what is in the data."""


def hostile_shop() -> dict[str, list[dict[str, str]]]:
    """The tiny shop with every kind of hostile text in every column that takes text, ids included: one style a kind."""
    shop = {thing: [dict(row) for row in rows] for thing, rows in TINY_SHOP.items()}
    line, event, product = shop["order_line"][0], shop["return_event"][0], shop["product"][0]
    for number, (kind, text) in enumerate(HOSTILE.items()):
        names = dict.fromkeys(("name", "category", "brand", "supplier", "season", "size", "colour", "size_note"), text)
        shop["product"].append(product | names | {"product_id": f"{text} {kind}", "style_id": text})
        shop["order_line"].append(
            line
            | {
                "order_line_id": f"{text}-line",
                "order_id": f"{text}-order",
                "product_id": f"{text} {kind}",
                "customer_id": text,
                "channel": text,
                "carrier": text,
                "seller": text,
                "loyalty_tier": text,
                "dimensions": json.dumps({"own": text}),
            }
        )
        shop["return_event"].append(
            event
            | {
                "event_id": f"{text}-{number}",
                "return_line_id": f"{text}-return",
                "return_id": text,
                "order_line_id": f"{text}-line",
                "reason_raw": text,
                "carrier": text,
                "parcel_id": text,
            }
        )
    return shop


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The hostile shop, loaded, in a folder whose own name needs quoting."""
    folder = tmp_path_factory.mktemp("it's [a] country=ES *")
    settings = fresh(folder)
    report = load(settings, [write_shop(folder / "files", hostile_shop())])
    rows = {r["table"]: (r["read"], r["accepted"], r["quarantined"]) for r in report.counts}
    assert rows["order_line"] == (8 + len(HOSTILE), 8 + len(HOSTILE), 0)
    assert rows["product"] == (3 + len(HOSTILE), 3 + len(HOSTILE), 0)
    return settings


def test_hostile_names_come_out_as_they_went_in(hostile: Settings) -> None:
    answers = json.loads(
        run("metric", "sold_units", "--by", "category", "--format", "json", "--warehouse", str(hostile.warehouse))
    )
    sold = {row["category"]: row["value"] for row in answers}
    assert {text: sold[text.strip()] for text in HOSTILE.values()} == dict.fromkeys(HOSTILE.values(), 1)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_filter_takes_a_hostile_value_for_a_value(hostile: Settings, kind: str) -> None:
    value = HOSTILE[kind].strip()
    [row] = json.loads(
        run(
            "metric",
            "sold_units",
            "--where",
            f"category={value}",
            "--format",
            "json",
            "--warehouse",
            str(hostile.warehouse),
        )
    )
    assert row["value"] == 1


def test_sql_literals_hold_any_text() -> None:
    for text in (*HOSTILE.values(), "a\0b", ""):
        assert duckdb.sql(f"SELECT {quote(text)}").fetchall() == [(text,)]


def test_a_connection_of_a_load_reaches_its_own_folders_only(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    for folder in (own, other):
        (folder / "a [1]*.csv").write_text("n\n1\n")
    (own / "link").symlink_to(other)
    with connect(folders=[own]) as connection:
        assert connection.execute(f"SELECT n FROM {read_sql('csv', own / 'a [1]*.csv')}").fetchall() == [(1,)]
        for statement in (
            f"SELECT * FROM {read_sql('csv', other / 'a [1]*.csv')}",
            f"SELECT * FROM {read_sql('csv', own / 'link' / 'a [1]*.csv')}",
            f"SELECT * FROM {read_sql('csv', own / '..' / 'other' / 'a [1]*.csv')}",
            f"COPY (SELECT 1) TO {quote(other / 'out.csv')}",
            f"ATTACH {quote(other / 'out.duckdb')}",
            "SELECT * FROM read_text('/etc/hostname')",
            "SET enable_external_access = true",
            "SET allowed_directories = ['/']",
            "INSTALL httpfs",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)
    assert sorted(p.name for p in other.iterdir()) == ["a [1]*.csv"]


def test_every_connection_of_the_pipeline_is_given_its_folders() -> None:
    calls = [
        (path.name, call)
        for path in (ROOT / "pipelines").rglob("*.py")
        for call in re.findall(r"\bduckdb\.connect\([^\n]*|(?<![.\w])(?<!def )connect\([^\n]*", path.read_text("utf-8"))
        if path.parent.name != "sample"
        and path.name not in ("engine.py", "sql.py", "elsewhere.py")  # each locks its own
    ]
    assert len(calls) > 8
    assert [c for c in calls if "folders=" not in c[1] and "read_only=True" not in c[1]] == []


MAPPING = """
name: {name}
time_zone: UTC
constants: {{currency: EUR, country: FR}}
tables:
  - file: "orders*.csv"
    to:
      order_line: {{order_line_id: Order, order_id: Order, ordered_at: Date, product_id: SKU, units: Qty,
        net_amount: Net}}
"""
ORDERS = "Order,SKU,Qty,Date,Net\n1,p1,1,2026-01-10,10\n"


def mapped(folder: Path, name: str) -> tuple[Path, Path]:
    (folder / "orders.csv").write_text(ORDERS)
    (folder / "m.yaml").write_text(MAPPING.format(name=json.dumps(name)), encoding="utf-8")
    return folder / "orders.csv", folder / "m.yaml"


PLAIN = {
    "o'neill": r"o-neill-[0-9a-f]{6}",
    HOSTILE["copy"]: r"x-AS-a-SELECT-1-COPY[-\w.]*",
    "été 2025": r"ete-2025-[0-9a-f]{6}",
    "店": r"source-[0-9a-f]{6}",
    "plain.name-1_2": r"plain\.name-1_2",
}


def test_a_mapping_of_any_name_loads_under_a_plain_namespace(settings: Settings, tmp_path: Path) -> None:
    for number, name in enumerate(PLAIN):
        (tmp_path / str(number)).mkdir()
        file, mapping = mapped(tmp_path / str(number), name)
        load(settings, [file], source=str(mapping), is_trial=True)  # judged; one build holds them all
    load(settings)
    with current_build(settings.warehouse) as build:
        from pipelines.warehouse.star import STAR
        from sqlalchemy import select  # isort: skip

        lines = build.fetch(select(STAR.tables["fact_order_line"].c.order_line_id))["order_line_id"]
    found = [line.rpartition(":") for line in lines]
    assert [own for _, _, own in found] == ["1"] * len(PLAIN)
    for begins in PLAIN.values():
        assert len([space for space, _, _ in found if re.fullmatch(begins, space)]) == 1, begins
    assert not list(tmp_path.rglob("owned.txt"))


@pytest.mark.parametrize("namespace", ["o'neill", "a b", "", "a:b", "x" * 200, HOSTILE["copy"], "a\nb", "é"])
def test_a_namespace_is_a_plain_word(settings: Settings, tmp_path: Path, namespace: str) -> None:
    file, mapping = mapped(tmp_path, "shop")
    with pytest.raises(SourceError, match="cannot be a namespace") as caught:
        load(settings, [file], source=str(mapping), namespace=namespace)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_mapping_names_hostile_columns_and_values(tmp_path: Path, kind: str) -> None:
    text = HOSTILE[kind]
    heading = {
        c: f"{text} {c}" for c in ("order_line_id", "ordered_at", "product_id", "units", "net_amount", "reason_raw")
    }
    heading["order_line_id"] = "Line"  # a file that begins like a web page is taken for one
    with (tmp_path / "orders.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [heading.values(), ["1", "2026-01-10", "p1", "2", "10", text], ["2", "2026-01-10", text, "1", "5", "x"]]
        )
    same = {"order_id": heading["order_line_id"]} | {c: heading[c] for c in heading if c != "reason_raw"}
    back = {
        "return_line_id": heading["order_line_id"],
        "return_id": {"value": text},
        "reason_raw": heading["reason_raw"],
        "events": {"requested": heading["ordered_at"]},
    }
    tables = [{"file": "orders*.csv", "to": {"order_line": same | {"seller": {"value": text}}, "return_event": back}}]
    constants = {"currency": "EUR", "country": "FR", "channel": text, "shop_id": text}
    content = {
        "name": text,
        "about": text,
        "time_zone": "UTC",
        "read": {"separator": ","},
        "constants": constants,
        "tables": tables,
    }
    (tmp_path / "m.yaml").write_text(json.dumps(content), encoding="utf-8")
    rows: dict[str, list[dict[str, Any]]] = {}
    if kind == "control":  # a small file with so many signs that are no text is refused, in a sentence
        with pytest.raises(SourceError, match="is no text"), connect(folders=[tmp_path]) as connection:
            list(mapping_source(tmp_path / "m.yaml").name_rows(connection, [tmp_path / "orders.csv"], text))
        return
    with connect(folders=[tmp_path]) as connection:
        for named in mapping_source(tmp_path / "m.yaml").name_rows(connection, [tmp_path / "orders.csv"], text):
            rows[named.thing] = connection.execute(named.sql).to_arrow_table().to_pylist()
    assert [(r["product_id"], r["seller"], r["channel"]) for r in rows["order_line"]] == [
        ("p1", text, text),
        (text.strip(" \u200b"), text, text),
    ]
    assert [r["return_id"] for r in rows["return_event"]] == [text, text]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.yaml", "orders.csv"]


def test_a_file_with_a_nul_is_said_to_be_none(tmp_path: Path) -> None:
    file, mapping = mapped(tmp_path, "shop")
    file.write_bytes(ORDERS.replace("p1", "p\0; DROP").encode())
    with pytest.raises(SourceError, match="is no text"), connect(folders=[tmp_path]) as connection:
        list(mapping_source(mapping).name_rows(connection, [file], "shop"))


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_people_write_comes_back_as_it_was(settings: Settings, kind: str) -> None:
    text = HOSTILE[kind]
    logged = actions.log_action(settings, "size_note", {"style_id": [text]}, owner=text, note=text)
    [action] = actions.actions(settings)
    assert (action, action.note, dict(action.scope)) == (logged, text, {"style_id": (text,)})
    draft = policies.save_draft(settings, text)
    assert policies.drafts(settings)["text"].tolist() == [text]
    policies.end_draft(settings, draft, "withdrawn")


def test_who_signs_a_month_and_why_stay_texts(copy_of_tiny: Settings) -> None:
    text = " | ".join(HOSTILE.values()).strip()
    signed = closing.close(copy_of_tiny, "2025-12", text, text)
    [kept] = closing.closed(copy_of_tiny)
    assert (kept, kept.approver, kept.note, kept.is_intact) == (signed, text, text, True)
    assert [p.name for p in (copy_of_tiny.warehouse / "closed").iterdir()] == ["2025-12-1.parquet"]
    for how in ("table", "csv", "json"):
        said = run("closed", "--format", how, "--warehouse", str(copy_of_tiny.warehouse))
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said)


def test_an_alert_takes_a_value_for_a_value_and_no_text_for_an_address(hostile: Settings) -> None:
    with current_build(hostile.warehouse) as build:
        for text in HOSTILE.values():
            rule = alerts.Rule(0, "sold_units", "above", 0.5, where={"category": (text.strip(),)}, days=0)
            kept = alerts.add_rule(hostile, build, rule)
            [verdict] = alerts.evaluate(build, kept)
            assert (dict(kept.where), verdict.fires) == ({"category": (text.strip(),)}, True)
            alerts.withdraw_rule(hostile, kept.rule_id)
            for address in (text, f"file:{text}", f"http://{text}@example.org/", f"https:{text}"):
                with pytest.raises(AlertError, match="is no address to tell"):
                    delivery.check_address(address)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_policy_is_read_as_it_was_written(kind: str) -> None:
    policy = replace(GOOD, policy_id=HOSTILE[kind].strip(), loyalty_tier=HOSTILE[kind].strip())
    assert policy_text.parse(policy_text.text(policy)) == [policy]


def test_a_policy_of_a_hostile_name_is_published_under_it(copy_of_tiny: Settings, tmp_path: Path) -> None:
    made = [
        replace(GOOD, policy_id=HOSTILE[kind], loyalty_tier=HOSTILE[kind], valid_from=date(2026, 3, 1))
        for kind in ("copy", "apostrophe", "pattern")
    ]
    with current_build(copy_of_tiny.warehouse) as build:
        policies.publish(copy_of_tiny, made, build)
    with current_build(copy_of_tiny.warehouse) as build:
        for policy in made:
            assert policies.published(build, policy.policy_id).loyalty_tier == policy.loyalty_tier
    assert not list(tmp_path.rglob("owned.txt"))


def test_a_factor_set_keeps_the_words_of_its_file(settings: Settings, tmp_path: Path) -> None:
    rows = [
        dict.fromkeys(factors.COLUMNS, text.strip())
        | {"factor_id": f"{text.strip()} {kind}", "activity": "freight", "unit": "kgCO2e/t.km", "quality": "verified"}
        | {
            "wtt": "0.1",
            "ttw": "0.4",
            "wtw": "0.5",
            "ttw_ar6": "",
            "biogenic": "",
            "valid_from_year": "2024",
            "year": "2024",
            "factor_set": "mine",
        }
        for kind, text in HOSTILE.items()
    ]
    write_rows(tmp_path / "mine.csv", rows)
    assert factors.import_set(settings, tmp_path / "mine.csv", "mine") == len(rows)
    assert factors.read_set(settings.warehouse / "factors" / "mine.csv", "mine") == rows
    for name in HOSTILE.values():
        with pytest.raises(BackhaulError, match="cannot name an imported set"):
            factors.import_set(settings, tmp_path / "mine.csv", name)
    assert [p.name for p in (settings.warehouse / "factors").iterdir()] == ["mine.csv"]


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_text_is_a_country_a_load_or_a_month(copy_of_tiny: Settings, kind: str) -> None:
    before = sorted(copy_of_tiny.warehouse.parent.rglob("*"))
    with pytest.raises(ReportError, match="is no country"):
        disclosure.set_company(copy_of_tiny, country=HOSTILE[kind], employees=1, turnover_eur_m=1.0)
    with pytest.raises(SourceError, match="There is no load"):
        withdraw(copy_of_tiny, HOSTILE[kind])
    with pytest.raises(BackhaulError):
        closing.close(copy_of_tiny, HOSTILE[kind], "A. Martin")
    assert [p for p in sorted(copy_of_tiny.warehouse.parent.rglob("*")) if p.name != ".writer.lock"] == [
        p for p in before if p.name != ".writer.lock"
    ]


def test_a_customer_of_a_hostile_id_is_forgotten_and_nobody_else(settings: Settings, tmp_path: Path) -> None:
    text = HOSTILE["statement"]
    lines = [
        TINY_SHOP["order_line"][0] | {"order_line_id": f"L{n}", "order_id": f"O{n}", "customer_id": customer}
        for n, customer in enumerate((text, HOSTILE["copy"], HOSTILE["pattern"]))
    ]
    load(settings, [write_shop(tmp_path / "files", {"order_line": lines})])
    said = run("forget", text, "--warehouse", str(settings.warehouse))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", said)
    [raw] = settings.raw.rglob("order_line.csv")
    kept = [row["customer_id"] for row in csv.DictReader(io.StringIO(raw.read_text("utf-8")))]
    assert text not in kept[0]
    assert kept[1:] == [HOSTILE["copy"], HOSTILE["pattern"]]
    with current_build(settings.warehouse) as build:
        assert metrics.answer(build, "sold_units")["value"].tolist() == [3]


def test_the_endpoint_takes_any_text_for_a_value(hostile: Settings) -> None:
    with served(hostile) as port:
        for text in HOSTILE.values():
            value = quote_url(text, safe="")
            for path in (f"/v1/promise?{p}={value}" for p in ("market", "carrier", "promise", "at", value)):
                status, body = Client(port).get(path)
                assert (status == 200 and isinstance(body["lanes"], list)) or status == 400, (path, body)
                assert status == 200 or 20 < len(body["error"]) < 700
            status, body = Client(port).get(f"/v1/returns/{value}/refund-by")
            assert status == 404 or body["return_id"] == f"shop:{text.strip()}", body


def test_shopify_and_online_retail_give_hostile_values_as_they_are(settings: Settings, tmp_path: Path) -> None:
    plain = dict(zip(COLUMNS, ["1", "A", "", "6", "2010-12-01 08:26:00", "2.55", "", "France"], strict=True))
    rows = [
        plain | {"InvoiceNo": f"53{n:04d}", "StockCode": f"{n}A", "Description": text, "CustomerID": text}
        for n, (kind, text) in enumerate(HOSTILE.items())
        if kind != "control"  # refused as no text, above
    ]
    write_rows(tmp_path / "retail" / "online.csv", rows)
    lines = [
        ORDER["line_items"][0] | {"id": 11 + n, "title": t, "sku": t, "name": t} for n, t in enumerate(HOSTILE.values())
    ]
    order = {k: v for k, v in ORDER.items() if k not in ("refunds", "returns", "fulfillments")} | {"line_items": lines}
    (tmp_path / "orders.json").write_text(json.dumps({"orders": [order | {"note": HOSTILE["copy"]}]}))
    state_file = state.State(settings.warehouse)
    land.begin(state_file, [tmp_path / "retail" / "online.csv"], "online_retail", None, None)
    land.begin(state_file, [tmp_path / "orders.json"], "shopify", None, None)
    state_file.close()
    load(settings)
    with current_build(settings.warehouse) as build:
        sold = metrics.answer(build, "sold_units", by=("source",))
    assert dict(zip(sold["source"], sold["value"], strict=True)) == {
        "online_retail": 6 * len(rows),
        "shopify": 2 * len(lines),
    }
    assert not list(tmp_path.rglob("owned.txt"))


QUERY = MAPPING.replace('file: "orders*.csv"', "sql: {{url: {url}, query: {query}}}").replace("{name}", "shop")


@pytest.mark.parametrize(
    ("url", "query", "says"),
    [
        ("duckdb:///:memory:", "select 1", "names the environment variable"),
        ("sqlite:////etc/passwd", "select 1", "names the environment variable"),
        ("SHOP", "COPY (SELECT 1) TO 'owned.txt'", "one SELECT"),
        ("SHOP", "select 1; drop table orders", "one SELECT"),
        ("SHOP", "with a as (select 1) select * into owned from a", "one SELECT"),
        ("SHOP", "pragma writable_schema = 1", "one SELECT"),
        ("SHOP", "with a as (select 1) delete from orders", "the query failed"),
        ("DUCK", "select * from read_text('/etc/hostname')", "a duckdb database cannot be asked"),
        ("DUCK_MEMORY", "select 1", "a duckdb database cannot be asked"),
    ],
)
def test_a_query_of_a_mapping_reads_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, query: str, says: str
) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "shop.db") as base:
        base.execute("CREATE TABLE orders AS SELECT 1 AS id")
    base.close()
    monkeypatch.setenv("SHOP", f"sqlite:///{tmp_path / 'shop.db'}")
    monkeypatch.setenv("DUCK", f"duckdb:///{tmp_path / 'x.duckdb'}")
    monkeypatch.setenv("DUCK_MEMORY", "duckdb:///:memory:")
    (tmp_path / "m.yaml").write_text(QUERY.format(url=json.dumps(url), query=json.dumps(query)))
    with pytest.raises(MappingError, match=says):
        load(Settings(warehouse=tmp_path / "warehouse"), source=str(tmp_path / "m.yaml"))
    base = sqlite3.connect(tmp_path / "shop.db")
    assert base.execute("SELECT count(*) FROM orders").fetchall() == [(1,)]
    base.close()
    assert not list(tmp_path.rglob("owned.txt"))


def open_to_others(*roots: Path) -> list[str]:
    paths = [p for root in roots for p in (root, *root.rglob("*"))]
    return [f"{p.name} {stat.S_IMODE(p.stat().st_mode):o}" for p in paths if stat.S_IMODE(p.stat().st_mode) & 0o077]


def test_what_is_written_is_its_owners_alone(tmp_path: Path, tiny_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    settings = Settings(warehouse=tmp_path / "warehouse")
    before = os.umask(0)
    try:
        load(settings, [tiny_files])
        everything = (settings.warehouse, settings.raw, settings.key_file)
        assert open_to_others(*everything) == []
        assert {stat.S_IMODE(p.stat().st_mode) for p in (settings.warehouse / "builds").iterdir()} == {0o600}
        for path in [p for root in everything[:2] for p in (root, *root.rglob("*"))]:  # as an older version left it
            path.chmod(0o755 if path.is_dir() else 0o644)
        load(settings)
        assert open_to_others(*everything) == []
    finally:
        os.umask(before)


def test_what_verbs_write_is_its_owners_alone(
    copy_of_tiny: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    out, at = tmp_path / "out", ("--warehouse", copy_of_tiny.warehouse)
    out.mkdir(mode=0o700)
    before = os.umask(0)
    try:
        for verb in (
            *(("export", "sold_units", "--out", out / f"sold.{kind}") for kind in ("csv", "xlsx", "parquet")),
            ("export", "sold_units", "--rows", "numerator", "--out", out / "rows.csv"),
            ("close", "2025-12", "--approver", "A. Martin"),
            ("backup", out / "copy"),
        ):
            assert ends(capsys, monkeypatch, "--log", out / "run.log", *verb, *at)[0] == 0
    finally:
        os.umask(before)
    written = [p for root in (out, copy_of_tiny.warehouse / "closed") for p in root.rglob("*")]
    assert {"sold.csv", "sold.xlsx", "sold.parquet", "rows.csv", "run.log"} <= {p.name for p in written}
    assert [p for p in written if "2025-12" in p.name and copy_of_tiny.warehouse in p.parents]
    assert open_to_others(out, copy_of_tiny.warehouse / "closed") == []


def test_cells_of_a_csv_print_no_live_formula(hostile: Settings) -> None:
    text = run("metric", "sold_units", "--by", "category", "--format", "csv", "--warehouse", str(hostile.warehouse))
    cells = [row["category"] for row in csv.DictReader(io.StringIO(text))]
    assert len(cells) >= len(HOSTILE)
    assert [c for c in cells if c[:1] in "=+-@\t\r"] == []


@pytest.mark.parametrize("how", ["table", "csv", "json"])
def test_a_terminal_reads_no_value_as_markup_or_control(hostile: Settings, how: str) -> None:
    text = run("metric", "sold_units", "--by", "category", "--format", how, "--warehouse", str(hostile.warehouse))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "[bold]rich[/bold][/red]" in text
    assert ("\\u001b[31m" if how == "json" else "␛[31mred") in text


def test_a_sentence_about_a_value_is_no_markup(
    hostile: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv",
        [
            "backhaul",
            "metric",
            "sold_units",
            "--where",
            "category=[/red]\x1b[31m",
            "--warehouse",
            str(hostile.warehouse),
        ],
    )
    monkeypatch.setattr("os.umask", lambda _mask: 0)
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert "[/red]" in said
    assert "\x1b[31m" not in said


def test_explain_takes_an_id_for_an_id(hostile: Settings) -> None:
    for wildcard in ("%", "_", "R_", "R1\\", "'; --"):
        with pytest.raises(BackhaulError, match="There is no"):
            run("explain", wildcard, "--warehouse", str(hostile.warehouse))


def test_a_password_on_the_command_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "postgresql://reader:secret@127.0.0.1:1/shop"
    monkeypatch.setattr("sys.argv", ["backhaul", "metric", "sold_units", "--warehouse", address])
    with pytest.raises(SourceError, match="PGPASSWORD"):
        run("metric", "sold_units", "--warehouse", address)


def test_a_text_is_inert_where_markdown_or_plotly_reads_it() -> None:
    for text in HOSTILE.values():
        shown = inert(text)
        assert not re.search(r"\[|<|\$(?!\d)|:/|www\.", shown)
        said = Words("en")("products.since", day=text)
        assert shown in said
    plain = "Colis Lumière & Cie: 29 % (1.5), $5 – it's 'x' *"
    assert inert(plain) == plain


def test_a_figure_writes_its_texts_and_reads_line_breaks_alone() -> None:
    figure = go.Figure(
        go.Bar(
            x=["<a href='http://x'>y</a>", "a<br>b"], y=[1, 2], hovertext=["<b>c</b>", "d"], customdata=[["<e>"], ["f"]]
        )
    )
    bar = go.Figure(described(figure)).data[0]
    assert list(bar.x) == ["&#60;a href='http://x'>y&#60;/a>", "a<br>b"]
    assert list(bar.hovertext) == ["&#60;b>c&#60;/b>", "d"]
    assert [list(c) for c in bar.customdata] == [["<e>"], ["f"]]
    assert list(bar.y) == [1, 2]


def test_every_page_is_walked() -> None:
    assert set(PARTS) == set(ADDRESSES)


@pytest.fixture(scope="module")
def walked(hostile: Settings) -> AppTest:
    """The app on the hostile shop, opened once: each page is turned to in it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BACKHAUL_WAREHOUSE", str(hostile.warehouse))
        return AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=300).run()


@pytest.mark.parametrize("page", PARTS)
def test_a_page_shows_no_value_as_markup(
    hostile: Settings, walked: AppTest, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(hostile.warehouse))
    app = turn(walked, page).run()
    assert not app.exception
    for part in ("", *PARTS[page]):
        if part:
            app.session_state["part"] = part
            app.run()
        assert not app.exception
        texts = [
            e.value
            for kind in ("title", "header", "subheader", "caption", "markdown", "error", "warning", "info", "success")
            for e in app.get(kind)
        ]
        assert texts
        assert [
            t for t in texts if re.search(r"!\[|\]\((?:http|javascript)|<(?:img|script|iframe)|\$\\LaTeX", str(t))
        ] == []


async def inside(scope: Any, receive: Any, send: Any) -> None:
    """An app behind the door: says that it was reached."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    else:
        answer = PlainTextResponse("inside")
        answer.set_cookie("kept", "1")
        await answer(scope, receive, send)


def visit(
    address: str, token: str = "", *, kind: str = "http", public: str = "", **headers: str
) -> tuple[int, dict[str, str], str]:
    """Knock at the door: the status (101 for an open socket), the headers and the text of the answer."""
    path, _, query = address.partition("?")
    given = {"host": "127.0.0.1:8501", **headers}
    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(n.encode(), v.encode()) for n, v in given.items()],
        "server": ("127.0.0.1", 8501),
        "method": "GET",
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(Door(inside, token, public)(scope, receive, send))
    if kind == "websocket":
        return (101 if sent[0]["type"] == "websocket.accept" else 403), {}, ""
    answered = {n.decode(): v.decode() for n, v in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(m.get("body", b"") for m in sent[1:]).decode()


@pytest.mark.parametrize(
    ("host", "origin", "is_open"),
    [
        ("127.0.0.1:8501", None, True),
        ("localhost:8501", "http://localhost:8501", True),
        ("[::1]:8501", "http://[::1]:8501", True),
        ("LOCALHOST:9999", "http://localhost:9999", True),
        ("evil.example:8501", "http://evil.example:8501", False),
        ("evil.example", None, False),
        ("127.0.0.1.evil.example", None, False),
        ("127.0.0.1:x", None, False),
        ("user@127.0.0.1", None, False),
        ("", None, False),
        ("127.0.0.1:8501", "http://evil.example", False),
        ("127.0.0.1:8501", "null", False),
        ("127.0.0.1:8501", "http://127.0.0.1:3000", False),
        ("localhost:8501", "http://127.0.0.1:8501", False),
    ],
)
def test_the_door_opens_to_this_machines_names_and_its_own_pages(host: str, origin: str | None, is_open: bool) -> None:
    headers = {"host": host, **({"origin": origin} if origin else {})}
    assert visit("/returns", **headers)[0] == (200 if is_open else 403)
    assert visit("/_stcore/stream", kind="websocket", **headers)[0] == (101 if is_open else 403)


def test_the_first_link_carries_the_token_and_a_cookie_the_rest() -> None:
    for address in ("/", "/returns?token=", "/returns?token=other", "/_stcore/metrics", "/_stcore/stream"):
        assert visit(address, "t0ken")[0] == 403
    assert visit("/_stcore/stream?token=t0ken", "t0ken", kind="websocket")[0] == 403
    assert visit("/_stcore/health", "t0ken")[0] == 200
    status, headers, _ = visit("/returns?lang=EN&token=t0ken", "t0ken")
    assert (status, headers["location"]) == (303, "/returns?lang=EN")
    cookie, *rest = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(rest)
    assert visit("/returns?lang=EN", "t0ken", cookie=f"other=1; {cookie}")[2] == "inside"
    assert visit("/_stcore/stream", "t0ken", kind="websocket", cookie=cookie)[0] == 101
    assert visit("/", "t0ken", cookie=cookie[:-1])[0] == 403
    assert visit("//evil.example/?token=t0ken", "t0ken")[1]["location"] == "/evil.example/"


@pytest.mark.parametrize(("public", "is_secure"), [("https://a.example", True), ("http://localhost:8501", False)])
def test_cookies_are_kept_to_tls_where_the_address_is(public: str, is_secure: bool) -> None:
    status, headers, _ = visit("/", public=public, host=public.partition("//")[2])
    assert (status, "Secure" in headers["set-cookie"].split("; ")) == (200, is_secure)


def test_each_run_of_the_pages_has_a_token_of_its_own_and_ends_the_last_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given: list[str] = []

    class Server:
        def __init__(self, _command: list[str], env: dict[str, str]) -> None:
            given.append(env["BACKHAUL_TOKEN"])

        def __enter__(self) -> "Server":
            return self

        def __exit__(self, *error: object) -> None: ...

        def wait(self, _seconds: float | None = None) -> None: ...

    monkeypatch.delenv("BACKHAUL_TOKEN", raising=False)
    monkeypatch.setattr(pages.subprocess, "Popen", Server)
    for _ in range(2):
        pages.serve(tmp_path, 8501)
    first, second = re.findall(r"\?token=([\w-]{32})$", capsys.readouterr().out, re.MULTILINE)
    assert given == [first, second]
    assert first != second
    cookie = visit(f"/?token={first}", first)[1]["set-cookie"].split("; ")[0]
    assert visit("/", first, cookie=cookie)[0] == 200
    assert visit("/", second, cookie=cookie)[0] == 403
    assert visit("/_stcore/stream", second, kind="websocket", cookie=cookie)[0] == 403


def test_a_page_may_fetch_nothing_from_elsewhere() -> None:
    for token, expected in (("", 200), ("t0ken", 403)):
        status, headers, _ = visit("/", token)
        assert status == expected
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ")
        assert not re.search(r"https?:|\*", policy)
        assert headers["x-content-type-options"] == "nosniff"


def test_a_refused_page_asks_no_machine_for_an_address() -> None:
    """Streamlit asks a machine outside for its address, unless it is told the one to print."""
    given = dict(word[2:].split("=", 1) for word in pages.command(8501) if word.startswith("--"))
    assert given["browser.serverAddress"] == "localhost"
    assert given["server.address"] == "127.0.0.1"
    assert given["browser.gatherUsageStats"] == "false"


def test_the_pages_end_when_they_are_told_to(hostile: Settings) -> None:
    import os
    import signal
    import socket
    import subprocess
    import sys
    import urllib.request

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "dashboard",
        "--port",
        str(port),
        "--warehouse",
        str(hostile.warehouse),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as served:
        assert served.stdout is not None
        link = served.stdout.readline().split()[-1]
        assert re.fullmatch(rf"http://localhost:{port}/\?token=[\w-]{{20,}}", link)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health") as answer,
            ):
                assert answer.status == 200
                break
            time.sleep(0.2)
        served.send_signal(signal.SIGTERM)
        served.wait(120)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 5)
