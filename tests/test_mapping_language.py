"""The words of a mapping, each with the value worked out by hand, and the errors that name a line."""

from pathlib import Path
from typing import Any

import openpyxl
import pytest

from pipelines.errors import LONGEST, MappingError, SourceError
from pipelines.load import Report as LoadReport
from pipelines.load import load
from pipelines.load.land import files_of
from pipelines.settings import Settings
from pipelines.sources.mapping import Mapping
from pipelines.warehouse.sql import connect

HEAD = "time_zone: Europe/Paris\nconstants: {currency: EUR, country: FR}\n"
LINE = "order_line_id: id, ordered_at: at, product_id: sku, units: qty, net_amount: price"
ROWS = "id,at,sku,qty,price\n1,2026-01-10,S,2,12.50\n"


def mapping(folder: Path, text: str) -> Mapping:
    (folder / "m.yaml").write_text(text, encoding="utf-8")
    return Mapping(folder / "m.yaml")


def logs(source: Mapping, *files: Path) -> dict[str, list[dict[str, Any]]]:
    """Give the rows of each log in the order of the file; `blank return_event` holds events that rows leave blank."""
    connection = connect(":memory:", threads=2)
    found = {}
    for named in source.name_rows(connection, list(files), "m"):
        for thing, sql in ((named.thing, named.sql), (f"blank {named.thing}", named.blank_sql)):
            if sql:
                result = connection.execute(f"SELECT * FROM ({sql}) ORDER BY ALL")
                columns = [d[0] for d in result.description or []]
                found[thing] = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
                found[thing].sort(key=lambda row: (row["_file"], row["_line"]))
    return found


def lines(folder: Path, content: str, more: str = "", top: str = "", line: str = LINE) -> list[dict[str, Any]]:
    """Give the order lines of one CSV file; `more` is added to their columns."""
    (folder / "a.csv").write_text(content, encoding="utf-8")
    text = f"{HEAD}{top}tables:\n  - file: a.csv\n    to:\n      order_line: {{{line}{', ' + more if more else ''}}}\n"
    return logs(mapping(folder, text), folder / "a.csv")["order_line"]


def number(row: dict[str, Any], column: str) -> Any:
    """Give a number, or the text that is none."""
    try:
        return None if row[column] is None else float(row[column])
    except ValueError:
        return row[column]


FREIGHT = (
    "id,at,sku,qty,price,a,b\n1,2026-01-10,S,1,1,5,1\n2,2026-01-10,S,1,1,see row"
    " 1,1\n3,2026-01-10,S,1,1,,1\n4,2026-01-10,S,1,1,,\n5,2026-01-10,S,1,1,see row 1,\n"
)


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("{sum: [a, b]}", [6, "see row 1", 1, None, "see row 1"]),
        ("{sum: [a, b, 10]}", [16, "see row 1", 11, None, "see row 1"]),
        ("{minus: [b, a]}", [-4, "see row 1", None, None, "see row 1"]),
        ("{times: [{sum: [a, b]}, 2]}", [12, "see row 1", 2, None, "see row 1"]),
        ("{divide: [b, {minus: [a, 5]}]}", [None, "see row 1", None, None, "see row 1"]),
        ("{number: a}", [5, None, None, None, None]),
        ("{sum: [{number: a}, b]}", [6, 1, 1, None, None]),
        ("{first: [{number: a}, b]}", [5, 1, 1, None, None]),
        ("a", [5, "see row 1", None, None, "see row 1"]),
    ],
)
def test_what_cannot_be_read_is_passed_on_wherever_it_stands(
    tmp_path: Path, expression: str, values: list[Any]
) -> None:
    found = lines(tmp_path, FREIGHT, f"outbound_cost: {expression}")
    assert [number(row, "outbound_cost") or None for row in found] == values


