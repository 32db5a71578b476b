"""Files that come through the page.

Safe names, private copies, the same counts as the command line, from the drop to a number.
"""

import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st
from hypothesis import given
from hypothesis import strategies as some
from streamlit import config
from streamlit.testing.v1 import AppTest

from dashboard.i18n import Words, catalogue
from dashboard.shared import upload as page
from pipelines import metrics, upload
from pipelines.cli.pages import command
from pipelines.errors import SourceError
from pipelines.load import contracts, load
from pipelines.settings import Settings
from pipelines.sources import mapping as mapping_sources
from pipelines.sources.headings import WORDS
from pipelines.upload import File
from pipelines.warehouse import schema, star
from pipelines.warehouse.build import build_path, current_build, current_id, writing
from pipelines.warehouse.sql import connect
from tests.pages import lines, turn
from tests.test_dashboard import app, said
from tests.turns import left_to_proofs

pytestmark = pytest.mark.usefixtures("no_rules")

# Five order lines; two came back, one line has no readable date and is quarantined. 1 of 4 units kept its order until
# refunded.
ORDERS = b"""order line,SKU,units,net price,order date,return date,refund date,refund amount
L1,A,1,50.00,2025-10-01,2025-10-10,2025-10-12,60.00
L2,A,1,50.00,2025-10-02,,,
L3,B,2,80.00,2025-10-03,2025-10-13,2025-10-20,48.00
L4,B,1,40.00,not a date,,,
L5,B,1,40.00,2025-10-05,,,
"""
EN = Words("en")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary copies, which must be empty in the end."""
    with connect():  # a process makes its own folder for what outgrows memory once, and keeps it
        pass
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@given(some.lists(some.text(max_size=300), min_size=1, max_size=4))
def test_no_name_leaves_the_folder(names: list[str]) -> None:
    safe = [file.name for file in upload.named([File(name, b"") for name in names])]
    assert len({name.lower() for name in safe}) == len(names)
    for name in safe:
        assert Path(name).name == name
        assert not name.startswith(".")
        assert name.isprintable()
        assert 0 < len(name) <= upload.LONGEST_NAME + 3


def test_a_name_from_a_person_keeps_what_a_source_knows_it_by() -> None:
    assert upload.safe_name("C:\\exports\\order_line.csv") == "order_line.csv"
    assert upload.safe_name("Rücksendungen (März).xlsx") == "Rücksendungen (März).xlsx"


def test_copies_are_private_and_go_when_a_step_fails(temporary: Path) -> None:
    def failing_step() -> None:
        with upload.stored([File("../a.csv", b"1"), File("a.csv", b"2")]) as paths:
            assert [p.name for p in paths] == ["a.csv", "a-2.csv"]
            assert [p.read_bytes() for p in paths] == [b"1", b"2"]
            assert {stat.S_IMODE(p.stat().st_mode) for p in paths} == {0o600}
            assert stat.S_IMODE(paths[0].parent.stat().st_mode) == 0o700
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        failing_step()
    assert not any(temporary.iterdir())


def test_more_than_the_page_takes_is_one_sentence(settings: Settings) -> None:
    small = replace(settings, upload_mb=1)
    upload.check_size([File("a.csv", bytes(1_000_000))], small)
    with pytest.raises(SourceError, match=r"^The files hold 2 MB and the page takes 1 MB at once\. Load them on the"):
        upload.check_size([File("a.csv", bytes(1_000_000)), File("b.csv", bytes(600_000))], small)


def test_the_server_takes_as_much_as_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--server.maxUploadSize=200" in command(8501)
    monkeypatch.setenv("BACKHAUL_UPLOAD_MB", "20")
    assert "--server.maxUploadSize=20" in command(8501)


def test_files_of_known_sources_need_no_mapping(settings: Settings, tiny_files: Path) -> None:
    files = [File(path.name, path.read_bytes()) for path in sorted(tiny_files.iterdir())]
    assert [(g.source, g.is_known) for g in upload.examine(files, settings)] == [("canonical", True)]


def test_a_shipped_mapping_is_recognised_by_its_columns(settings: Settings) -> None:
    header = "N° commande;Ligne;Date commande;SKU;Désignation;Famille;Taille;Qté;PU HT;Remise;TVA"
    known = File("commandes-2026.csv", header.encode("cp1252"))
    assert [g.mapping_name for g in upload.examine([known], settings)] != ["one_table"]  # columns are missing
    from pipelines.sources import mappings

    mapping = mapping_sources.Mapping(mappings()["one_table"])
    columns = sorted(set(_named_columns(mapping.content["tables"][0]["to"])) - {"-"})
    whole = (";".join(columns) + "\n" + ";".join("1" for _ in columns) + "\n").encode("cp1252")
    assert [g.mapping_name for g in upload.examine([File("commandes-2026.csv", whole)], settings)] == ["one_table"]
    assert upload.examine([File("commandes-2026.csv", whole)], settings, is_proposed=True)[0].proposal


def _named_columns(content: Any) -> Iterator[str]:
    """Every word of a mapping's logs: more than its columns, and those among them."""
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else []:
        if isinstance(value, (dict, list)):
            yield from _named_columns(value)
        else:
            yield str(value)


