"""Files of any writing become tables of text.

Columns: separated, spreadsheets, JSON, Parquet, whatever their headings are called.
"""

import gzip
import io
import json
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest

from pipelines.errors import SourceError
from pipelines.sources import tables
from pipelines.sources.tables import objects
from pipelines.sources.tables import parts as parts_tables
from pipelines.sources.tables import workbook as workbook_tables
from pipelines.warehouse.sql import connect

HEADER = ["id", "sku", "qty"]
FIXTURES = Path(__file__).parent / "fixtures"


def read(file: Path, columns: list[str], **options: Any) -> list[tuple[Any, ...]]:
    """Give the columns of a file, with why a row is broken where one is."""
    connection = connect(":memory:", threads=2)
    table = tables.Table(connection, "made", tables.stage(connection, "part", file, options), options)
    picked = [table.column(c) for c in columns]
    assert all(picked), f"{columns} of {table.headings}"
    table.build()
    return connection.execute(f"SELECT {', '.join(map(str, picked))}, _broken FROM made ORDER BY _line").fetchall()


def headings(file: Path, **options: Any) -> list[str]:
    connection = connect(":memory:", threads=2)
    return tables.Table(connection, "made", tables.stage(connection, "part", file, options), options).headings


def file_of(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def book(folder: Path, **sheets: list[list[Any]]) -> tuple[Path, openpyxl.Workbook]:
    made = openpyxl.Workbook()
    made.remove(made.worksheets[0])
    for title, rows in sheets.items():
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    made.save(folder / "book.xlsx")
    return folder / "book.xlsx", made


TWO = [("1", "A", "2", None), ("2", "B", "1", None)]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("id,sku,qty\n1,A,2\n2,B,1\n", {}),
        ("id;sku;qty\r\n1;A;2\r\n2;B;1\r\n", {}),
        ("id\tsku\tqty\n1\tA\t2\n2\tB\t1\n", {}),
        ("sep=;\nid;sku;qty\n1;A;2\n2;B;1\n", {}),
        ("sep=;\nid;sku;qty\n1;A;2\n2;B;1\n", {"header_row": 2}),
        ("sep=\t\nid\tsku\tqty\n1\tA\t2\n2\tB\t1\n".encode("utf-16"), {}),
        ("\n\r\nid,sku,qty\n1,A,2\n,,\n2,B,1\n,,\n\n", {}),
        ("Report;;\nFrom;01.01.2026;\n;;\nid;sku;qty\n1;A;2\n2;B;1\n", {"header_row": "find"}),
        ("Report of\nthe day\nid,sku,qty\n1,A,2\n2,B,1\n", {"header_row": 3}),
        ('"a line, with commas"\n"and ""more"""\nid,sku,qty\n1,A,2\n2,B,1\n', {"header_row": "find"}),
        ("id,sku,qty\n1,A,2\n2,B,1\nTotal,,3\nPrinted today,,\n", {"until": "total"}),
        ("id,sku,qty\n1,A,2\n2,B,1\n,Summe,3\n9,Z,9\n", {"until": ["Total", "Summe"]}),
        ("id,sku,qty\n1,A,2,,\n2,B,1,\n", {}),
        ("id,sku,qty\n1,A,2\nid,sku,qty\n2,B,1\n", {}),
    ],
)
def test_separated_text(tmp_path: Path, content: str | bytes, options: dict[str, Any]) -> None:
    assert read(file_of(tmp_path, "a.csv", content), HEADER, **options) == TWO


def test_rows_with_too_few_or_too_many_fields_are_kept_as_broken(tmp_path: Path) -> None:
    file = file_of(tmp_path, "a.csv", "id,sku,qty\n1,A\n2,B,1,x\n3,C,1,x,y,z\n4,D,1\n")
    assert [(row[0], row[-1]) for row in read(file, HEADER)] == [
        ("1", "too few fields"),
        ("2", "too many fields"),
        ("3", "too many fields"),
        ("4", None),
    ]


def test_any_heading_will_do(tmp_path: Path) -> None:
    """Names of our own columns, marks of SQL, line breaks: none of them reaches SQL."""
    odd = [
        "t",
        "_file",
        "_line",
        "_broken",
        "_extra",
        "rowid",
        "events",
        "c0",
        'quo"te',
        "[br]",
        "{x}",
        "new\nline",
        "select",
    ]
    quoted = ",".join('"' + heading.replace('"', '""') + '"' for heading in odd)
    file = file_of(tmp_path, "a.csv", f"{quoted}\n{','.join(str(i) for i in range(len(odd)))}\n")
    assert read(file, odd) == [(*(str(i) for i in range(len(odd))), None)]