def test_words_for_nothing_are_empty_cells_where_a_number_or_a_time_belongs(tmp_path: Path) -> None:
    words = ("N/A", "NULL", "None", "NaN", "NaT", "#N/A", "-", " n.a. ", "")
    rows = "".join(f"{n},2026-01-10,S,1,5,{word},{word},{word}\n" for n, word in enumerate(words))
    found = lines(
        tmp_path,
        f"id,at,sku,qty,price,sent,cost,channel\n{rows}",
        "shipped_at: sent, unit_cost: cost, outbound_cost: {sum: [cost, 0]}, vat_amount: {sum: [cost, 3]}, channel:"
        " channel",
    )
    assert not any(row["shipped_at"] or row["unit_cost"] or row["vat_amount"] for row in found)
    assert {number(row, "outbound_cost") for row in found} == {0}  # a 0 in a sum says what a sum of nothing is
    assert [row["channel"] for row in found] == [word.strip() or None for word in words]


def test_codes_of_countries_that_are_not_those_of_iso(tmp_path: Path) -> None:
    rows = "".join(f"{n},2026-01-10,S,1,5,{code}\n" for n, code in enumerate(("UK", "GB", "el", "FR")))
    found = lines(tmp_path, f"id,at,sku,qty,price,country\n{rows}", "country: country")
    assert [row["country"] for row in found] == ["GB", "GB", "GR", "FR"]
    (tmp_path / "b.csv").write_text(ROWS)
    text = f"{HEAD.replace('FR', 'UK')}tables:\n  - file: b.csv\n    to:\n      order_line: {{{LINE}}}\n"
    (row,) = logs(mapping(tmp_path, text), tmp_path / "b.csv")["order_line"]
    assert row["country"] == "GB"  # said once for the whole mapping


def test_a_column_that_no_file_has_leaves_nothing_blank(tmp_path: Path) -> None:
    """With `missing: empty`: what a file cannot say takes back nothing that another said."""
    text = (
        f"missing: empty\n{HEAD}tables:\n  - file: a.csv\n    to:\n      order_line: {{{LINE}}}\n"
        "      return_event: {events: {received: back}}\n"
    )
    refund = "      refund: {refunded_at: back, amount: price}\n"
    (tmp_path / "a.csv").write_text("id,at,sku,qty,price,back\n1,2026-01-10,S,2,5,\n")
    with_column = logs(mapping(tmp_path, text + refund), tmp_path / "a.csv")
    assert [row["event_id"] for row in with_column["blank return_event"]] == ["1/received"]
    assert [row["refund_id"] for row in with_column["blank refund"]] == ["refund-1"]
    (tmp_path / "a.csv").write_text("id,at,sku,qty,price\n1,2026-01-10,S,2,5\n")
    assert not logs(mapping(tmp_path, text), tmp_path / "a.csv")["blank return_event"]


def test_amounts_as_people_write_them(tmp_path: Path) -> None:
    content = (
        "id;at;sku;qty;price\n1;2026-01-10;S;1;1'200.00\n2;2026-01-10;S;1;CHF 400.–\n3;2026-01-10;S;1;Fr."
        " 3\n4;2026-01-10;S;1;EUR 3\n"
    )
    text = (
        HEAD.replace("EUR", "CHF")
        + "read: {currency: Fr.}\ntables:\n  - file: a.csv\n    to:\n      order_line: {%s}\n"
    )
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    found = logs(mapping(tmp_path, text % LINE), tmp_path / "a.csv")["order_line"]
    assert [number(row, "net_amount") for row in found] == [1200, 400, 3, "EUR 3"]


