"""The canonical format: every row of a file is given, whatever is wrong with it."""

import csv
import gzip
import json
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import SourceError
from pipelines.settings import data_path
from pipelines.sources import NamedRows, note_label, note_terms_sql, recognise, source_named
from pipelines.sources.canonical import Canonical, json_schema, reference
from pipelines.sources.notes import concepts
from pipelines.warehouse import schema, vocabulary
from pipelines.warehouse.sql import connect

HEADER = "refund_id,refunded_at,amount,currency"
Row = dict[str, object]


def rows_of(named: NamedRows, connection: duckdb.DuckDBPyConnection) -> list[Row]:
    result = connection.execute(f"SELECT * FROM ({named.sql}) ORDER BY _file, _line")
    names = [d[0] for d in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def read(*files: Path) -> dict[str, list[Row]]:
    connection = connect(":memory:", threads=2)
    return {n.thing: rows_of(n, connection) for n in Canonical().name_rows(connection, list(files), "shop")}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(f"{HEADER}\nF1,2026-01-01T10:00:00Z,5,EUR\n", [("F1", None)], id="plain"),
        pytest.param(
            f"\ufeff{HEADER}\r\nF1,2026-01-01T10:00:00Z,5,EUR\r\n", [("F1", None)], id="byte-order mark, CRLF"
        ),
        pytest.param(f"{HEADER}\nF1,x\nF2,x,5,EUR\n", [("F1", "too few fields"), ("F2", None)], id="too few"),
        pytest.param(
            f"{HEADER}\nF1,x,5,EUR,6\nF2,x,5,EUR,6,7\n",
            [("F1", "too many fields"), ("F2", "too many fields")],
            id="too many",
        ),
        pytest.param(
            f'{HEADER}\n"F,1","a\nb",5,EUR\nF2,x,5,EUR\n',
            [("F,1", None), ("F2", None)],
            id="comma and line break in quotes",
        ),
        pytest.param(f"{HEADER}\nF1,,,\n", [("F1", None)], id="empty fields are there"),
        pytest.param(f"{HEADER}\n", [], id="header only"),
        pytest.param(f"{HEADER}\r\nF1,x,5,EUR\nF2,x,5,EUR\r\n", [("F1", None), ("F2", None)], id="mixed line ends"),
    ],
)
def test_csv_rows_are_never_lost(tmp_path: Path, content: str, expected: list[tuple[str, str | None]]) -> None:
    found = read(write(tmp_path / "refund.csv", content))["refund"]
    assert [(r["refund_id"], r["_broken"]) for r in found] == expected
    within = content.startswith(
        HEADER + '\n"F,1"'
    )  # the first cell holds a line end: the second row is one line further down
    assert [r["_line"] for r in found] == [n + 2 + (within and n > 0) for n in range(len(expected))]
    assert all(r["_file"] == "refund.csv" for r in found)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(min_value=1, max_value=7), max_size=40))
def test_a_csv_gives_as_many_rows_as_it_has(tmp_path: Path, widths: list[int]) -> None:
    lines = "".join(",".join(f"v{i}" for i in range(w)) + "\n" for w in widths)
    found = read(write(tmp_path / "refund.csv", f"{HEADER}\n{lines}"))["refund"]
    assert [r["_broken"] is None for r in found] == [w == 4 for w in widths]


def test_ndjson_lines_are_never_lost(tmp_path: Path) -> None:
    good = {"refund_id": "F1", "refunded_at": "2026-01-01T10:00:00Z", "amount": 5.5, "currency": "EUR", "staff": "x"}
    late = {"refund_id": "F4", "refunded_at": "2026-01-01T10:00:00Z", "amount": 1, "currency": "EUR", "kind": "voucher"}
    lines = "\n".join([json.dumps(good), '{"refund_id": "F2", ', "words", json.dumps(late)])
    for mark in ("", "\ufeff"):
        found = read(write(tmp_path / "refund.ndjson", mark + lines))["refund"]
        assert [r["_broken"] for r in found] == [None, "not a JSON object", "not a JSON object", None]
        assert [r["refund_id"] for r in found] == ["F1", None, None, "F4"]
        assert [r["amount"] for r in found] == ["5.5", None, None, "1"]
        assert found[3]["kind"] == "voucher"  # a key that only comes late


def test_a_broken_row_says_why_without_its_content(tmp_path: Path) -> None:
    found = read(write(tmp_path / "refund.csv", f"{HEADER}\njane@example.org\n"))["refund"]
    assert "jane" not in str(found[0]["_broken"])


