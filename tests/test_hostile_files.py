"""Files that are not what they should be: each is said in one short sentence, none keeps the others out, none hangs.

The files are made here, some seventy kinds. Each is loaded alone, and all of them beside two good files.
"""

import csv
import gzip
import io
import json
import os
import socket
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import upload
from pipelines.errors import BackhaulError, SourceError
from pipelines.load import Report, load
from pipelines.load import files as files_load
from pipelines.settings import Settings
from pipelines.sources import Source, looks, mapping_source, recognise
from pipelines.sources.canonical import Canonical
from pipelines.sources.mapping import Mapping
from pipelines.sources.online_retail import COLUMNS, OnlineRetail
from pipelines.sources.propose import propose
from pipelines.sources.shopify import Shopify
from pipelines.sources.tables import parts as parts_tables
from pipelines.sources.tables import workbook as workbook_tables
from pipelines.warehouse import build, state
from pipelines.warehouse.sql import connect, read_sql
from tests.conftest import FUZZ, ends

pytestmark = pytest.mark.usefixtures("no_rules")

HEADER = "order_line_id,order_id,ordered_at,product_id,units,net_amount,vat_amount,currency,country,delivered_at"
ROW = "{n},o{n},2025-01-0{n}T10:00:00Z,P1,1,50.00,10.00,EUR,FR,2025-01-05T10:00:00Z"
GOOD = "\n".join([HEADER, *(ROW.format(n=n) for n in (1, 2, 3)), ""])
EVENTS = (
    "event_id,return_line_id,return_id,order_line_id,event,occurred_at,units\n"
    "e1,r1,r1,1,requested,2025-01-10T10:00:00Z,1\n"
)
MORE = GOOD.replace("\n1,o1", "\n4,o4").replace("\n2,o2", "\n5,o5").replace("\n3,o3", "\n6,o6")  # for kinds that load


def zipped(**parts: str | bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, part in parts.items():
            packed.writestr(name.replace("__", "/"), part)
    return content.getvalue()


def workbook() -> bytes:
    content = io.BytesIO()
    book = openpyxl.Workbook()
    book.active.append(HEADER.split(","))
    book.save(content)
    return content.getvalue()


def parquet() -> bytes:
    connection = duckdb.connect()
    table = connection.execute(
        "SELECT 'F1' AS refund_id, TIMESTAMP '2026-01-01' AS refunded_at, 5 AS amount, 'EUR' AS currency"
    )
    sink = io.BytesIO()
    import pyarrow.parquet

    pyarrow.parquet.write_table(table.to_arrow_table(), sink)
    return sink.getvalue()


def tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as packed:
        packed.addfile(tarfile.TarInfo("orders.csv"))
    return content.getvalue()


def gz(content: str | bytes) -> bytes:
    return gzip.compress(content if isinstance(content, bytes) else content.encode(), mtime=0)


def sqlite(folder: Path) -> bytes:
    file = folder / ".made.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE a (b)")
    connection.close()
    content = file.read_bytes()
    file.unlink()
    return content