def test_each_table_writes_numbers_and_dates_in_its_own_way(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;at;sku;qty;price\n1;10/01/2026;S;2;12,50\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text('sku,cost,sent\nS,"1,200.50",01/12/2026\n', encoding="utf-8")
    text = (
        f"{HEAD}dates: '%d/%m/%Y'\nread: {{decimal: ','}}\ntables:\n  - file: a.csv\n    join:\n"
        "      - {as: b, file: b.csv, on: {sku: sku}, dates: '%m/%d/%Y', read: {decimal: '.', thousands: ','}}\n"
        f"    to:\n      order_line: {{{LINE}, unit_cost: b.cost, shipped_at: b.sent}}\n"
    )
    (row,) = logs(mapping(tmp_path, text), tmp_path / "a.csv", tmp_path / "b.csv")["order_line"]
    assert (number(row, "net_amount"), number(row, "unit_cost")) == (12.5, 1200.5)
    assert (row["ordered_at"], row["shipped_at"]) == ("2026-01-09T23:00:00Z", "2026-01-11T23:00:00Z")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('{column: ref, replace: {"Return of ": ""}}', "WH/OUT/00011"),
        ('{column: ref, replace: {"Return of ": "", OUT: IN, "/": "-"}}', "WH-IN-00011"),
        ("{column: ref, pattern: '\\d+'}", "00011"),
        ("{column: ref, pattern: 'WH/(\\w+)/'}", "OUT"),
        ("{column: ref, pattern: 'XX'}", None),
        ("{column: ref, replace: {Return of: ''}, pattern: '(\\w+)/OUT', map: {wh: warehouse}}", "warehouse"),
        ("{column: ref, map: {x: y}}", "Return of WH/OUT/00011"),
        ("{column: ref, map: {x: y}, otherwise: null}", None),
        ("{column: {join: [sku, qty], with: '-'}, map: {s-2: both}}", "both"),
        ("{join: [sku, none, qty], with: '/'}", "S/2"),
        ("{join: [none, none], with: '/'}", None),
        ("{start: [ref, 6]}", "Return"),
        ("{optional: nowhere}", None),
        ("{first: [{optional: nowhere}, none, sku]}", "S"),
        ("{value: 007}", "007"),
        ("{value: NO}", "NO"),
        ("{value: null}", None),
        ("{column: flag, map: {Yes: A, No: B}}", "A"),
        ("ref", "Return of WH/OUT/00011"),
    ],
)
def test_texts(tmp_path: Path, expression: str, value: str | None) -> None:
    content = "id,at,sku,qty,price,ref,none,flag\n1,2026-01-10,S\u00a0,2,1, Return of WH/OUT/00011 ,,Yes\n"
    (row,) = lines(tmp_path, content, f"customer_id: {expression}")
    assert row["customer_id"] == value


def test_words_of_yaml_are_no_booleans(tmp_path: Path) -> None:
    """Norway is NO, a code of zeros stays one, and `is: [Yes]` means the word."""
    content = "id,at,sku,qty,price,flag,code\n1,2026-01-10,S,2,1,Yes,007\n"
    content += "2,2026-01-10,S,2,1,No,7\n3,2026-01-10,S,2,1,true,07\n"
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    for condition, ids in (
        ("{column: flag, is: [Yes]}", ["1"]),
        ("{column: code, is: [007]}", ["1"]),
        ("{column: flag, is_not: [No]}", ["1", "3"]),
    ):
        text = (
            f"{HEAD.replace('FR', 'NO')}tables:\n  - file: a.csv\n    to:\n      order_line:\n        when:"
            f" {condition}\n"
        )
        text += "".join(f"        {entry}\n" for entry in LINE.split(", "))
        found = logs(mapping(tmp_path, text), tmp_path / "a.csv")["order_line"]
        assert ([row["order_line_id"] for row in found], {row["country"] for row in found}) == (ids, {"NO"})


def test_dimensions_of_ones_own_are_a_json_object(tmp_path: Path) -> None:
    content = (
        'id,at,sku,qty,price,Region,Mode\n1,2026-01-10,S,2,1,North,"He said'
        ' ""air"""\n2,2026-01-10,S,2,1,,\n3,2026-01-10,S,2,1,South,\n'
    )
    found = lines(tmp_path, content, "dimensions: {region: Region, ship_mode: Mode}")
    assert [row["dimensions"] for row in found] == [
        '{"region":"North","ship_mode":"He said \\"air\\""}',
        None,
        '{"region":"South"}',
    ]