def test_a_mapping_that_comes_with_its_file_is_used(settings: Settings) -> None:
    proposal = upload.examine([File("orders.csv", ORDERS)], settings)[0].proposal
    assert proposal
    given = File("mine.yaml", proposal.yaml.replace("name: orders", "name: till").encode())
    found = upload.examine([File("orders.csv", ORDERS), given], settings)
    assert [(g.names, g.mapping_name, g.is_known) for g in found] == [(("orders.csv",), "mine", True)]
    trial = upload.trial([File("orders.csv", ORDERS), given], found, settings)
    assert {count["source"] for count in trial.reports[0].counts} == {"till"}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            [
                File("orders.csv", ORDERS),
                File("a.yaml", b"tables:\n  - sql: {url: U, query: SELECT 1}\n    to: {shop: {shop_id: a}}"),
            ],
            "a.yaml asks a database",
        ),
        ([File("orders.csv", ORDERS), File("a.yaml", b""), File("b.yml", b"")], "There are 2 mappings"),
        ([File("a.yaml", b"")], "There is no data file"),
        ([File("a.csv", b"")], "a.csv is empty"),
        ([File("photo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")], "photo.png"),
    ],
)
def test_files_that_cannot_be_taken_are_one_sentence(settings: Settings, files: Sequence[File], sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence) as raised:
        upload.examine(files, settings)
    assert len(str(raised.value)) < 300


def test_the_next_export_is_read_as_the_last_one_was(settings: Settings) -> None:
    first = [File("orders 2025-10.csv", ORDERS)]
    groups = upload.examine(first, settings)
    assert groups[0].proposal
    assert groups[0].proposal.name == "orders"
    loading = upload.Loading(first, groups, settings)
    loading.run()
    assert loading.outcome
    assert not loading.outcome.problem
    following = [File("orders 2025-11.csv", ORDERS.replace(b"\nL", b"\nM"))]
    again = upload.examine(following, settings)
    assert [(g.is_known, g.text) for g in again] == [(True, groups[0].text)]
    assert not upload.examine(following, settings, is_proposed=True)[0].is_known


def test_a_trial_counts_as_the_command_line_does_and_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    files = [File("orders.csv", ORDERS)]
    groups = upload.examine(files, settings)
    trial = upload.trial(files, groups, settings)
    assert trial.problem == ""
    counts = trial.reports[0].counts[0]
    assert {n: counts[n] for n in ("read", "accepted", "duplicate", "quarantined")} == {
        "read": 5,
        "accepted": 4,
        "duplicate": 0,
        "quarantined": 1,
    }
    assert trial.quarantined is not None
    row = trial.quarantined.iloc[0]
    assert (row["file"], row["line"], row["rules"]) == ("orders.csv", 5, "bad_time ordered_at")
    assert not settings.warehouse.exists()
    (tmp_path / "orders.csv").write_bytes(ORDERS)
    (tmp_path / "orders.yaml").write_text(groups[0].text, encoding="utf-8")
    report = load(settings, [tmp_path / "orders.csv"], source=str(tmp_path / "orders.yaml"))
    assert (report.counts, report.derived) == (trial.reports[0].counts, trial.reports[0].derived)