LONG = "a" * 9_000_000
PACKED = gz(GOOD + "x" * 1000)
RANDOM = bytes((i * i * 7 + i // 3) % 256 for i in range(3000))
KINDS: dict[str, tuple[str | bytes | Callable[[Path], bytes | None], str]] = {
    # name -> (content, or what makes it; a word of the sentence, "" for what loads)
    "order_line.empty.csv": ("", "empty"),
    "order_line.blank.csv": (" \n\n \n", "blank"),
    "order_line.only_mark.csv": (b"\xef\xbb\xbf", "blank"),
    "order_line.zeros.csv": (bytes(5000), "zero bytes"),
    "order_line.zero_tail.csv": (GOOD.encode() + bytes(8000), "zero bytes"),
    "order_line.zero_far.csv": (GOOD.encode() * 60 + b"1,\0\n", "zero bytes"),
    "order_line.binary.csv": (RANDOM, "no text"),
    "order_line.utf16.csv": (GOOD.encode("utf-16"), "UTF-16"),
    "order_line.utf16_bare.csv": (GOOD.encode("utf-16-le"), "UTF-16"),
    "order_line.latin.csv": (GOOD.replace("P1", "é").encode("latin-1"), "UTF-8"),
    "order_line.parquet.csv": (lambda _: parquet(), "a Parquet file"),
    "order_line.cut.parquet": (lambda _: parquet()[:200], "Parquet"),
    "order_line.text.parquet": (GOOD + "#1", "not a Parquet file"),
    "order_line.zip.csv": (zipped(a__csv=GOOD), "packed folder"),
    "order_line.cut_zip.csv": (zipped(a__csv=GOOD)[:60], "packed folder"),
    "order_line.xlsx.csv": (lambda _: workbook(), "a spreadsheet"),
    "order_line.docx.csv": (zipped(word__document="x"), ".docx"),
    "order_line.xls.csv": (b"\xd0\xcf\x11\xe0" + bytes(600), "Office file"),
    "order_line.json.csv": ('[{"order_line_id": 1}]', "JSON"),
    "order_line.object.csv": ('{"order_line_id": 1}\n', "JSON"),
    "order_line.gzip.csv": (PACKED, "packed with gzip"),
    "order_line.not_gzip.csv.gz": (GOOD + "#2", "not packed"),
    "order_line.cut.csv.gz": (PACKED[: len(PACKED) // 2], "breaks off"),
    "order_line.checksum.csv.gz": (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "checksum"),
    "order_line.block.csv.gz": (PACKED[:40] + b"\xff" * 40 + PACKED[80:], "damaged"),
    "order_line.short_gz.csv.gz": (PACKED[:6], "breaks off"),
    "order_line.bomb.csv.gz": (lambda _: gz(GOOD + LONG), "longer than 8 MB"),
    "order_line.pdf_in.csv.gz": (gz(b"%PDF-1.7\n"), "PDF"),
    "order_line.pdf.csv": (b"%PDF-1.7\n%\xe2\xe3\n", "PDF"),
    "order_line.png.csv": (b"\x89PNG\r\n\x1a\n" + RANDOM, "picture"),
    "order_line.jpeg.csv": (b"\xff\xd8\xff\xe0" + RANDOM, "picture"),
    "order_line.gif.csv": (b"GIF89a" + RANDOM, "picture"),
    "order_line.html.csv": ("<!DOCTYPE html><html><body>503 Service Unavailable</body></html>", "web page"),
    "order_line.xml.csv": ('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web page or XML"),
    "order_line.bare_xml.csv": ("<Error><Code>NoSuchKey</Code></Error>", "web page or XML"),
    "order_line.tar.csv": (lambda _: tar(), "tar"),
    "order_line.7z.csv": (b"7z\xbc\xaf\x27\x1c" + RANDOM, "7z"),
    "order_line.rar.csv": (b"Rar!\x1a\x07" + RANDOM, "RAR"),
    "order_line.bz2.csv": (b"BZh9" + RANDOM, "bzip2"),
    "order_line.xz.csv": (b"\xfd7zXZ\0" + RANDOM, "xz"),
    "order_line.zstd.csv": (b"\x28\xb5\x2f\xfd" + RANDOM, "zstd"),
    "order_line.sqlite.csv": (sqlite, "SQLite"),
    "order_line.elf.csv": (b"\x7fELF" + RANDOM, "program"),
    "order_line.pgp.csv": ("-----BEGIN PGP MESSAGE-----\nx\n", "encrypted"),
    "order_line.lfs.csv": ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"),
    "order_line.rtf.csv": ("{\\rtf1 orders}", "RTF"),
    "order_line.semicolons.csv": (GOOD.replace(",", ";"), "semicolons"),
    "order_line.tabs.csv": (GOOD.replace(",", "\t"), "tabs"),
    "order_line.bars.csv": (GOOD.replace(",", "|"), "bars"),
    "order_line.one_column.csv": ("a\n1\n2\n", "order_line_id is missing"),
    "order_line.no_header.csv": ("\n".join(GOOD.splitlines()[1:]), "order_line_id is missing"),
    "order_line.doubled.csv": (f"{HEADER},units\n", "units is there twice"),
    "order_line.quote.csv": (GOOD.replace("\n2,", '\n"2,'), "line 3: a quote opens"),
    "order_line.header_quote.csv": ('"' + GOOD, "a quote opens"),
    "order_line.long_quote.csv": (
        lambda _: (GOOD.replace("\n2,", '\n"2,') + "1,2\n" * 40_000).encode(),
        "line 3: a quote opens",
    ),
    "order_line.long_line.csv": (lambda _: (GOOD + LONG + "\n").encode(), "longer than 8 MB"),
    "order_line.no_lines.csv": (lambda _: LONG.encode(), "longer than 8 MB"),
    "order_line.deep.ndjson": ('{"order_line_id": ' + "[" * 100_000 + "\n", "order_line_id is missing"),
    "order_line.words.ndjson": ("these are words\n", "order_line_id is missing"),
    "order_line.list.ndjson": ('[{"order_line_id": 1},\n {"order_line_id": 2}]\n', "missing"),
    "order_line.ini": ("[orders]\na = 1\n", "unknown format"),
    "orders.csv": (GOOD + "#3", "no log is named 'orders'"),
    "export.json": ('{"orders": [{"id": 1, "line_items": "two"}]} trailing', ""),
    "photo.jpg": (b"\xff\xd8\xff\xe1" + RANDOM, "picture"),
    "order_line.\x1b[31mred.csv": ("", "empty"),
    f"order_line.{'long' * 55}.csv": ("", "empty"),
    "[!order_line].csv": (GOOD + "#4", "no log is named"),
}
KINDS["export.json"] = (
    '{"orders": [{"id": 1, "line_items": "two"}]} trailing',
    "",
)  # said by whichever source is asked
LOADING = {
    "order_line.mark.csv": b"\xef\xbb\xbf" + MORE.encode(),
    "order_line.no_end.csv": MORE.replace("\n4,o4", "\n7,o7").rstrip("\n").encode(),
    "order_line.[1]*?.csv": MORE.replace("\n4,o4", "\n8,o8").encode(),
    "order_line.l'été.csv": MORE.replace("\n4,o4", "\n9,o9").encode(),
    "order_line.only_header.csv": f"{HEADER}\n".encode(),
    "return_event.empty.ndjson": b"",
}


def made(folder: Path, name: str) -> Path:
    """Write one hostile file."""
    folder.mkdir(exist_ok=True)
    content = KINDS[name][0]
    if callable(content):
        content = content(folder) or b""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def special(folder: Path) -> dict[str, str]:
    """Make what is no file: a pipe, a device, a socket, links. Gives the words that each is said in."""
    folder.mkdir(exist_ok=True)
    os.mkfifo(folder / "order_line.pipe.csv")
    (folder / "order_line.zero.csv").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as opened:
        home = Path.cwd()
        os.chdir(folder)  # a socket's path must be short
        try:
            opened.bind("order_line.socket.csv")
        finally:
            os.chdir(home)
    (folder / "order_line.nothing.csv").symlink_to(folder / "gone.csv")
    (folder / "order_line.out.csv").symlink_to("/etc/hostname")
    (folder / "order_line.folder.csv").mkdir()
    (folder / "order_line.around").symlink_to(folder)
    return {
        "order_line.pipe.csv": "a named pipe",
        "order_line.zero.csv": "a link that leads out",
        "order_line.socket.csv": "a socket",
        "order_line.nothing.csv": "a link to nothing",
        "order_line.out.csv": "a link that leads out",
    }


@pytest.mark.parametrize("name", [n for n, (_, words) in KINDS.items() if words])
def test_each_kind_is_refused_for_what_it_is(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = made(tmp_path / "in", name)
    code, _, err = ends(
        capsys, monkeypatch, "load", file, "--source", "canonical", "--warehouse", tmp_path / "warehouse"
    )
    (sentence,) = err.strip().splitlines()
    assert code == 1
    assert KINDS[name][1] in sentence
    assert len(sentence) < 300 + len("backhaul: ")
    assert not any(c < " " for c in sentence)
    assert looks.shown(file)[:40] in sentence
    assert "o2" not in sentence  # nothing of what it holds


@pytest.mark.parametrize(
    "name", ["order_line.pipe.csv", "order_line.zero.csv", "order_line.socket.csv", "order_line.nothing.csv"]
)
def test_what_is_no_file_is_said_and_not_read(name: str, tmp_path: Path) -> None:
    special(tmp_path / "in")
    with pytest.raises(SourceError) as caught:
        load(Settings(warehouse=tmp_path / "warehouse"), [tmp_path / "in" / name])
    words = "a device" if "zero" in name else special_words(name)
    assert f"{name} is {words}" in str(caught.value)


def special_words(name: str) -> str:
    return {"pipe": "a named pipe", "socket": "a socket", "nothing": "a link to nothing"}[name.split(".")[1]]


def test_all_of_them_beside_two_good_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, warehouse = tmp_path / "in", tmp_path / "warehouse"
    for name in KINDS:
        made(folder, name)
    refused = {looks.shown(n): w for n, (_, w) in KINDS.items()} | special(folder)
    for name, content in LOADING.items():
        (folder / name).write_bytes(content)
    (folder / "order_line.a.csv").write_text(GOOD)
    (folder / "return_event.a.csv").write_text(EVENTS)
    (folder / os.fsdecode(b"order_line.caf\xe9.csv")).write_text(MORE.replace("\n4,o4", "\n10,o10"))
    code, out, err = ends(capsys, monkeypatch, "load", folder, "--warehouse", warehouse, "--format", "json")
    sentences = [line for line in err.splitlines() if line.startswith("Not taken in: ")]
    assert code == 1
    assert all(len(sentence) < 300 + len("Not taken in: ") for sentence in sentences)
    assert {n for n in refused if not any(n in s for s in sentences)} == set()
    for name, words in refused.items():
        (said,) = [s for s in sentences if name in s]
        assert words in said
    assert len(sentences) == len(refused) >= 70
    report = json.loads(out)
    assert report["is_new_build"]
    assert {c["table"]: c["accepted"] for c in report["tables"]} == {"order_line": 10, "return_event": 1}
    assert "order_line.only_header.csv holds a header and no rows." in report["notes"]
    again, _, err = ends(capsys, monkeypatch, "load", folder, "--warehouse", warehouse)
    assert again == 1
    assert {n for n in refused if n not in err} == set()
    opened = build.current_build(warehouse)
    opened.close()


def judged(folder: Path, files: dict[str, str | bytes], source: str | None = None) -> Report:
    """Judge files without making a build."""
    (folder / "in").mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / "in" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return load(Settings(warehouse=folder / "warehouse"), [folder / "in"], source=source, is_trial=True)


def test_a_file_that_changes_while_it_is_landed_is_taken_in_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is cut once it has been hashed, before it is copied.

    Nothing of it is kept, and the whole file is no known one.
    """
    file = tmp_path / "order_line.csv"
    file.write_text(GOOD)
    digest = files_load.digest

    def cut(path: Path):
        found = digest(path)
        os.truncate(path, len(GOOD) - 60)
        return found

    warehouse = Settings(warehouse=tmp_path / "warehouse")
    with monkeypatch.context() as patched:
        patched.setattr(files_load, "digest", cut)
        with pytest.raises(SourceError, match=r"order_line\.csv changed while it was read"):
            load(warehouse, [file], is_trial=True)
    file.write_text(GOOD)
    assert load(warehouse, [file], is_trial=True).counts[0]["accepted"] == 3
    state_file = state.State(warehouse.warehouse)
    (landed,) = state_file.loads_with("logged")
    state_file.close()
    kept = warehouse.raw / landed["files"][0]["raw"]
    assert landed["files"][0]["sha256"] == files_load.digest(kept)[0]


def test_offsets_that_no_clock_has_are_bad_times(tmp_path: Path) -> None:
    """+14:00 and -12:00 are the widest: +14:30, +25:00, +99 and +05:75 are faults.

    A date that ends in -25 has no offset.
    """
    times = ["+14:00", "-12:00", "Z", "+14:30", "+25:00", "+99", "+05:75", "-1500"]
    rows = "".join(f"F{n},2025-02-01T10:00:00{t},5,EUR\n" for n, t in enumerate(times))
    report = judged(tmp_path, {"refund.csv": "refund_id,refunded_at,amount,currency\n" + rows})
    (count,) = report.counts
    assert (count["accepted"], count["quarantined"]) == (3, 5)
    assert [q["fault"] for q in report.quarantined] == ["bad_time refunded_at"]


def test_an_offset_of_a_mapped_file_is_judged_alike(tmp_path: Path) -> None:
    text = (
        'constants: {currency: EUR}\ndates: "%d/%m/%Y %H:%M %z"\ntables:\n  - {file: "*.csv", to: {refund: {refund_id:'
        " id, refunded_at: at, amount: amount}}}\n"
    )
    (tmp_path / "m.yaml").write_text(text)
    rows = "id,at,amount\n1,01/02/2025 10:00 +02:00,5\n2,01/02/2025 10:00 +25:00,5\n3,2025-02-01T10:00:00+25:00,5\n"
    report = judged(tmp_path, {"a.csv": rows}, str(tmp_path / "m.yaml"))
    assert (report.counts[0]["accepted"], report.counts[0]["quarantined"]) == (1, 2)


def test_currencies_that_are_none_are_quarantined_by_name(tmp_path: Path) -> None:
    codes = ["EUR", "eur", "XOF", "DEM", "XXX", "XTS", "XAU", "ABC", "€"]
    rows = "".join(f"F{n},2025-02-01T10:00:00Z,5,{c}\n" for n, c in enumerate(codes))
    report = judged(tmp_path, {"refund.csv": "refund_id,refunded_at,amount,currency\n" + rows})
    assert (report.counts[0]["accepted"], report.counts[0]["quarantined"]) == (4, 5)
    assert [(q["fault"], q["first"]) for q in report.quarantined] == [
        ("unknown_currency currency", "'XXX', refund.csv line 6")
    ]


def test_rows_of_the_future_have_some_hours_and_are_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten hours ahead is a time zone; three days ahead waits.

    Three days later a load without paths takes the row in.
    """
    now = state.now()
    ahead = [now + timedelta(hours=10), now + timedelta(days=3)]
    rows = "".join(f"F{n},{t:%Y-%m-%dT%H:%M:%SZ},5,EUR\n" for n, t in enumerate(ahead))
    report = judged(tmp_path, {"refund.csv": "refund_id,refunded_at,amount,currency\n" + rows})
    assert [q["fault"] for q in report.quarantined] == ["future_time refunded_at"]
    warehouse = Settings(warehouse=tmp_path / "warehouse")
    assert load(warehouse, [], is_trial=True).counts == []  # not yet
    monkeypatch.setattr(state, "now", lambda: now + timedelta(days=3))
    again = load(warehouse, [], is_trial=True)
    assert (again.counts[0]["accepted"], again.counts[0]["quarantined"]) == (2, 0)
    assert load(warehouse, [], is_trial=True).counts == []  # once


def test_a_doubled_column_is_refused_where_the_mapping_names_it(tmp_path: Path) -> None:
    text = (
        'constants: {currency: EUR}\ntables:\n  - {file: "*.csv", to: {refund: {refund_id: id, refunded_at: at, amount:'
        " amount}}}\n"
    )
    (tmp_path / "m.yaml").write_text(text)
    rows = "id,at,amount,note,note\n1,2025-02-01T10:00:00Z,5,a,b\n"
    assert judged(tmp_path, {"a.csv": rows}, str(tmp_path / "m.yaml")).counts[0]["accepted"] == 1
    (tmp_path / "in" / "a.csv").write_text(rows.replace("note,note", "note,Amount").replace("a,b", "a,99"))
    with pytest.raises(SourceError, match="`amount` stands twice or more in the header"):
        judged(tmp_path, {}, str(tmp_path / "m.yaml"))


def test_what_unpacks_to_far_more_than_it_weighs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "FREELY_UNPACKED", 1 << 20)
    with pytest.raises(SourceError, match="unpacks to more than"):
        judged(tmp_path, {"refund.csv.gz": gz("refund_id,refunded_at,amount,currency\n" + "1,2,3,4\n" * 1_000_000)})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", "<row/>" * 1_000_000)
    (tmp_path / "a.xlsx").write_bytes(content.getvalue())
    with pytest.raises(SourceError, match=r"a\.xlsx unpacks to"):
        workbook_tables.sheet_names(tmp_path / "a.xlsx")
    monkeypatch.setattr(looks, "FREELY_UNPACKED", 1 << 30)
    monkeypatch.setattr(looks, "MOST_OF_A_WORKBOOK", 1 << 20)
    with pytest.raises(SourceError, match="Save its sheets as CSV"):  # however little that is for its size
        workbook_tables.sheet_names(tmp_path / "a.xlsx")


@pytest.mark.parametrize("folder", ["country=ES", "units=7", "l'entrepôt [1]", "a*?{b}"])
def test_a_folder_of_any_name_holds_a_warehouse(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / "order_line.csv").write_text(GOOD)
    settings = Settings(warehouse=tmp_path / folder / "warehouse")
    load(settings, [tmp_path / "order_line.csv"], is_trial=True)
    with connect() as connection:
        files = [str(f) for f in (settings.warehouse / "log").rglob("*.parquet")]
        found = connection.execute(f"SELECT DISTINCT country, units FROM {read_sql('parquet', files)}").fetchall()
    assert found == [("FR", 1)]


def test_a_build_below_a_folder_named_like_a_column_holds_what_the_files_say(tmp_path: Path, tiny_files: Path) -> None:
    settings = Settings(warehouse=tmp_path / "country=ES" / "units=7" / "warehouse")
    load(settings, [tiny_files])
    [build] = (settings.warehouse / "builds").glob("*.duckdb")
    with duckdb.connect(str(build), read_only=True) as connection:
        found = connection.execute("SELECT country, sum(units_sold)::INT FROM fact_order_line GROUP BY 1").fetchall()
        back = connection.execute("SELECT sum(units)::INT FROM fact_return_line").fetchall()
    assert (found, back) == ([("FR", 9)], [(5,)])


def test_a_packed_retail_table_that_breaks_off_is_refused_and_its_lines_close(tmp_path: Path) -> None:
    rows = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n" + "".join(
        f'{n},A{n},"a\nbox",2,2010-12-01 08:26:00,2.55,1,France\n' for n in range(536365, 536465)
    )
    report = judged(tmp_path, {"retail.csv.gz": gz(rows)})
    assert [report.files[0][k] for k in ("lines", "rows", "header", "within", "left_out")] == [201, 100, 1, 100, 0]
    (tmp_path / "in" / "retail.csv.gz").write_bytes(gz(rows)[:-200])
    with pytest.raises(SourceError, match="breaks off"):
        load(Settings(warehouse=tmp_path / "other"), [tmp_path / "in"], source="online_retail", is_trial=True)


@pytest.mark.parametrize("name", ["ID3", "ORC", "BZh", "GIF8", "ftyp"])
def test_columns_named_like_the_first_bytes_of_other_files_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{name},b\n1,2\n")
    assert parts_tables.format_of(tmp_path / "a.csv") == parts_tables.CSV


def test_a_refused_file_does_not_stand_for_a_good_one_of_the_same_content(tmp_path: Path) -> None:
    report = judged(tmp_path, {"[!red].csv": GOOD, "order_line.good.csv": GOOD})  # the refused one comes first
    assert (report.counts[0]["accepted"], len(report.refused), report.skipped) == (3, 1, [])


def test_what_comes_through_the_page_is_refused_alike(tmp_path: Path) -> None:
    files = [upload.File("order_line.a.csv", GOOD.encode()), upload.File("order_line.b.csv", b"%PDF-1.7\n")]
    group = upload.Group(tuple(file.name for file in files), source="canonical")
    outcome = upload.trial(files, [group], Settings(warehouse=tmp_path / "warehouse"))
    (report,) = outcome.reports
    assert (outcome.problem, report.counts[0]["accepted"]) == ("", 3)
    assert [sentence[:34] for sentence in report.refused] == ["order_line.b.csv is a PDF document"]


LAUGHS = "constants:\n  c0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  c{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "stands for something else"),
        ("name: &r [*r]\ntables: []\n", "stands for something else"),
        ("tables: " + "[" * 200 + "]" * 200, "more than 50 levels"),
        ("tables: " + "{a: " * 200 + "1" + "}" * 200, "more than 50 levels"),
        ('name: !!python/object/apply:os.system ["id"]\ntables: []\n', "tables"),
        ("tables: [}", "not YAML"),
        ("a: *nowhere\n", "not YAML"),
        ("\x00", "not YAML"),
        ("a: b\n---\nc: d\n", "not YAML"),
        ("- a\n", "begins with keys"),
        ("x" * 2_000_000, "larger than 1024 KB"),
    ],
)
def test_a_mapping_is_bounded_and_wrong_yaml_is_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(SourceError, match=words) as caught:
        mapping_source(str(tmp_path / "m.yaml"))
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


TEXT = st.text(st.sampled_from("ab,;\"\n\r\t'0é{}[]:&*-#|>!%@`\x00\ufeff "), max_size=60)
BYTES = st.one_of(st.binary(max_size=200), TEXT.map(str.encode), TEXT.map(lambda t: t.encode("utf-16")))
FUZZED = settings(max_examples=25 * FUZZ, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows_of(source: Source, file: Path) -> None:
    """Read every row that a source gives of a file."""
    with connect() as connection:
        for named in source.name_rows(connection, [file], "shop"):
            connection.execute(named.sql).fetchall()


def only_ours(action: Callable[[], object]) -> None:
    """Do something; only an error of ours may come out, in a sentence."""
    problem = ""
    try:
        action()
    except BackhaulError as error:
        problem = str(error)
    assert len(problem) < 300


@FUZZED
@given(BYTES, st.sampled_from(["refund.csv", "refund.ndjson", "refund.csv.gz", "refund.parquet"]), st.booleans())
def test_canonical_files_of_any_bytes(tmp_path: Path, content: bytes, name: str, has_header: bool) -> None:
    header = b"refund_id,refunded_at,amount,currency\n" if has_header and name.endswith(".csv") else b""
    (tmp_path / name).write_bytes(header + content)
    only_ours(lambda: rows_of(Canonical(), tmp_path / name))


RETAIL_CELLS = st.one_of(
    st.sampled_from(
        ["536365", "C536365", "A1", "85123A", "POST", "GIFT_1", "TEST1", "6", "-1", "2010-12-01 08:26", "2.55", "1e400"]
    ),
    st.sampled_from(["", "12583", "France", "99999999999999999999", "01/12/2010 8:26", "2010-02-30 25:61", "NaN"]),
    TEXT,
)


@FUZZED
@given(BYTES, st.sampled_from(["a.csv", "a.csv.gz", "a.parquet", "a.txt"]), st.booleans())
def test_online_retail_of_any_bytes(tmp_path: Path, content: bytes, name: str, has_header: bool) -> None:
    header = f"{','.join(COLUMNS)}\n536365,85123A,".encode() if has_header and name == "a.csv" else b""
    (tmp_path / name).write_bytes(header + content)
    only_ours(lambda: OnlineRetail().recognises([tmp_path / name]))
    only_ours(lambda: rows_of(OnlineRetail(), tmp_path / name))


@FUZZED
@given(st.lists(st.tuples(*[RETAIL_CELLS] * 8), max_size=4))
def test_online_retail_of_any_cells(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    only_ours(lambda: rows_of(OnlineRetail(), tmp_path / "a.csv"))


@FUZZED
@given(BYTES, st.sampled_from(["a.csv", "a.json", "a.ndjson", "a.xlsx", "a.txt", "a.parquet"]))
def test_mapped_files_of_any_bytes(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / "m.yaml").write_text(
        'tables: [{file: "a.*", to: {refund: {refund_id: {optional: a}, refunded_at: {value: x}, amount: {value: 1},'
        " currency: {value: EUR}}}}]\n"
    )
    (tmp_path / name).write_bytes(content)
    only_ours(lambda: rows_of(Mapping(tmp_path / "m.yaml"), tmp_path / name))


@FUZZED
@given(BYTES, st.sampled_from(["a.csv", "a.json", "a.xlsx", "a.txt"]))
def test_proposals_of_any_bytes(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    only_ours(lambda: propose([tmp_path / name]))
    only_ours(lambda: recognise([tmp_path / name]))


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.sampled_from(["two", "", "2026-01-01T00:00:00Z", "gid://shopify/Order/1"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "order_id",
                    "line_items",
                    "quantity",
                    "refunds",
                    "refund_line_items",
                    "transactions",
                    "amount_set",
                    "shop_money",
                    "fulfillments",
                    "returns",
                    "nodes",
                    "edges",
                    "node",
                    "created_at",
                    "price",
                    "variants",
                ]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


@settings(max_examples=40 * FUZZ, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES, st.sampled_from(["orders", "order", "refunds", "products", "returns"]))
def test_pages_of_shopify_with_values_of_any_kind(tmp_path: Path, value: object, kind: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({kind: value}))
    only_ours(lambda: rows_of(Shopify(), tmp_path / "a.json"))


@FUZZED
@given(TEXT)
def test_mapping_files_of_any_text(tmp_path: Path, text: str) -> None:
    for written in (
        text,
        f"tables:\n  - file: a.csv\n    to:\n      refund: {text}\n",
        f"read: {text}\ntables: [{text}]\n",
    ):
        (tmp_path / "m.yaml").write_text(written, encoding="utf-8")
        only_ours(lambda: Mapping(tmp_path / "m.yaml"))