def test_dates_in_lists_nested_and_later(tmp_path: Path) -> None:
    content = "id,at,sku,qty,price,a,b\n1,2026-01-10,S,1,1,,03.02.2026\n2,2026-01-10,S,1,1,2026-02-01T10:00:00Z,x\n"
    found = lines(
        tmp_path,
        content,
        "shipped_at: {first: [a, {column: b, date: '%d.%m.%Y'}]}, delivered_at: {column: at, plus_days: -3}",
    )
    assert [row["shipped_at"] for row in found] == ["2026-02-02T23:00:00Z", "2026-02-01T10:00:00Z"]
    assert {row["delivered_at"] for row in found} == {"2026-01-06T23:00:00Z"}
    row, _ = lines(
        tmp_path,
        content.replace("2026-01-10", "1768000000"),
        line=LINE.replace("at: at", "at: {column: at, date: ['%d/%m/%Y', epoch_s]}"),
    )
    assert row["ordered_at"] == "2026-01-09T23:06:40Z"


SCANS = (
    "parcel,line,status,time,place\nP1,L1,Picked up,2026-01-05 10:00,A\nP1,L1,Sorted,2026-01-06"
    " 10:00,B\nP1,L1,Delivered,2026-01-07 09:00,C\nP1,L1,Delivered,2026-01-07 09:05,D\nP2,L2,Picked"
    " up,soon,A\nP2,L2,Sorted,2026-01-08 10:00,B\n"
)
PARCELS = """
tables:
  - file: a.csv
    to:
      return_event:
        return_line_id: line
        return_id: parcel
        place_id: place
        events:
          handed_over: {earliest: time}
          carrier_scan: {latest: time, when: {column: status, is: Sorted}}
          received: {earliest: time, by: parcel, when: {column: status, is: Delivered}}
"""


def test_first_and_last_times_over_the_rows_of_one_thing(tmp_path: Path) -> None:
    """P1: picked up at 10:00 on the 5th, sorted on the 6th, delivered on the 7th at 9:00.

    Its rows tell it four times over, in the words of the first. The time of P2's first row cannot be read: it is passed
    on, to be refused.
    """
    (tmp_path / "a.csv").write_text(SCANS, encoding="utf-8")
    found = logs(mapping(tmp_path, "time_zone: Etc/UTC" + PARCELS), tmp_path / "a.csv")
    events = {(r["event_id"], r["occurred_at"], r["place_id"]) for r in found["return_event"] if r["return_id"] == "P1"}
    assert events == {
        ("L1/handed_over", "2026-01-05T10:00:00Z", "A"),
        ("L1/carrier_scan", "2026-01-06T10:00:00Z", "A"),
        ("L1/received", "2026-01-07T09:00:00Z", "A"),
    }
    other = [(r["event"], r["occurred_at"]) for r in found["return_event"] if r["return_id"] == "P2"]
    assert ("handed_over", "soon") in other
    assert ("carrier_scan", "2026-01-08T10:00:00Z") in other
    assert found["blank return_event"] == []  # a row of a log of scans says nothing of the steps of others


@pytest.mark.parametrize(("several", "place", "moment"), [("first", "C", "09:00"), ("last", "D", "09:05")])
def test_of_several_rows_with_one_id_the_first_or_last_counts(
    tmp_path: Path, several: str, place: str, moment: str
) -> None:
    (tmp_path / "a.csv").write_text(SCANS, encoding="utf-8")
    text = (
        "time_zone: Etc/UTC\ntables:\n  - file: a.csv\n    to:\n      return_event:\n        when: {column: parcel,"
        " is: P1}\n        return_line_id: line\n        return_id: parcel\n        place_id: place\n        event:"
        " {column: status, map: {Picked up: handed_over, Sorted: carrier_scan, Delivered: received}}\n       "
        f" occurred_at: time\n        several: {several}\n"
    )
    found = logs(mapping(tmp_path, text), tmp_path / "a.csv")["return_event"]
    received = [(r["place_id"], r["occurred_at"]) for r in found if r["event"] == "received"]
    assert received == [(place, f"2026-01-07T{moment}:00Z")] * 2  # equal rows: one is a duplicate
    assert len(found) == 4


