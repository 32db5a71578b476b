"""Versions, whole exports, ids.

What a later export says wins, what it takes back goes, whatever the order of the loads.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import hypothesis
import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st
from sqlalchemy import select

from pipelines.errors import SourceError
from pipelines.load import Report, load, restore_withdrawn, withdrawn_rows
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.star import STAR
from tests.conftest import FUZZ, fresh
from tests.turns import left_to_proofs

pytestmark = pytest.mark.usefixtures("facts_alone")

HEAD = "Order,Date,SKU,Qty,Net,Back\n"
MAPPING = """
name: daily
time_zone: Etc/UTC
{export}
constants: {{currency: EUR, country: FR}}
tables:
  - file: "orders*.csv"
    to:
      order_line: {{order_line_id: Order, order_id: Order, ordered_at: Date, product_id: SKU, units: Qty,
        net_amount: Net}}
      return_event: {{events: {{received: Back}}}}
"""
DAYS = {
    1: ("A,2026-04-01,S,1,100,2026-04-09", "B,2026-04-01,S,1,100,", "C,2026-04-02,S,1,100,2026-04-09"),
    2: ("A,2026-04-01,S,1,80,", "B,2026-04-01,S,1,100,2026-04-12", "C,2026-04-02,S,1,100,2026-04-09"),
    3: ("A,2026-04-01,S,1,100,2026-04-14", "B,2026-04-01,S,1,90,2026-04-12"),
}
"""Exports of three days. The last: A is 100 again and back, B is 90 and back, C is gone with its return."""


def _mapping(folder: Path, export: str) -> str:
    path = folder / "m.yaml"
    path.write_text(MAPPING.format(export=export))
    return str(path)


def _load(
    settings: Settings, folder: Path, day: int, export: str, *, declared: bool = True, is_published: bool = True
) -> Report:
    file = folder / f"orders{day}.csv"
    file.write_text(HEAD + "\n".join(DAYS[day]) + "\n")
    os.utime(file, (1_780_000_000, 1_780_000_000))  # the same date for all
    exported_at = datetime(2026, 4, 20 + day) if declared else None
    source = _mapping(folder, export)
    return load(settings, [file], source=source, exported_at=exported_at, is_trial=not is_published)


def facts(settings: Settings) -> tuple[dict[str, float], set[str]]:
    """Net amount by order line, and the order lines that came back."""
    build = current_build(settings.warehouse)
    line, back = STAR.tables["fact_order_line"], STAR.tables["fact_return_line"]
    sold = build.fetch(select(line.c.order_line_id, line.c.net_amount))
    returned = build.fetch(select(back.c.return_line_id).where(back.c.confirmed_at.is_not(None)))
    build.close()
    amounts = {i.split(":")[1]: float(a) for i, a in zip(sold["order_line_id"], sold["net_amount"], strict=True)}
    return amounts, {i.split(":")[1] for i in returned["return_line_id"]}


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1)])
def test_whole_exports_give_the_newest_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    settings = fresh(tmp_path)
    for day in order:
        _load(settings, tmp_path, day, "export: whole", is_published=day != 2)  # day 2 is judged with the next
    assert facts(settings) == ({"A": 100.0, "B": 90.0}, {"A", "B"})
    assert not _load(settings, tmp_path, order[0], "export: whole").is_new_build
    assert facts(settings) == ({"A": 100.0, "B": 90.0}, {"A", "B"})


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_added_exports_keep_what_they_do_not_name(tmp_path: Path, order: tuple[int, ...]) -> None:
    """C stands as day 2 left it; of A and B day 3 is the newest."""
    settings = fresh(tmp_path)
    for day in order:
        _load(settings, tmp_path, day, "", is_published=day != 1)  # day 1 is judged with the next
    assert facts(settings) == ({"A": 100.0, "B": 90.0, "C": 100.0}, {"A", "B", "C"})


PAID = (
    MAPPING.rstrip()
    + """
      refund: {{refunded_at: Paid, amount: Refund}}