def test_a_locked_warehouse_is_one_sentence(settings: Settings) -> None:
    files = [File("orders.csv", ORDERS)]
    loading = upload.Loading(files, upload.examine(files, settings), settings)
    with writing(settings.warehouse):
        loading.start()
        loading.join()
    assert loading.outcome
    assert loading.outcome.problem.startswith("Another load is writing to ")
    assert loading.files == ()


def test_the_later_export_counts_though_it_came_first(settings: Settings) -> None:
    header, row, *_ = ORDERS.splitlines(keepends=True)
    for content, day in ((header + row.replace(b",1,", b",3,"), date(2026, 5, 2)), (header + row, date(2026, 5, 1))):
        files = [File("orders.csv", content)]
        loading = upload.Loading(files, upload.examine(files, settings), settings, day)
        loading.run()
        assert loading.outcome is not None
        assert loading.outcome.problem == ""
    with current_build(settings.warehouse) as build:
        assert metrics.answer(build, "sold_units")["value"].iloc[0] == 3


def test_a_shipped_mapping_says_what_it_takes_for_every_row(settings: Settings) -> None:
    (refunds,) = (Path(__file__).parent / "fixtures" / "systems" / "woocommerce_refunds").glob("*.json")
    report = load(settings, [refunds])
    assert [note for note in report.notes if "currency EUR" in note and "constants:" in note]


def test_what_the_reader_says_goes_into_the_mapping(settings: Settings, tmp_path: Path) -> None:
    """3/4/2025 is the third of April or the fourth of March; 60.00 with 20% tax is 50.00 without."""
    content = b"order line,SKU,quantity,net price,order date\nL1,A,1,60.00,3/4/2025\n"
    proposal = upload.examine([File("orders.csv", content)], settings)[0].proposal
    assert proposal
    assert proposal.tables[0].is_order_assumed
    choices = replace(proposal.choices, is_day_first=False, is_tax_inside=True, currency="SEK", country="SE")
    text = replace(proposal, choices=choices).yaml
    assert 'dates: ["%m/%d/%Y"]' in text
    (tmp_path / "orders.csv").write_bytes(content)
    (tmp_path / "orders.yaml").write_text(text, encoding="utf-8")
    load(settings, [tmp_path / "orders.csv"], source=str(tmp_path / "orders.yaml"))
    from pipelines.warehouse.build import current_build

    build = current_build(settings.warehouse)
    line = build.fetch(star.STAR.tables["fact_order_line"].select()).iloc[0]
    build.close()
    assert float(line["net_amount"]) == pytest.approx(50)
    assert (line["currency"], line["country"], str(line["ordered_at"])[:10]) == ("SEK", "SE", "2025-03-04")


@pytest.fixture
def private() -> Iterator[None]:
    """The server listens on the loopback address."""
    before = config.get_option("server.address")
    config.set_option("server.address", "127.0.0.1")
    yield
    config.set_option("server.address", before)


def dropped(settings: Settings, monkeypatch: pytest.MonkeyPatch, language: str = "EN") -> AppTest:
    """The first start, with a file dropped."""
    opened = turn(app(settings.warehouse, monkeypatch, lang=language), "add").run()
    return opened.file_uploader[0].upload("../orders 2025-10.csv", ORDERS, "text/csv").run()