def test_conditions_of_a_table_hold_before_those_of_its_logs(tmp_path: Path) -> None:
    content = "id,at,sku,qty,price,kind\n1,2026-01-10,S,2,1,sale\n"
    content += "2,2026-01-10,S,1,1,test\n3,2026-01-12,S,-1,1,sale\n4,2026-01-12\n"
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    text = (
        f"{HEAD}tables:\n  - file: a.csv\n    when: {{column: kind, is_not: [test]}}\n    to:\n      order_line:\n     "
        "   when: {column: qty, above: 0}\n"
        + "".join(f"        {entry}\n" for entry in LINE.split(", "))
        + "      return_event: {when: {column: qty, below: 0}, return_line_id: id, units: {times: [qty, -1]}, events:"
        " {received: at}}\n"
    )
    found = logs(mapping(tmp_path, text), tmp_path / "a.csv")
    assert [(r["order_line_id"], r["_broken"]) for r in found["order_line"]] == [("1", None), ("4", "too few fields")]
    assert [(r["return_line_id"], number(r, "units")) for r in found["return_event"]] == [("3", 1)]
    assert found["blank return_event"] == []  # a row of another kind takes nothing back


def test_what_a_table_leaves_out_is_not_numbered_nor_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "sku,time,kind,n\nS,2026-01-01,test,1\nS,2026-01-03,real,1\nS,2026-01-04,real,0\nS,2026-01-05,real,2\n"
    )
    text = (
        "time_zone: Etc/UTC\ntables:\n  - file: a.csv\n    when: {all: [{column: kind, is: real}, {column: n, above:"
        " 0}]}\n    to:\n      return_event: {return_line_id: {key: [sku]}, return_id: sku, events: {received:"
        " {earliest: time, by: sku}}}\n"
    )
    found = logs(mapping(tmp_path, text), tmp_path / "a.csv")["return_event"]
    assert [(r["return_line_id"], r["occurred_at"]) for r in found] == [
        ("S/1", "2026-01-03T00:00:00Z"),
        ("S/2", "2026-01-03T00:00:00Z"),
    ]


def test_a_refund_takes_the_currency_of_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "id,at,sku,qty,price,cur,land,back,paid\n1,2026-01-10,S,1,20,SEK,SE,2026-01-20,24\n", encoding="utf-8"
    )
    text = (
        f"time_zone: Etc/UTC\ntables:\n  - file: a.csv\n    to:\n      order_line: {{{LINE}, currency: cur, country:"
        " land}\n      return_event: {events: {refunded: back}}\n      refund: {refunded_at: back, amount:"
        " paid}\n"
    )
    found = logs(mapping(tmp_path, text), tmp_path / "a.csv")
    assert [found[thing][0]["currency"] for thing in ("order_line", "refund", "refund_line")] == ["SEK"] * 3


def test_several_tables_of_one_file_and_a_file_that_is_joined_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS + "2,2026-01-11,T,1,5\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("line,back\n1,2026-02-01\n", encoding="utf-8")
    text = (
        f"{HEAD}tables:\n  - file: a.csv\n    to:\n      order_line: {{{LINE}}}\n  - file: a.csv\n    to:\n     "
        " product: {product_id: sku, name: sku}\n  - file: b.csv\n    join: [{as: o, file: a.csv, on: {line:"
        " id}}]\n    to:\n      return_event: {return_line_id: line, order_line_id: line, product_id: o.sku,"
        " events: {received: back}}\n"
    )
    source, files = mapping(tmp_path, text), [tmp_path / "a.csv", tmp_path / "b.csv"]
    found = logs(source, *files)
    assert [len(found[thing]) for thing in ("order_line", "product", "return_event")] == [2, 2, 1]
    assert found["return_event"][0]["product_id"] == "S"
    assert (source.side_files(files), source.main_files(files)) == ([files[0]], files)