"""
)
PAID_HEAD = HEAD.rstrip() + ",Paid,Refund\n"
PAID_DAYS = {
    1: ("A,2026-04-01,S,1,100,2026-04-09,2026-04-10,120", "B,2026-04-01,S,1,100,2026-04-09,2026-04-10,120"),
    2: ("A,2026-04-01,S,1,100,2026-04-09,2026-04-10,120", "B,2026-04-01,S,1,100,,,"),
}
"""What came back and was paid on two days; on the second the return and the refund of B stand there no more."""


@pytest.mark.parametrize(
    ("export", "order"),
    [
        ("", (2, 1)),
        ("export: whole", (1, 2)),
        left_to_proofs("", (1, 2)),
        left_to_proofs("export: whole", (2, 1)),
    ],
)
def test_what_a_later_export_leaves_blank_is_gone_in_any_order(
    tmp_path: Path, order: tuple[int, ...], export: str
) -> None:
    """Nothing but the blanks tells the two exports apart: all else of the older is a duplicate of the newer."""
    settings = fresh(tmp_path)
    (tmp_path / "m.yaml").write_text(PAID.format(export=export))
    for day in order:
        file = tmp_path / f"orders{day}.csv"
        file.write_text(PAID_HEAD + "\n".join(PAID_DAYS[day]) + "\n")
        load(settings, [file], source=str(tmp_path / "m.yaml"), exported_at=datetime(2026, 4, 20 + day))
    assert facts(settings) == ({"A": 100.0, "B": 100.0}, {"A"})
    refund = STAR.tables["fact_refund"]
    with current_build(settings.warehouse) as build:
        paid = build.fetch(select(refund.c.refund_id, refund.c.amount))
    assert [(i.split(":")[1], float(a)) for i, a in zip(paid["refund_id"], paid["amount"], strict=True)] == [
        ("refund-A", 120.0)
    ]


def test_an_older_export_of_other_orders_leaves_later_ones_alone(tmp_path: Path) -> None:
    """Only what tells of the same rows is put in order: a shop that both name is none of them."""
    settings = fresh(tmp_path)
    (tmp_path / "m.yaml").write_text(PAID.format(export=""))
    builds = []
    for day, row in ((2, "B,2026-04-02,S,1,90,2026-04-09,2026-04-10,108"), (1, "A,2026-04-01,S,1,100,,,")):
        file = tmp_path / f"orders{day}.csv"
        file.write_text(f"{PAID_HEAD}{row}\n")
        builds.append(load(settings, [file], source=str(tmp_path / "m.yaml"), exported_at=datetime(2026, 4, 20 + day)))
    assert sum(count["read"] for count in builds[1].counts) == 1  # the later export is not judged again
    assert facts(settings) == ({"A": 100.0, "B": 90.0}, {"B"})


def test_without_a_time_the_later_landing_wins_and_the_load_says_so(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    _load(settings, tmp_path, 1, "", declared=False)
    report = _load(settings, tmp_path, 2, "", declared=False)
    assert facts(settings) == ({"A": 80.0, "B": 100.0, "C": 100.0}, {"B", "C"})
    assert report.dated_by == "file"
    assert [(c["table"], c["replaced"]) for c in report.counts] == [("order_line", 1)]
    assert [(c["table"], c["withdrawn"]) for c in report.derived if c["withdrawn"]] == [("return_event", 1)]
    third = _load(settings, tmp_path, 3, "", declared=False)
    assert facts(settings) == ({"A": 100.0, "B": 90.0, "C": 100.0}, {"A", "B", "C"})  # 100, 80, 100 again
    assert [c["replaced"] for c in third.counts] == [2]


def test_a_file_of_an_earlier_date_does_not_win(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    for day, date in ((2, 1_780_000_000), (1, 1_779_000_000)):
        file = tmp_path / f"orders{day}.csv"
        file.write_text(HEAD + "\n".join(DAYS[day]) + "\n")
        os.utime(file, (date, date))
        load(settings, [file], source=_mapping(tmp_path, ""))
    assert facts(settings) == ({"A": 80.0, "B": 100.0, "C": 100.0}, {"B", "C"})


def test_withdrawn_rows_are_counted_listed_and_brought_back(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    for day in (2, 3):
        report = _load(settings, tmp_path, day, "export: whole")
    assert {c["table"]: c["withdrawn"] for c in report.counts + report.derived if c["withdrawn"]} == {
        "order_line": 1,
        "return_event": 1,
    }
    rows = withdrawn_rows(settings)
    assert {(r["table"], r["id"]) for r in rows} == {("order_line", "daily:C"), ("return_event", "daily:C/received")}
    restore_withdrawn(settings, str(rows[0]["load"]))
    assert facts(settings) == ({"A": 100.0, "B": 90.0, "C": 100.0}, {"A", "B", "C"})
    assert withdrawn_rows(settings) == []
    with pytest.raises(SourceError, match="No load nothing withdrew"):
        restore_withdrawn(settings, "nothing")


def test_a_whole_export_of_a_span_withdraws_in_the_span_only(tmp_path: Path) -> None:
    """The export of 2 April without a row: C, ordered that day, goes with its return; A and B stay."""
    settings = fresh(tmp_path)
    _load(settings, tmp_path, 1, "")
    file = tmp_path / "orders4.csv"
    file.write_text(HEAD + "D,2026-04-02,S,1,50,\n")
    span = "export: {whole: {since: 2026-04-02, until: 2026-04-02}}"
    load(settings, [file], source=_mapping(tmp_path, span), exported_at=datetime(2026, 4, 25))
    assert facts(settings) == ({"A": 100.0, "B": 100.0, "D": 50.0}, {"A"})


def test_an_empty_whole_export_withdraws_nothing(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    _load(settings, tmp_path, 1, "export: whole")
    file = tmp_path / "orders4.csv"
    file.write_text(HEAD)
    with pytest.raises(SourceError, match="nothing was changed"):
        load(settings, [file], source=_mapping(tmp_path, "export: whole"))
    assert facts(settings)[0] == {"A": 100.0, "B": 100.0, "C": 100.0}


def test_a_whole_export_is_given_whole(tmp_path: Path) -> None:
    """Another table's file is missing: its rows are not withdrawn, the load says what to give."""
    settings = fresh(tmp_path)
    mapping = tmp_path / "m.yaml"
    two = MAPPING.format(export="export: whole") + MAPPING.format(export="").split("tables:")[1].replace(
        "orders", "till"
    )
    mapping.write_text(two)
    for name, order in (("orders", "A"), ("till", "T")):
        (tmp_path / f"{name}1.csv").write_text(f"{HEAD}{order},2026-04-01,S,1,100,\n")
    load(settings, [tmp_path / "orders1.csv", tmp_path / "till1.csv"], source=str(mapping))
    (tmp_path / "orders2.csv").write_text(f"{HEAD}B,2026-04-01,S,1,100,\n")
    with pytest.raises(SourceError, match="Give all files together"):
        load(settings, [tmp_path / "orders2.csv"], source=str(mapping))
    assert facts(settings)[0] == {"A": 100.0, "T": 100.0}