@pytest.mark.parametrize("language", ["EN", left_to_proofs("FR")])
@pytest.mark.usefixtures("private")
def test_from_an_empty_folder_to_a_number(settings: Settings, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    words = Words(language.lower())
    opened = dropped(settings, monkeypatch, language)
    assert not opened.exception
    judged = next(d.value for d in opened.dataframe if "accepted" in d.value)
    assert judged.iloc[0].tolist() == [words.value("thing", "order_line"), 5, 4, 0, 1]
    aside = next(d.value for d in opened.dataframe if "rules" in d.value)
    assert aside.iloc[0]["rules"] == words.rules("bad_time ordered_at")
    assert not settings.warehouse.exists()
    opened.button(key="upload_load").click().run()
    assert not opened.exception
    assert words("upload.done", n="4") in said(opened)
    turn(opened, "returns").run()
    assert not opened.exception
    assert opened.metric[0].value == words.percent(3 / 5)  # 3 of 5 units came back; L4 is quarantined


@pytest.mark.usefixtures("private")
def test_numbers_of_a_damaged_build_are_made_again_from_the_page(
    copy_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = build_path(copy_of_tiny.warehouse, current_id(copy_of_tiny.warehouse) or "")
    build.chmod(0o644)
    build.write_bytes(b"damaged")
    opened = app(copy_of_tiny.warehouse, monkeypatch, lang="EN").run()
    assert opened.title[0].value == EN("empty.again")
    assert "is damaged" in opened.error[0].value
    opened.button(key="again").click().run()
    assert not opened.exception
    assert lines(opened)


@pytest.mark.usefixtures("private")
def test_an_edited_column_changes_the_mapping_and_its_trial(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = st.data_editor

    def edited(frame: pd.DataFrame, **options: Any) -> pd.DataFrame:
        """Take the refund date out, as a reader would in the table."""
        found = editor(frame, **options)
        return found.assign(column=found["column"].where(found["column"] != "refund date"))

    monkeypatch.setattr(st, "data_editor", edited)
    opened = dropped(settings, monkeypatch)
    assert not opened.exception
    judged = next(d.value for d in opened.dataframe if "accepted" in d.value)
    assert EN.value("thing", "refund") not in judged["thing"].tolist()
    assert judged["read"].tolist() == [5, 2]  # order lines, and the two dates of return


@pytest.mark.usefixtures("private")
def test_a_column_that_everything_needs_is_asked_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = app(settings.warehouse, monkeypatch, lang="EN").run()
    opened.file_uploader[0].upload("a.csv", b"colour,size\nred,M\n", "text/csv").run()
    assert not opened.exception
    assert len(opened.error) == 1
    assert opened.button(key="upload_load").disabled


def test_files_are_not_taken_where_others_reach_the_server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = app(settings.warehouse, monkeypatch, lang="EN").run()  # AppTest's server has no address of its own
    assert not opened.file_uploader
    assert EN("upload.public") in said(opened)
    assert any("backhaul load" in block.value for block in opened.code)


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize(
    ("host", "is_private"),
    [("localhost:8501", True), ("[::1]:8501", True), ("shop.example.org", False), ("127.0.0.1.example.org:80", False)],
)
def test_a_server_asked_for_by_another_name_is_public(
    monkeypatch: pytest.MonkeyPatch, host: str, is_private: bool
) -> None:
    monkeypatch.setattr(type(st.context), "headers", {"Host": host})
    assert page.is_private() is is_private


def test_the_words_of_the_page_name_every_role_log_and_rule() -> None:
    names = catalogue("en").keys()
    assert {f"value.mapped.{role}" for role in WORDS} <= names
    assert {f"value.thing.{log}" for log in schema.LOG.tables} <= names
    rules = {
        rule
        for table in schema.LOG.tables.values()
        for rule, *_ in contracts.rules_of(
            table, {column.name: "VARCHAR" for column in table.columns} | {"_broken": "VARCHAR"}, datetime(2026, 1, 1)
        )
    }
    assert {f"value.broken.{rule}" for rule in rules} == {name for name in names if name.startswith("value.broken.")}