def test_sheets_of_one_workbook_are_joined_by_expressions_and_in_chains(tmp_path: Path) -> None:
    """The return names its delivery in words; the delivery its order; the last of two costs counts."""
    made = openpyxl.Workbook()
    made.remove(made.worksheets[0])
    for title, rows in {
        "Moves": [
            ["Ref", "Origin", "Date"],
            ["IN/1", "Return of OUT/1", "2026-02-01"],
            ["IN/2", "Return of OUT/9", "2026-02-02"],
        ],
        "Deliveries": [["Ref", "Order", "SKU"], ["OUT/1", "O1", "S"]],
        "Costs": [["sku", "day", "cost"], ["S", "2026-01-01", 9], ["S", "2025-01-01", 7]],
    }.items():
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    made.save(tmp_path / "a.xlsx")
    text = """
time_zone: Etc/UTC
tables:
  - file: "*.xlsx"
    read: {sheet: Moves}
    join:
      - {as: out, read: {sheet: Deliveries}, on: [{here: {column: Origin, replace: {"Return of ": ""}}, there: Ref}]}
      - {as: cost, read: {sheet: Costs}, on: {out.SKU: sku}, by: day, take: TAKE}
    to:
      return_event: {return_line_id: Ref, order_line_id: out.Order, product_id: out.SKU, condition: cost.cost,
        events: {received: Date}}
"""
    for take, cost in (("first", "7"), ("last", "9")):
        found = logs(mapping(tmp_path, text.replace("TAKE", take)), tmp_path / "a.xlsx")["return_event"]
        assert [(r["return_line_id"], r["order_line_id"], r["condition"]) for r in found] == [
            ("IN/1", "O1", cost),
            ("IN/2", None, None),
        ]