def test_headings_are_found_without_capitals_and_blanks_and_told_apart(tmp_path: Path) -> None:
    file = file_of(tmp_path, "a.csv", "\ufeffOrder  Date, order date,\u200bSKU\u00a0\n1,2,3\n")
    assert headings(file) == ["Order Date 1", "order date 2", "SKU"]
    assert read(file, ["ORDER DATE 2", "sku"]) == [("2", "3", None)]
    with pytest.raises(SourceError, match=r"`ORDER DATE` stands twice or more in the header of a\.csv"):
        read(file, ["ORDER DATE", "sku"])


def test_empty_cells_take_the_value_of_their_group(tmp_path: Path) -> None:
    file = file_of(tmp_path, "a.csv", "Name,Date,Paid,Sku\n#1,2026-01-01,5,A\n#1,,,B\n#2,,7,A\n#1,,,C\n,,,D\n")
    wanted = ["Date", "Paid", "Sku"]
    assert [row[:3] for row in read(file, wanted, fill_down="Name")] == [
        ("2026-01-01", "5", "A"),
        ("2026-01-01", "5", "B"),
        ("", "7", "A"),
        ("2026-01-01", "5", "C"),
        (None, None, "D"),
    ]
    found = read(file, wanted, fill_down={"by": "Name", "columns": ["date"]})
    assert [row[1] for row in found] == ["5", "", "7", "", ""]
    assert [row[0] for row in found][:2] == ["2026-01-01", "2026-01-01"]
    above = read(file, ["Name", "Date"], fill_down={"columns": ["Name"]})
    assert [row[0] for row in above] == ["#1", "#1", "#2", "#1", "#1"]
    assert [row[1] for row in above] == ["2026-01-01", "", "", "", ""]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.xls", "<html><table><tr><td>1</td></tr></table>", "is a web page or XML"),
        ("a.csv", b"%PDF-1.7 \x00\x01", "is a PDF document"),
        ("a.zip", b"PK\x03\x04rest", "is a packed folder"),
        ("a.xlsx", b"PK\x03\x04rest", "save it as .xlsx"),
        ("a.xls", b"\xd0\xcf\x11\xe0" + b"0" * 500, "save it as .xlsx"),
        ("a.parquet", b"PAR1rest", "is not a Parquet file"),
        ("a.csv", "id,sku\n1,é\n".encode("latin-1"), "is not UTF-8"),
        ("a.json", '{"orders": [{"id": 1}', "breaks off"),
        ("a.json", '[{"id": 1}, {"id"', "cannot be read as JSON"),
    ],
)
def test_what_is_no_table_is_said_in_one_sentence(
    tmp_path: Path, name: str, content: str | bytes, sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence) as caught:
        read(file_of(tmp_path, name, content), ["id"])
    assert len(str(caught.value)) < 300


def test_the_name_of_a_file_may_lie(tmp_path: Path) -> None:
    workbook, _ = book(tmp_path, Orders=[HEADER, [1, "A", 2]])
    assert read(file_of(tmp_path, "a.csv", workbook.read_bytes()), HEADER) == [("1", "A", "2", None)]
    assert read(file_of(tmp_path, "b.xls", "id\tsku\tqty\n1\tA\t2\n"), HEADER) == [("1", "A", "2", None)]


@pytest.mark.parametrize("name", ["book.xls", "book.ods"])
def test_old_and_open_workbooks(name: str) -> None:
    found = read(FIXTURES / name, ["Row ID", "Order ID", "Order Date", "Quantity", "Sales"])
    assert found == [("1", "O1", "2026-03-01", "1", "12.5", None), ("2", "O2", "2026-03-02", "2", "12.5", None)]


def test_old_and_open_workbooks_keep_the_zeros_of_their_formats() -> None:
    """Written by xlwt and odfpy: two rows above the header, a column before it, another sheet with codes."""
    rows = list(workbook_tables.sheet_rows(FIXTURES / "codes.xls", "Codes"))
    assert [[c for c in row if c] for row in rows if any(row)] == [
        ["sku", "style", "price", "day"],
        ["00007", "A-1234-56", "12.5", "2026-03-01"],
        ["123456", "A-0000-42", "3", "2026-03-02"],
    ]
    rows = list(workbook_tables.sheet_rows(FIXTURES / "codes.ods", "Codes"))
    assert [[c for c in row if c] for row in rows if any(row)] == [
        ["sku", "style", "price", "qty"],
        ["00007", "00042", "12.5", "3"],
        ["123456", "00007", "3", "4"],
    ]
    for name in ("codes.xls", "codes.ods"):
        assert list(workbook_tables.sheet_rows(FIXTURES / name, "Other")) == [["00007"]]
        found = read(FIXTURES / name, ["sku", "style"], header_row="find", sheet="Codes")
        assert [row[0] for row in found] == ["00007", "123456"]