def test_files_of_a_log_follow_each_other_and_packed_ones_are_read(tmp_path: Path) -> None:
    first = tmp_path / "refund.a.csv.gz"
    with gzip.open(first, "wt") as text:
        text.write(f"{HEADER}\nF1,x,5,EUR\n")
    second = write(tmp_path / "refund.b.csv", f"{HEADER},kind\nF2,x,5,EUR,voucher\nF3,x,5,EUR,manual\n")
    found = read(second, first)["refund"]
    assert [(r["_file"], r["_line"], r["refund_id"], r["kind"]) for r in found] == [
        ("refund.a.csv.gz", 2, "F1", None),
        ("refund.b.csv", 2, "F2", "voucher"),
        ("refund.b.csv", 3, "F3", "manual"),
    ]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    file = tmp_path / "refund.parquet"
    duckdb.sql(
        "COPY (SELECT 'F1' AS refund_id, TIMESTAMPTZ '2026-01-01 10:00:00+01' AS refunded_at, 5.25::DECIMAL(18,4) AS"
        f" amount, 'EUR' AS currency, 1 AS extra) TO '{file}'"
    )
    connection = connect(":memory:", threads=2)
    (named,) = Canonical().name_rows(connection, [file], "shop")
    kinds = {r[0]: r[1] for r in connection.execute(f"DESCRIBE ({named.sql})").fetchall()}
    assert (kinds["refunded_at"], kinds["amount"]) == ("TIMESTAMP WITH TIME ZONE", "DECIMAL(18,4)")
    assert named.ignored_columns == ("extra",)


def test_unknown_columns_are_ignored_and_listed_even_twice(tmp_path: Path) -> None:
    connection = connect(":memory:", threads=2)
    file = write(tmp_path / "refund.csv", f"note,{HEADER},note\na,F1,x,5,EUR,b\n")
    named = next(iter(Canonical().name_rows(connection, [file], "shop")))
    assert named.ignored_columns == ("note",)
    assert rows_of(named, connection)[0]["refund_id"] == "F1"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("refund.csv", "refund_id,refunded_at,currency\nF1,x,EUR\n", ["refund.csv", "amount"]),
        ("refund.ndjson", '{"refund_id": "F1"}\n', ["refund.ndjson", "refunded_at"]),
        ("refund.csv", "refund_id;refunded_at;amount;currency\nF1;x;5;EUR\n", ["refund.csv", "commas", "mapping"]),
        ("refunds.csv", f"{HEADER}\nF1,x,5,EUR\n", ["refunds", "order_line, return_event"]),
        ("refund.doc", "x", ["refund.doc", "format"]),
        ("refund.csv", f"{HEADER}\nF1,x,5,EUR\nF\xe9,x,5,EUR\n".encode("latin-1"), ["refund.csv line 3", "UTF-8"]),
        ("refund.csv", "amount,amount,refund_id,refunded_at,currency\n1,2,F,x,EUR\n", ["amount", "twice"]),
        ("refund.parquet", "x", ["refund.parquet", "not a Parquet"]),
    ],
)
def test_errors_name_the_file_and_what_is_wrong(
    tmp_path: Path, name: str, content: str | bytes, words: list[str]
) -> None:
    with pytest.raises(SourceError) as error:
        read(write(tmp_path / name, content))
    assert all(word in str(error.value) for word in words)


def test_columns_named_as_our_own_are_ignored_like_others(tmp_path: Path) -> None:
    file = write(
        tmp_path / "refund.csv",
        "refund_id,refunded_at,amount,currency,rowid,_extra,_file,_line,_broken,c0,t\nR1,2026-01-01T00:00:00Z,5,EUR,7,x,y,9,z,w,v\n",
    )
    (row,) = read(file)["refund"]
    assert (row["refund_id"], row["amount"], row["_file"], row["_line"], row["_broken"]) == (
        "R1",
        "5",
        "refund.csv",
        2,
        None,
    )


def test_an_empty_list_holds_no_rows_and_an_empty_table_is_refused(tmp_path: Path) -> None:
    assert read(write(tmp_path / "refund.ndjson", "")) == {"refund": []}
    with pytest.raises(SourceError, match=r"refund\.csv is empty \(0 bytes\)"):
        read(write(tmp_path / "refund.csv", ""))