def test_a_row_that_is_joined_to_none_takes_no_event_back(tmp_path: Path) -> None:
    """The returns of this month say nothing of last month's; a return without a date says that it is not back."""
    (tmp_path / "a.csv").write_text("id,at,sku,qty,price\n1,2026-01-10,S,1,1\n2,2026-01-10,S,1,1\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("line,back\n2,\n", encoding="utf-8")
    text = (
        f"{HEAD}tables:\n  - file: a.csv\n    join: [{{as: r, file: b.csv, on: {{id: line}}}}]\n    to:\n     "
        f" order_line: {{{LINE}}}\n      return_event: {{events: {{received: r.back}}}}\n"
    )
    found = logs(mapping(tmp_path, text), tmp_path / "a.csv", tmp_path / "b.csv")
    assert [row["event_id"] for row in found["blank return_event"]] == ["2/received"]


def test_a_file_without_rows_joins_nothing_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sku,cost\n")
    (tmp_path / "b.csv").write_text(ROWS, encoding="utf-8")
    text = (
        f"{HEAD}tables:\n  - file: '*.csv'\n    join: [{{as: c, file: a.csv, on: {{sku: sku}}}}]\n    to:\n     "
        f" order_line: {{{LINE}, unit_cost: c.cost}}\n"
    )
    (row,) = logs(mapping(tmp_path, text), tmp_path / "a.csv", tmp_path / "b.csv")["order_line"]
    assert (row["order_line_id"], row["unit_cost"]) == ("1", None)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(SourceError, match=r"a\.csv is empty"):
        logs(mapping(tmp_path, text), tmp_path / "a.csv")


def test_names_of_our_own_making_collide_with_none_of_the_file(tmp_path: Path) -> None:
    """Columns named as the tables and columns within our SQL are, and a join whose short name is `t`."""
    content = "id,at,sku,qty,price,t,_file,_line,_broken,events,handed_over,return_line_id,at_received,o0,k0\n"
    content += "1,2026-01-10,S,1,1,T,F,9,B,E,H,R,A,O,K\n"
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    text = (
        f"{HEAD}tables:\n  - file: a.csv\n    join: [{{as: t, file: a.csv, on: {{sku: sku}}}}]\n    to:\n     "
        f" order_line: {{{LINE}, customer_id: {{join: [t, _file, _line, _broken, events, handed_over, return_line_id,"
        " at_received, o0, k0]}, seller: t._line}\n      return_event: {note_terms: /* rows */, return_line_id:"
        " {key: [return_line_id]}, events: {received: at}}\n"
    ).replace("note_terms: /* rows */", "note_terms: {value: /* rows */}")
    found = logs(mapping(tmp_path, text), tmp_path / "a.csv")
    (line,), (event,) = found["order_line"], found["return_event"]
    assert (line["customer_id"], line["seller"], line["_file"], line["_line"]) == (
        "T F 9 B E H R A O K",
        "9",
        "a.csv",
        2,
    )
    assert (event["return_line_id"], event["note_terms"]) == ("R/1", "/* rows */")


def test_a_folder_is_loaded_without_what_a_warehouse_keeps(tmp_path: Path) -> None:
    """Its own warehouse, another one beside it, raw copies, keys, hidden files.

    None is input; what no table takes is said.
    """
    (tmp_path / "a.csv").write_text(ROWS, encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.csv").write_text(ROWS, encoding="utf-8")
    for name in ("w", "other"):
        for folder in (tmp_path / name, tmp_path / f"{name}.raw"):
            folder.mkdir()
            (folder / "a.csv").write_text("x")
        (tmp_path / name / "state.sqlite").write_text("x")
        (tmp_path / f"{name}.key").write_text("x")
        (tmp_path / f"{name}.api-key").write_text("x")
    for hidden in (".git", ".hidden"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "a.csv").write_text("x")
    (tmp_path / "notes.docx").write_text("x")
    source = mapping(tmp_path, f"{HEAD}tables:\n  - file: '*.csv'\n    to:\n      order_line: {{{LINE}}}\n")
    report = LoadReport(None)
    found = files_of([tmp_path], Settings(tmp_path / "w"), str(source.path), report)
    assert [f.name for f in found if f.suffix != ".yaml"] == ["a.csv", "b.csv"]
    assert report.left_out == ["notes.docx"]
    assert "notes.docx" in [f.name for f in files_of([tmp_path], Settings(tmp_path / "w"), None, report)]


def test_an_empty_cell_of_units_is_said_and_words_are_refused(tmp_path: Path) -> None:
    """Three returns: of unsaid units, of a word, of two; where no column holds the units there is nothing to say."""
    (tmp_path / "a.csv").write_text("line,n,back\n1,,2026-02-01\n2,few,2026-02-01\n3,2,2026-02-01\n", encoding="utf-8")
    text = (
        "time_zone: Etc/UTC\ntables:\n  - file: a.csv\n    to:\n      return_event: {return_line_id: line, units: n,"
        " events: {received: back}}\n"
    )
    said = load(Settings(tmp_path / "w"), [tmp_path / "a.csv"], source=str(mapping(tmp_path, text).path), is_trial=True)
    assert [(c["read"], c["accepted"], c["quarantined"]) for c in said.counts] == [(3, 2, 1)]
    assert [(r["fault"], r["rows"]) for r in said.unread] == [("empty_is_one units", 1)]
    assert [(r["fault"], r["rows"]) for r in said.quarantined] == [("bad_number units", 1)]
    unsaid = mapping(tmp_path, text.replace(" units: n,", "")).path
    assert load(Settings(tmp_path / "v"), [tmp_path / "a.csv"], source=str(unsaid), is_trial=True).unread == []


def test_a_joined_file_that_changed_has_its_tables_read_anew(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "w")
    (tmp_path / "in").mkdir()
    orders, costs = tmp_path / "in" / "orders.csv", tmp_path / "in" / "costs.csv"
    orders.write_text(ROWS, encoding="utf-8")
    costs.write_text("SKU,Cost\nS,2\n", encoding="utf-8")
    text = (
        f"name: m\n{HEAD}tables:\n  - file: orders.csv\n    join: [{{as: c, file: costs.csv, on: {{sku: SKU}}}}]\n   "
        f" to:\n      order_line: {{{LINE}, unit_cost: c.Cost}}\n"
    )
    source = str(mapping(tmp_path, text).path)

    def take() -> tuple[list[int], list[str]]:
        report = load(settings, [tmp_path / "in"], source=source, is_trial=True)
        return [count["read"] for count in report.counts], report.skipped

    assert take() == ([1], [])
    assert take() == ([], ["costs.csv", "orders.csv"])
    costs.write_text("SKU,Cost\nS,3\n", encoding="utf-8")
    assert take() == ([1], [])
    costs.write_text("SKU,Cost\nS,4\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"costs\.csv is only joined to the rows of other files"):
        load(settings, [costs], source=source, is_trial=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("units: qty", "units: {column: qty, value: 2}"), "line 6: an expression has one of"),
        (("units: qty", "units: {with: x}"), "line 6: an expression has one of"),
        (
            ("units: qty", "units: {sum: [qty], replace: {a: b}}"),
            r"line 6: `sum:` goes through no replace: write \{column: \{sum",
        ),
        (("product_id: sku", "product_id: {column: sku, replace: x}"), "line 6: `replace:` lists the words"),
        (("product_id: sku", "product_id: {column: sku, pattern: '('}"), r"line 6: `\(` is no pattern"),
        (("product_id: sku", "product_id: {column: sku, pattern: '(?=x)'}"), r"line 6: `\(\?=x\)` is no pattern"),
        (("product_id: sku", "product_id: {start: [sku]}"), "line 6: `start:` takes a column and a number"),
        (("product_id: sku", "product_id: [sku]"), "line 6: a column or an expression"),
        (("ordered_at: at", "ordered_at: {column: at, date: '%Q'}"), "line 6: %Q is no way to write a date"),
        (("tables:", "dates: '%Q'\ntables:"), "line 3: %Q is no way to write a date"),
        (("ordered_at: at", "ordered_at: {column: at, plus_days: 1.5}"), "line 6: `plus_days:` is a whole number"),
        (("ordered_at: at", "ordered_at: {earliest: at, by: {key: [id]}}"), "line 6: `earliest:` needs `by:`"),
        (("units: qty", "when: {column: qty, above: x}, units: qty"), "line 6: `above:` is a number"),
        (("units: qty", "when: {column: qty}, units: qty"), "line 6: a condition has `column:` and one of is, is_not"),
        (("units: qty", "when: {all: qty}, units: qty"), "line 6: `all:` takes a list of conditions"),
        (("units: qty", "when: {column: nil, is: x}, units: qty"), "line 6: the table has no column `nil`"),
        (("units: qty", "several: both, units: qty"), "line 6: `several:` is first or last"),
        (("units: qty", "dimensions: {Region: sku}, units: qty"), "line 6: `Region` is no name of a dimension"),
        (("units: qty", "dimensions: sku, units: qty"), "line 6: `dimensions:` names your own"),
        (
            ("    to:", "    join: [{as: a, on: {id: id}}, {as: a, on: {id: id}}]\n    to:"),
            "line 5: two joins have the short name `a`",
        ),
        (("    to:", "    join: [{as: a, on: {id: id}, take: best}]\n    to:"), "line 5: `take:` is first or last"),
        (("    to:", "    join: {as: a}\n    to:"), "line 5: `join:` is a list"),
        (("    to:", "    read: {fill_down: [id]}\n    to:"), "line 5: `fill_down:` is a column"),
        (
            ("    to:", "    read: {decimal: ','\n      , thousands: ','}\n    to:"),
            "line 6: `thousands:` and `decimal:` are the same sign",
        ),
        (("    to:", "    read: {sheet: A, header_row: 0}\n    to:"), "line 5: `header_row:` is the number"),
        (("    to:", "    read: orders\n    to:"), "line 5: `read:` holds keys and values"),
        (("units: qty", "units: qty, units: sku"), "line 6: not YAML: `units` stands here twice"),
        (
            ("units: qty", "units: 'Ein langer Name einer Spalte, die es hier nicht gibt, und noch viel mehr davon'"),
            "line 6: the table has no column",
        ),
    ],
)
def test_errors_name_their_line_and_are_short(tmp_path: Path, change: tuple[str, str], sentence: str) -> None:
    (tmp_path / "a.csv").write_text(
        ROWS.replace("price\n", "price," + ",".join(f"Column number {i}" for i in range(300)) + "\n")
    )
    text = f"{HEAD}tables:\n  - file: a.csv\n    to:\n      order_line: {{{LINE}}}\n"
    assert change[0] in text
    with pytest.raises(MappingError, match=r"^m\.yaml " + sentence) as caught:
        logs(mapping(tmp_path, text.replace(*change)), tmp_path / "a.csv")
    assert len(str(caught.value)) < LONGEST


def test_a_wrong_separator_is_guessed_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(
        MappingError, match=r"the table has no column `id`\. Its cells are parted by `;`: say so under `read:`"
    ):
        lines(tmp_path, ROWS.replace(",", ";"), top="read: {separator: ','}\n")