def _canonical(folder: Path, name: str, *rows: str) -> Path:
    file = folder / name
    head = "order_line_id,order_id,ordered_at,product_id,units,net_amount,currency,country,recorded_at,"
    head += "delivered_at,vat_amount"
    file.write_text("\n".join([head, *rows]) + "\n")
    return file


def _line(i: str, net: object, *, recorded: str = "", delivered: str = "", vat: str = "") -> str:
    return f"{i},{i},2026-04-01T10:00:00Z,S,1,{net},EUR,FR,{recorded},{delivered},{vat}"


def test_a_change_date_beats_the_order_of_landing(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    newest = _line("A", 70, recorded="2026-04-05T00:00:00Z")
    load(settings, [_canonical(tmp_path, "order_line.1.csv", newest)])
    load(settings, [_canonical(tmp_path, "order_line.2.csv", _line("A", 60, recorded="2026-04-03T00:00:00Z"))])
    assert facts(settings)[0] == {"A": 70.0}


def test_a_change_date_that_only_the_later_export_has_does_not_lose(tmp_path: Path) -> None:
    """A row changed for the first time: the earlier export had no change date."""
    settings = fresh(tmp_path)
    load(settings, [_canonical(tmp_path, "order_line.1.csv", _line("A", 60))])
    load(settings, [_canonical(tmp_path, "order_line.2.csv", _line("A", 70, recorded="2026-04-03T00:00:00Z"))])
    assert facts(settings)[0] == {"A": 70.0}


def test_one_id_with_several_contents_in_one_file_is_quarantined(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    rows = [_line("A", 60), _line("A", 70), _line("B", 50), _line("B", 50)]
    recorded = [_line("C", 10, recorded="2026-04-02T00:00:00Z"), _line("C", 20, recorded="2026-04-03T00:00:00Z")]
    report = load(settings, [_canonical(tmp_path, "order_line.csv", *rows, *recorded)])
    (counts,) = report.counts
    assert (counts["read"], counts["accepted"], counts["duplicate"], counts["quarantined"]) == (6, 3, 1, 2)
    assert facts(settings)[0] == {"B": 50.0, "C": 20.0}
    from pipelines.warehouse import state

    (rule,) = state.quarantine_by_rule(settings).to_dict("records")
    assert (rule["rules"], rule["rows"]) == ("several_contents order_line_id", 2)


def test_an_id_that_a_spreadsheet_rounded_is_no_id(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    rounded = [_line(f'"{written}"', 60) for written in ("1.32457E+13", "1,32457E+13", "1e+05")]
    (counts,) = load(settings, [_canonical(tmp_path, "order_line.csv", *rounded, _line("12E5-B", 50))]).counts
    assert (counts["accepted"], counts["quarantined"]) == (1, 3)


def test_an_unreadable_field_that_a_row_can_do_without_is_missing_and_said(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    rows = [
        _line("A", 60, delivered="?", vat="x"),
        _line("B", 60, delivered="1990-12-31T00:00:00Z"),
        _line("C", 60, delivered="2026-04-03T00:00:00Z", vat="12"),
        _line("D", "a lot"),
    ]
    report = load(settings, [_canonical(tmp_path, "order_line.csv", *rows)])
    (counts,) = report.counts
    assert (counts["accepted"], counts["quarantined"]) == (3, 1)
    assert facts(settings)[0] == {"A": 60.0, "B": 60.0, "C": 60.0}
    said = {(row["fault"], row["rows"], row["first"]) for row in report.unread}
    assert ("impossible_time delivered_at", 1, "'1990-12-31T00:00:00Z', order_line.csv line 3") in said
    assert any("bad_time delivered_at" in fields and "bad_number vat_amount" in fields for fields, _, _ in said)


SOLD_BACK = (
    MAPPING.replace("net_amount: Net", "net_amount: Net, vat_amount: VAT").replace(
        "received", "requested: Asked, received"
    )
    + "      refund: {{refunded_at: Paid, amount: Refund}}\n"
)
SPAN = (2, 3)  # days of April
EXPORTS = ("", "export: whole", "export: {whole: {since: 2026-04-02, until: 2026-04-03}}")
"""Kinds of export: rows that are added or changed, all rows, all rows of a span of days."""
ROW = st.tuples(
    st.sampled_from(("1", "2")),
    st.sampled_from(("80", "100")),
    st.sampled_from(("", "20")),
    st.sampled_from(("", "2026-04-08")),
    st.sampled_from(("", "2026-04-12", "2026-04-13")),
    st.sampled_from((",", "2026-04-15,96", "2026-04-15,100")),
)
"""Units, net, VAT, asked, back, paid and refund of one order; what is blank the export does not say."""


@st.composite
def exports(draw: st.DrawFn) -> tuple[str, str]:
    """Draw one export: its kind, and its text with one order of some of the days 1 to 4."""
    kind = draw(st.sampled_from(EXPORTS))
    days = SPAN if "since" in kind else (1, 2, 3, 4)
    rows = draw(st.dictionaries(st.sampled_from(days), ROW, min_size=1))
    lines = (f"{'ABCD'[day - 1]},2026-04-0{day},S,{','.join(fields)}" for day, fields in sorted(rows.items()))
    return kind, "\n".join(["Order,Date,SKU,Qty,Net,VAT,Asked,Back,Paid,Refund", *lines, ""])


def _loaded(given: list[tuple[str, str]], order: Sequence[tuple[int, bool]]) -> dict[str, list[tuple[str, ...]]]:
    """Load exports in an order, each declared to be of its own day, and give every fact.

    The numbers of the exports, and whether each is published before the next comes or judged alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        settings = replace(fresh(at), threads=1)
        for n, is_published in order:
            file, mapping = at / f"orders{n}.csv", at / "m.yaml"
            file.write_text(given[n][1])
            mapping.write_text(SOLD_BACK.format(export=given[n][0]))
            declared = datetime(2026, 5, 1 + n)
            load(settings, [file], source=str(mapping), exported_at=declared, is_trial=not is_published)
        load(settings)
        with current_build(settings.warehouse) as build:
            tables = {name: table for name, table in STAR.tables.items() if name.startswith("fact_")}
            rows = {name: build.fetch(select(table)) for name, table in tables.items()}
    return {name: sorted(tuple(map(str, row)) for row in found.itertuples(index=False)) for name, found in rows.items()}


@hypothesis.settings(max_examples=FUZZ, derandomize=FUZZ == 1, phases=[Phase.generate])
@given(exported=st.lists(exports(), min_size=3, max_size=4), data=st.data())
def test_exports_of_declared_times_give_the_same_facts_in_any_order(
    exported: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Whatever was added, taken back and left blank, and with one export given twice."""
    order = data.draw(st.permutations(range(len(exported))), "order")
    order.insert(data.draw(st.integers(0, len(order)), "at"), data.draw(st.sampled_from(order), "again"))
    published = data.draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)), "published")
    in_time = [(n, False) for n in range(len(exported))]
    assert _loaded(exported, list(zip(order, published, strict=True))) == _loaded(exported, in_time)