@pytest.mark.parametrize("most", [workbook_tables.MOST_CELLS, 0])  # in memory, and row by row
def test_cells_are_written_as_they_are_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(workbook_tables, "MOST_CELLS", most)
    cells = [12.0, 0.1, True, "007", datetime(2026, 3, 1, 10, 30), time(8, 15), timedelta(hours=30), None]
    file, _ = book(tmp_path, Sheet=[[f"h{i}" for i in range(len(cells))], [], cells])
    (row,) = read(file, [f"h{i}" for i in range(len(cells))])
    assert row == ("12", "0.1", "true", "007", "2026-03-01 10:30:00", "08:15:00", "1 day, 6:00:00", None, None)


def test_numbers_formatted_as_codes_keep_their_zeros(tmp_path: Path) -> None:
    file, made = book(
        tmp_path, Sheet=[["sku", "zip", "price", "day"], [42, 1234, 7.5, date(2026, 3, 1)], ["x", 987654321, 8, None]]
    )
    sheet = made.worksheets[0]
    sheet["A2"].number_format = "00000"
    sheet["B2"].number_format = sheet["B3"].number_format = "[<=99999]00000;00000-0000"
    sheet["C2"].number_format = "0.00"
    made.save(file)
    assert [row[:4] for row in read(file, ["sku", "zip", "price", "day"])] == [
        ("00042", "01234", "7.5", "2026-03-01 00:00:00"),
        ("x", "98765-4321", "8", None),
    ]


def test_sheets_by_name_by_pattern_or_the_first_that_holds_something(tmp_path: Path) -> None:
    file, made = book(
        tmp_path, Cover=[], Jan=[HEADER, [1, "A", 2]], Feb=[[*HEADER, "new"], [2, "B", 1, "N"]], Notes=[["x"], ["y"]]
    )
    hidden = made.create_sheet("Old", 0)
    hidden.append(HEADER)
    hidden.sheet_state = "hidden"
    made.save(file)
    assert read(file, HEADER) == [("1", "A", "2", None)]
    assert read(file, HEADER, sheet="feb") == [("2", "B", "1", None)]
    assert sorted(read(file, ["id", "new"], sheet="[jf]*"), key=str) == [("1", None, None), ("2", "N", None)]
    with pytest.raises(parts_tables.OptionError, match=r"has no sheet `May`\. Its sheets: Cover, Jan, Feb, Notes"):
        read(file, HEADER, sheet="May")


def test_preambles_totals_and_stray_cells_of_a_sheet(tmp_path: Path) -> None:
    rows = [
        ["Sales report"],
        [],
        ["From", datetime(2026, 1, 1)],
        HEADER,
        [1, "A", 2],
        [],
        [2, "B", 1],
        ["Total", None, 3],
    ]
    file, made = book(tmp_path, Sheet=rows)
    made.worksheets[0]["XFD900"] = "stray"
    made.save(file)
    assert workbook_tables._cells(file) == 900 * 16384  # too many to take in at once: read row by row
    assert read(file, HEADER, header_row="find", until="Total") == TWO
    assert read(file, HEADER, header_row=4, until="Total") == TWO


ROW = {"id": 1, "sku": "A", "qty": 2}


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.json", json.dumps([ROW]), {}),
        ("a.json", "\ufeff" + json.dumps([ROW], indent=2), {}),
        ("a.json", json.dumps([ROW]).encode("utf-16"), {}),
        ("a.json", json.dumps({"orders": [ROW], "next": None, "tags": ["x"]}), {}),
        ("a.json", json.dumps({"data": {"shop": {"orders": [ROW]}}}, indent=1), {}),
        ("a.json", json.dumps({"orders": [ROW], "refunds": [{"no": 1}]}), {"path": "orders"}),
        ("a.json", json.dumps({"orders": {"k1": ROW}}), {"path": "orders.*"}),
        ("a.json", json.dumps([{"orders": [ROW]}, {"orders": []}, {}]), {"path": "orders"}),
        ("a.ndjson", lines({"orders": [ROW]}, {"orders": None}), {"path": "orders"}),
        ("a.json", json.dumps(ROW), {}),
        ("a.json", lines(ROW), {}),
        ("a.json", json.dumps(ROW | {"lists": [{"x": 1}], "others": [{"x": 1}]}), {"path": "."}),
        ("a.txt", lines(ROW), {}),
        ("a.ndjson", "\ufeff" + lines(ROW) + "\n", {}),
        ("a.json.gz", gzip.compress(json.dumps({"orders": [ROW]}).encode(), mtime=0), {}),
    ],
)
def test_json_of_any_shape(tmp_path: Path, name: str, content: str | bytes, options: dict[str, Any]) -> None:
    assert read(file_of(tmp_path, name, content), HEADER, **options) == [("1", "A", "2", None)]