def test_staged_rows_are_gone_once_read(tmp_path: Path) -> None:
    connection = connect(":memory:", threads=2)
    list(Canonical().name_rows(connection, [write(tmp_path / "refund.csv", f"{HEADER}\nF1,x,5,EUR\n")], "shop"))
    assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]


def test_sources_are_found_by_name_and_by_files(tmp_path: Path) -> None:
    assert source_named("canonical").name == "canonical"
    assert source_named("one_table").name == "one_table"
    assert recognise([write(tmp_path / "refund.csv", HEADER)]).name == "canonical"
    page = write(tmp_path / "page.json", '[{"method": "GET", "url": "x", "response": {"orders": []}}]')
    assert recognise([page]).name == "shopify"
    retail = write(
        tmp_path / "x.csv", "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    )
    assert recognise([retail]).name == "online_retail"


def test_an_unknown_source_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"canonical, online_retail, shopify; mappings: .*adyen_settlement"):
        source_named("magento")
    with pytest.raises(SourceError, match=r"backhaul map export\.csv"):
        recognise([write(tmp_path / "export.csv", "a,b\n1,2\n")])


DOCS = Path(__file__).parent.parent / "docs"
AGAIN = (
    'Write it again: python -c "from pathlib import Path; from pipelines.sources.canonical import write_reference as'
    " w; w(Path('docs'))\""
)


@pytest.mark.parametrize("thing", list(schema.LOG.tables))
def test_json_schemas_are_current(thing: str) -> None:
    assert json.loads((DOCS / "schema" / f"{thing}.json").read_text(encoding="utf-8")) == json_schema(thing), AGAIN


def test_the_manual_lists_the_columns_as_declared() -> None:
    assert reference() in (DOCS / "sources.md").read_text(encoding="utf-8"), AGAIN


def table(name: str) -> list[dict[str, str]]:
    with data_path(name).open(encoding="utf-8") as text:
        return list(csv.DictReader(text))


def test_reasons_cover_the_vocabulary_once() -> None:
    rows = table("reasons.csv")
    assert {r["reason"] for r in rows} == set(vocabulary.REASONS)
    assert len({r["raw"] for r in rows}) == len(rows)
    assert all(r["raw"] == r["raw"].strip().lower() for r in rows)
    families = {(r["reason"], r["family"], r["preventable_by"]) for r in rows}
    assert len(families) == len(vocabulary.REASONS)
    raw = {r["raw"]: r["reason"] for r in rows}
    assert [
        raw[w] for w in ("trop petit", "size_too_large", "defective", "apparel_too_small", "changement d'avis")
    ] == [
        "size_small",
        "size_large",
        "quality_defect",
        "size_small",
        "changed_mind",
    ]


def test_dispositions_cover_the_vocabulary() -> None:
    rows = table("dispositions.csv")
    assert [r["disposition"] for r in rows] == list(vocabulary.DISPOSITIONS)
    assert {r["outcome"] for r in rows} == {
        "resold_as_new",
        "refurbished",
        "donated",
        "recycled",
        "destroyed",
        "returned",
    }


@pytest.mark.parametrize(
    ("note", "terms"),
    [
        ("La robe est trop petite, à la taille", "size small"),
        ("Way too BIG on me", "large"),
        ("Arrivé cassé", "broken wait"),
        ("The box was crushed", "box broken"),
        ("La couleur ne va pas", "colour look"),
        ("Marie Dupont, 06 12 34 56 78, marie@example.org, 12 rue des Lilas", None),
        ("late sheer", "late sheer"),
        ("", None),
        (None, None),
    ],
)
def test_notes_become_concepts(note: str | None, terms: str | None) -> None:
    found = duckdb.execute(f"SELECT {note_terms_sql('note')} FROM (SELECT ?::VARCHAR AS note)", [note]).fetchall()
    assert found == [(terms,)]


def test_every_concept_is_said_in_both_languages_and_stays_what_it_is() -> None:
    said = [(note_label(c, "en"), note_label(c, "fr")) for c in concepts()]
    assert all(en and fr for en, fr in said)
    kept = duckdb.execute(f"SELECT note, {note_terms_sql('note')} FROM (SELECT unnest(?) AS note)", [list(concepts())])
    assert all(given == found for given, found in kept.fetchall())


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_nothing_of_a_note_passes_but_concepts(note: str) -> None:
    terms = duckdb.execute(f"SELECT {note_terms_sql('note')} FROM (SELECT ?::VARCHAR AS note)", [note]).fetchall()[0][0]
    assert set((terms or "").split()) <= set(concepts())