def test_several_documents_in_one_file(tmp_path: Path) -> None:
    pretty = json.dumps(ROW, indent=2) + "\n" + json.dumps(ROW | {"id": 2}, indent=2)
    assert [row[0] for row in read(file_of(tmp_path, "a.json", pretty), HEADER)] == ["1", "2"]


@pytest.mark.parametrize("content", ["[]", "  \n", '{"orders": []}'])
def test_json_without_rows_lacks_no_column(tmp_path: Path, content: str) -> None:
    assert read(file_of(tmp_path, "a.json", content), HEADER, **({"path": "orders"} if "{" in content else {})) == []


def test_values_of_any_type_are_text(tmp_path: Path) -> None:
    file = file_of(
        tmp_path,
        "a.json",
        '[{"a": 1.5, "b": true, "c": null, "d": [1, "x"], "e": {"f": {}}, "n": 12345678901234567890123}, {}, {"a":'
        ' {"x": 1}, "d": 7, "e": 3}]',
    )
    assert [row[:5] for row in read(file, ["a", "b", "c", "d", "n"])] == [
        ("1.5", "true", None, '[1,"x"]', "12345678901234567890123"),
        (None, None, None, None, None),
        ('{"x":1}', None, None, "7", None),
    ]
    assert [row[0] for row in read(file, ["a.x"])] == [None, None, "1"]


def test_what_is_no_object_is_a_broken_row(tmp_path: Path) -> None:
    for name, content in (
        ("a.json", '[{"id": 1}, 5, null, "x", [{"id": 2}]]'),
        ("a.ndjson", '{"id": 1}\n5\n{"id":\n"x"\n[1]\n'),
    ):
        found = read(file_of(tmp_path, name, content), ["id"])
        assert found == [("1", None), *[(None, "not a JSON object")] * 4]


NESTED = [
    {
        "no": "O1",
        "parcels": [
            {"code": "P1", "items": [{"sku": "A"}, {"sku": "B"}]},
            {"code": "P2", "items": {"sku": "C"}},
            {"code": "P3"},
        ],
    },
    {"no": "O2", "parcels": []},
    {"no": "O3"},
    {"no": "O4", "parcels": "none"},
    {"no": "O5", "parcels": {"code": "P5", "items": [7]}},
]


def test_rows_of_lists_in_lists(tmp_path: Path) -> None:
    """One object is its only item.

    An order without parcels, and a parcel without items, give no row; a text is no list.
    """
    file = file_of(tmp_path, "a.json", json.dumps(NESTED))
    wanted = ["no", "parcels.code", "parcels.items.sku", "parcels.items"]
    assert [row[:3] for row in read(file, wanted, each="parcels.items")] == [
        ("O1", "P1", "A"),
        ("O1", "P1", "B"),
        ("O1", "P2", "C"),
        ("O5", "P5", None),
    ]
    assert read(file, wanted, each=["parcels", "parcels.items"]) == read(file, wanted, each="parcels.items")
    assert [row[:2] for row in read(file, ["no", "parcels.code"], each="parcels")] == [
        ("O1", "P1"),
        ("O1", "P2"),
        ("O1", "P3"),
        ("O4", None),
        ("O5", "P5"),
    ]


def test_lists_side_by_side_follow_each_other(tmp_path: Path) -> None:
    file = file_of(
        tmp_path, "a.json", json.dumps([{"no": 1, "items": [{"sku": "A"}], "fees": [{"kind": "x"}, {"kind": "y"}]}])
    )
    found = read(file, ["no", "items.sku", "fees.kind"], each=["items", "fees"])
    assert sorted(found, key=str) == [("1", "A", None, None), ("1", None, "x", None), ("1", None, "y", None)]


def test_paths_that_lead_nowhere_are_said(tmp_path: Path) -> None:
    file = file_of(tmp_path, "a.json", json.dumps({"orders": [{"id": 1, "items": [{"sku": "A"}]}]}))
    for options, column, sentence in (
        ({"path": "order"}, "id", "nothing stands at `order`. Lists and objects there: orders"),
        ({"each": "itemz"}, "id", "nothing stands at `itemz`"),
        ({}, "items.sku", "`items` is a list"),
    ):
        with pytest.raises(parts_tables.OptionError, match=sentence):
            read(file, [column], **options)
    two = file_of(tmp_path, "b.json", json.dumps({"orders": [ROW], "refunds": [ROW]}))
    with pytest.raises(parts_tables.OptionError, match="several lists could be the rows: orders, refunds"):
        read(two, ["id"])
    assert read(file, ["items.0.sku"]) == [("A", None)]


def test_keys_of_any_spelling_and_keys_that_come_late(tmp_path: Path) -> None:
    keys = ["a.b", "x/y", "t~z", "q\"uo'te", "0", "é ü", "_line"]
    rows: list[dict[str, Any]] = [{key: key for key in keys}, *({"id": i} for i in range(parts_tables.SAMPLE_OBJECTS))]
    file = file_of(tmp_path, "a.ndjson", lines(*rows, {"deep": {"late": "L"}}))
    found = read(file, [*keys, "deep.late"])
    assert (found[0], found[-1][-2]) == ((*keys, None, None), "L")


def test_documents_are_cut_into_rows_without_being_taken_in(tmp_path: Path) -> None:
    tricky = {"a": [{"x": '}],"[{\\'}, {"x": [1, {"y": "]"}]}, 3, "t,"], "b": {"a": [{"no": 1}]}, "c": []}
    content = json.dumps(tricky).encode()
    pieces = [(path, json.loads(content[start:end])) for path, start, end in objects.pieces(content)]
    assert pieces == [*((("a",), item) for item in tricky["a"]), (("b", "a"), {"no": 1}), (None, tricky)]


def test_what_is_no_number_is_missing_in_parquet(tmp_path: Path) -> None:
    rows = "SELECT 1 AS id, 'A' AS sku, 2.5::DOUBLE AS qty UNION ALL SELECT 2, 'B', 'NaN'::DOUBLE"
    duckdb.sql(f"COPY ({rows}) TO '{tmp_path / 'flat.parquet'}'")
    assert read(tmp_path / "flat.parquet", HEADER) == [("1", "A", "2.5", None), ("2", "B", None, None)]


def test_parquet_flat_and_nested(tmp_path: Path) -> None:
    duckdb.sql(f"COPY (SELECT 1 AS id, 'A' AS sku, 2.50::DECIMAL(9, 2) AS qty) TO '{tmp_path / 'flat.parquet'}'")
    assert read(tmp_path / "flat.parquet", HEADER) == [("1", "A", "2.50", None)]
    duckdb.sql(
        "COPY (SELECT 1 AS id, [{'sku': 'A', 'qty': 2}, {'sku': 'B', 'qty': 1}] AS items) TO"
        f" '{tmp_path / 'nested.parquet'}'"
    )
    found = read(tmp_path / "nested.parquet", ["id", "items.sku", "items.qty"], each="items")
    assert found == [("1", "A", "2", None), ("1", "B", "1", None)]


def test_lists_of_names_are_cut() -> None:
    assert (
        parts_tables.cut([f"column {i}" for i in range(100)], 40)
        == "column 0, column 1, column 2, column 3 and 96 more"
    )
    assert len(parts_tables.cut(["x" * 500])) == 60


def test_files_of_different_columns_are_one_table(tmp_path: Path) -> None:
    connection = connect(":memory:", threads=2)
    files = [file_of(tmp_path, "a.csv", "id,sku\n1,A\n"), file_of(tmp_path, "b.json", '[{"ID": 2, "new": "N"}]')]
    parts = [part for i, file in enumerate(files) for part in tables.stage(connection, f"p{i}", file, {})]
    table = tables.Table(connection, "made", parts)
    picked = [table.column(c) for c in ("Id", "sku", "new")]
    table.build()
    found = connection.execute(f"SELECT {', '.join(map(str, picked))}, _file FROM made ORDER BY 1").fetchall()
    assert found == [("1", "A", None, "a.csv"), ("2", None, "N", "b.json")]
    assert table.column("none") is None


def test_text_files_are_opened_as_they_are(tmp_path: Path) -> None:
    packed = file_of(tmp_path, "a.csv.gz", gzip.compress(b"\xef\xbb\xbfid\r\n1\r\n"))
    with parts_tables.opened(packed) as text:
        assert isinstance(text, io.TextIOBase)
        assert text.read() == "id\r\n1\r\n"
