"""`tiny_shop`: a shop small enough to check by hand, and the warehouse made of it.

Six orders, four returns, one refund without goods, one exchange, one lost parcel. Prices exclude 20% VAT.

| line  | product  | sold | net | returned                                                                      |
|-------|----------|------|-----|-------------------------------------------------------------------------------|
| O1-1  | DRESS-S  | 1    |  50 | R1: asked 5 Dec, scanned 7th, received 10th, inspected 11th, paid 12th, restocked |
| O1-2  | DRESS-M  | 1    |  50 | kept (the order holds two sizes of the dress)                                  |
| O2-1  | SHOE-42  | 2    | 160 | R2: both units, inspected apart: one as new, one b_stock, so two lots          |
| O3-1  | DRESS-M  | 1    |  50 | R3: exchanged in the store, replaced by O3-2 (not a sold unit)                 |
| O4-1  | SHOE-42  | 1    |  80 | R4: scanned 22 Dec, lost on 5 Jan                                              |
| O5-1  | DRESS-S  | 1    |  50 | kept; shipping of 5.00 paid back                                               |
| O6-1  | DRESS-M  | 2    | 100 | kept; a third unit was cancelled before shipping                               |

9 units sold for 540; 4 came back: 4/9 = .4444.
"""

import csv
import fcntl
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import hypothesis
import pytest
from filelock import FileLock

from pipelines import alerts, cli, estimate
from pipelines.load import checks, load
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from tests import turns
from tests.browsing import launched

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")
os.environ["BACKHAUL_WARM_MINUTES"] = "0"  # servers of tests answer when they are asked; test_memory warms one
FUZZ = int(os.environ.get("BACKHAUL_FUZZ", "1"))
"""How many times as many examples are drawn as in a run of the tests."""


LONGEST = (
    "reach",
    "load",
    "within",
    "any_shop",
    "browser",
    "forget",
    "work",
    "versions",
    "dashboard",
    "sign_in",
    "rows",
    "hostile_text",
    "engines",
    "logs",
    "never_stuck",
    "places",
    "elsewhere",
    "disturbed",
    "subscriptions",
    "personal_data",
)
"""Files of tests that take longest, in this order: begun first, none of them is left to one worker at the end."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect one worker after the other: what the first one compiles, the others read."""
    with Path(__file__).open("rb") as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """Begin with the longest files, leave out what the proofs run; the order within a file stays."""
    ranks = {f"test_{name}.py": rank for rank, name in enumerate(LONGEST)}
    items[:] = sorted(turns.kept(items, config), key=lambda item: ranks.get(item.path.name, len(ranks)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what was imported and collected out of the collection of garbage: it stays to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def light_runs() -> Iterator[None]:
    """Pages run by AppTest are compiled once, and no run ends in a collection of all garbage, as a server's do."""
    if "streamlit.testing.v1" not in sys.modules:  # of all tests that were collected none opens a page
        yield
        return
    from streamlit import config

    from tests import pages

    config.set_option("runner.postScriptGC", False)
    config.set_option("browser.gatherUsageStats", False)  # as the pages are served
    with pages.lightly_run():
        yield


def _rows(names: str, *rows: str) -> list[dict[str, str]]:
    """Read rows written as text, values separated by blanks; `-` is empty."""
    columns = names.split()
    return [dict(zip(columns, ["" if v == "-" else v for v in row.split()], strict=True)) for row in rows]


TINY_SHOP: dict[str, list[dict[str, str]]] = {
    "shop": _rows(
        "shop_id valid_from brand market channel currency time_zone",
        "FR 2025-01-01T00:00:00Z Tilleul FR web EUR Europe/Paris",
    ),
    "product": _rows(
        "product_id valid_from style_id name category brand size weight_kg list_price unit_cost currency",
        "DRESS-S 2025-01-01T00:00:00Z DRESS Dress dresses Tilleul S 0.4 50 20 EUR",
        "DRESS-M 2025-01-01T00:00:00Z DRESS Dress dresses Tilleul M 0.4 50 20 EUR",
        "SHOE-42 2025-01-01T00:00:00Z SHOE Shoe footwear Tilleul 42 0.9 80 30 EUR",
    ),
    "place": _rows(
        "place_id valid_from kind name country area latitude longitude time_zone",
        "DROP 2025-01-01T00:00:00Z drop_off Paris FR FR-75 48.86 2.35 Europe/Paris",
        "HUB 2025-01-01T00:00:00Z hub Orly FR FR-94 48.74 2.39 Europe/Paris",
        "RC 2025-01-01T00:00:00Z returns_centre Lille FR FR-59 50.63 3.06 Europe/Paris",
        "STORE 2025-01-01T00:00:00Z store Lyon FR FR-69 45.76 4.84 Europe/Paris",
    ),
    "policy": _rows(
        "policy_id valid_from window_days promise_id from_stage to_stage duration duration_unit responsible",
        "P 2025-01-01T00:00:00Z 30 refund received refunded 5 business_days retailer",
        "P 2025-01-01T00:00:00Z 30 whole requested refunded 14 calendar_days retailer",
    ),
    "order_line": _rows(
        "order_line_id order_id ordered_at product_id units units_cancelled net_amount vat_amount currency customer_id "
        "customer_area country shop_id channel shipped_at delivered_at exchanged_from_line_id outbound_cost"
        " payment_fee",
        "O1-1 O1 2025-12-01T10:00:00Z DRESS-S 1 0 50 10 EUR anne@example.org 75011 FR FR web 2025-12-02T08:00:00Z"
        " 2025-12-03T10:00:00Z - 3 1",
        "O1-2 O1 2025-12-01T10:00:00Z DRESS-M 1 0 50 10 EUR anne@example.org 75011 FR FR web 2025-12-02T08:00:00Z"
        " 2025-12-03T10:00:00Z - 3 1",
        "O2-1 O2 2025-12-05T23:30:00Z SHOE-42 2 0 160 32 EUR c2 69003 FR FR web 2025-12-06T08:00:00Z"
        " 2025-12-08T10:00:00Z - 4 2",
        "O3-1 O3 2025-12-10T10:00:00Z DRESS-M 1 0 50 10 EUR c3 69003 FR FR web 2025-12-11T08:00:00Z"
        " 2025-12-12T10:00:00Z - 3 1",
        "O3-2 O3 2025-12-20T10:00:00Z DRESS-S 1 0 50 10 EUR c3 69003 FR FR web 2025-12-20T12:00:00Z"
        " 2025-12-22T10:00:00Z O3-1 3 0",
        "O4-1 O4 2025-12-15T10:00:00Z SHOE-42 1 0 80 16 EUR c4 59000 FR FR web 2025-12-16T08:00:00Z"
        " 2025-12-17T10:00:00Z - 4 1",
        "O5-1 O5 2025-12-20T10:00:00Z DRESS-S 1 0 50 10 EUR c5 13001 FR FR web 2025-12-21T08:00:00Z"
        " 2025-12-22T10:00:00Z - 3 1",
        "O6-1 O6 2026-01-10T10:00:00Z DRESS-M 3 1 150 30 EUR c6 75011 FR FR web 2026-01-12T08:00:00Z"
        " 2026-01-13T10:00:00Z - 3 1",
    ),
    "return_event": _rows(
        "event_id return_line_id return_id order_line_id parcel_id event occurred_at units place_id carrier method"
        " condition disposition reason_raw return_type",
        "1 R1-1 R1 O1-1 P1 requested 2025-12-05T09:00:00Z 1 - - drop_off - - size_small withdrawal",
        "2 R1-1 R1 O1-1 P1 handed_over 2025-12-07T09:00:00Z 1 DROP Relais drop_off - - - -",
        "3 R1-1 R1 O1-1 P1 carrier_scan 2025-12-07T18:00:00Z 1 HUB Relais - - - - -",
        "4 R1-1 R1 O1-1 P1 received 2025-12-10T09:00:00Z 1 RC - - - - - -",
        "5 R1-1 R1 O1-1 P1 inspected 2025-12-11T09:00:00Z 1 RC - - a as_new - -",
        "6 R1-1 R1 O1-1 P1 refunded 2025-12-12T09:00:00Z 1 - - - - - - -",
        "7 R1-1 R1 O1-1 P1 restocked 2025-12-12T10:00:00Z 1 RC - - - as_new - -",
        "8 R2-1 R2 O2-1 P2 requested 2025-12-12T09:00:00Z 2 - - drop_off - - quality_defect withdrawal",
        "9 R2-1 R2 O2-1 P2 carrier_scan 2025-12-13T09:00:00Z 2 HUB Relais drop_off - - - -",
        "10 R2-1 R2 O2-1 P2 received 2025-12-16T09:00:00Z 2 RC - - - - - -",
        "11 R2-1 R2 O2-1 P2 inspected 2025-12-17T09:00:00Z 1 RC - - a as_new - -",
        "12 R2-1 R2 O2-1 P2 inspected 2025-12-18T09:00:00Z 1 RC - - c b_stock - -",
        "13 R2-1 R2 O2-1 P2 refunded 2025-12-19T09:00:00Z 2 - - - - - - -",
        "14 R3-1 R3 O3-1 - requested 2025-12-15T14:00:00Z 1 STORE - store - - size_large exchange",
        "15 R3-1 R3 O3-1 - received 2025-12-15T14:00:00Z 1 STORE - store - - - -",
        "16 R3-1 R3 O3-1 - inspected 2025-12-15T14:00:00Z 1 STORE - store a as_new - -",
        "17 R3-1 R3 O3-1 - exchanged 2025-12-20T10:00:00Z 1 - - - - - - -",
        "18 R3-1 R3 O3-1 - restocked 2025-12-16T10:00:00Z 1 STORE - - - as_new - -",
        "19 R4-1 R4 O4-1 P4 requested 2025-12-20T09:00:00Z 1 - - drop_off - - changed_mind withdrawal",
        "20 R4-1 R4 O4-1 P4 carrier_scan 2025-12-22T09:00:00Z 1 HUB Relais drop_off - - - -",
        "21 R4-1 R4 O4-1 P4 lost 2026-01-05T09:00:00Z 1 - - - - - - -",
    ),
    "chain_element": _rows(
        "element_id parcel_id element_no element_type role from_place_id to_place_id started_at carrier mode vehicle"
        " mass_kg distance_km trip_share cost_amount currency",
        "E1 P1 1 transport first_mile DROP HUB 2025-12-07T10:00:00Z Relais van van_diesel 0.8 20 - - -",
        "E2 P1 2 transport trunk HUB RC 2025-12-08T10:00:00Z Relais truck truck_artic 0.8 250 - 4 EUR",
        "E3 P2 1 transport trunk HUB RC 2025-12-14T10:00:00Z Relais truck truck_artic 2 - - 5 EUR",
        "E4 P4 1 transport first_mile DROP HUB 2025-12-22T10:00:00Z Relais van van_diesel - - - - -",
    ),
    "refund": _rows(
        "refund_id order_id return_id refunded_at amount currency kind",
        "F1 O1 R1 2025-12-12T09:00:00Z 60 EUR original",
        "F2 O2 R2 2025-12-19T09:00:00Z 190 EUR original",
        "F3 O5 - 2025-12-24T09:00:00Z 5 EUR original",
    ),
    "refund_line": _rows(
        "refund_line_id refund_id order_line_id return_line_id refunded_at units amount vat_amount currency"
        " restock_type",
        "F1-1 F1 O1-1 R1-1 2025-12-12T09:00:00Z 1 60 10 EUR return",
        "F2-1 F2 O2-1 R2-1 2025-12-19T09:00:00Z 2 192 32 EUR return",
        "F3-1 F3 - - 2025-12-24T09:00:00Z 0 5 0.83 EUR shipping",
    ),
    "recovery": _rows(
        "recovery_id return_line_id recovered_at units disposition grade amount treatment_cost currency",
        "V1 R1-1 2025-12-20T09:00:00Z 1 as_new a 48 0 EUR",
        "V2 R2-1 2026-01-20T09:00:00Z 1 b_stock c 15 2 EUR",
    ),
}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def write_shop(folder: Path, shop: dict[str, list[dict[str, str]]] = TINY_SHOP) -> Path:
    """Write a shop's rows as one canonical CSV a log."""
    for thing, rows in shop.items():
        write_rows(folder / f"{thing}.csv", rows)
    return folder


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("tiny_files"))


def fresh(folder: Path) -> Settings:
    """A warehouse that does not exist yet, with the key all tests share: hashes are comparable between warehouses."""
    settings = Settings(warehouse=folder / "warehouse", threads=1)  # two workers have two cores
    settings.key_file.parent.mkdir(parents=True, exist_ok=True)
    settings.key_file.write_bytes(b"a key for tests, 32 bytes long..")
    settings.key_file.chmod(0o600)
    return settings


@pytest.fixture(scope="session")
def tiny_settings(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, tiny_files: Path) -> Settings:
    """The tiny shop, loaded."""
    made = made_once(pytestconfig, tmp_path_factory, "tiny", lambda folder: load(fresh(folder), [tiny_files]))
    return fresh(made)


@pytest.fixture(scope="session")
def tiny_build(tiny_settings: Settings) -> Iterator[Build]:
    build = current_build(tiny_settings.warehouse)
    yield build
    build.close()


def made_once(
    config: pytest.Config, factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """Give this worker its own copy of a folder that `make` fills: the first worker to ask makes it, the others wait.

    One that is killed in the making leaves a folder of another name behind, and the next makes it anew.
    """
    own = factory.getbasetemp()
    home = own.parent if hasattr(config, "workerinput") else own  # the folder of this run, never another's
    made = home / f"{name}-made"
    with FileLock(home / f"{name}.lock"):
        if not made.exists():
            unfinished = home / f"{name}-unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            MAKING.append(name)
            make(unfinished)
            MAKING.remove(name)
            unfinished.rename(made)
    return Path(shutil.copytree(made, factory.mktemp(name), dirs_exist_ok=True))


def _make_sample(folder: Path) -> None:
    write_sample(folder / "raw", 20_000, 3)
    load(fresh(folder), [folder / "raw"])


@pytest.fixture(scope="session")
def sample_settings(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A sample shop of 20,000 order lines, loaded."""
    return fresh(made_once(pytestconfig, tmp_path_factory, "sample", _make_sample))


def _make_few(folder: Path) -> None:
    write_sample(folder / "raw", 3_000, 11)
    load(fresh(folder), [folder / "raw"], source="canonical")


@pytest.fixture(scope="session")
def few_settings(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A sample shop of 3,000 order lines, loaded."""
    return fresh(made_once(pytestconfig, tmp_path_factory, "few", _make_few))


@pytest.fixture(scope="session")
def markets_settings(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The shop of two markets (tests/two_markets.py), loaded: a test that writes takes a copy."""
    from tests.any_shop import Delivery, write
    from tests.two_markets import whole

    def make(folder: Path) -> None:
        load(fresh(folder), write(folder / "files", Delivery(whole(60))), namespace="s")

    return fresh(made_once(pytestconfig, tmp_path_factory, "markets", make))


@pytest.fixture(scope="session")
def sample_build(sample_settings: Settings) -> Iterator[Build]:
    build = current_build(sample_settings.warehouse)
    yield build
    build.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium: a module's, for Playwright runs a loop of events in which other tests could start none."""
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def third_party() -> Path:
    """The folder of third-party data, where there is one."""
    folder = os.environ.get("BACKHAUL_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("missing data: set BACKHAUL_TEST_DATA to the folder of third-party data")
    return Path(folder)


MAKING: list[str] = []
"""What is being made of which nothing is left out: what `made_once` makes is for every test."""


def left_out(step: Callable[..., Any], nothing: Any = None) -> Callable[..., Any]:
    """Give a step of a load that is left out, but for what is made whole; the proofs leave nothing out."""
    if turns.IS_WHOLE:
        return step
    return lambda *args, **options: step(*args, **options) if MAKING else nothing


@pytest.fixture(scope="module")
def no_rules() -> Iterator[None]:
    """Evaluate no alert rule after a load: a sixth of what it takes, and of no use where loads are the subject."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(alerts, "record", left_out(alerts.record, []))
        yield


@pytest.fixture
def every_step() -> Iterator[None]:
    """Leave nothing out of the loads of one test, whatever its module leaves out."""
    MAKING.append("a test")
    yield
    MAKING.remove("a test")


FITTED = {
    estimate.late_refund: "late_refunds",
    estimate.breach: "breach_risk",
    estimate.stage_pace: "stage_pace",
    estimate.curves: "rates",
    estimate.probability: "probability",
}
"""Steps of a load that fit what is to come."""
OTHERS = {
    estimate.promises: "promises",
    estimate.leg_cost: "legs",
    estimate.return_cost: "returns",
    estimate.goods: "avoided",
}


@contextmanager
def without(steps: dict[ModuleType, str]) -> Iterator[None]:
    """Leave steps out of every load but of what is made whole."""
    with pytest.MonkeyPatch.context() as patched:
        for module, name in steps.items():
            patched.setattr(module, name, left_out(getattr(module, name)))
        yield


@pytest.fixture(scope="module")
def nothing_fitted(no_rules: None) -> Iterator[None]:
    """Let loads fit nothing of what is to come, a quarter of what they take: promises, legs and costs are there."""
    with without(FITTED):
        yield


def _of_facts(connection: duckdb.DuckDBPyConnection, *, is_increment: bool = False) -> list[checks.Result]:
    """Run the checks that look at no estimate."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checks, "CHECKS", tuple(c for c in checks.CHECKS if "estimate_" not in c.sql))
        return _run_checks(connection, is_increment=is_increment)


_run_checks = checks.run


@pytest.fixture(scope="module")
def facts_alone(no_rules: None) -> Iterator[None]:
    """Let loads make facts and no estimates: two fifths of what they take, for tests that look at facts alone."""
    with pytest.MonkeyPatch.context() as patched, without(FITTED | OTHERS):
        if not turns.IS_WHOLE:
            patched.setattr(checks, "run", lambda *a, **k: (_run_checks if MAKING else _of_facts)(*a, **k))
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return fresh(tmp_path)


def copied(settings: Settings, folder: Path) -> Settings:
    """Copy a warehouse that was loaded with the key of all tests, with its raw files, into a folder."""
    target = fresh(folder)
    for given, copy in ((settings.warehouse, target.warehouse), (settings.raw, target.raw)):
        shutil.copytree(given, copy)
    return target


@pytest.fixture
def copy_of_tiny(tmp_path: Path, tiny_settings: Settings) -> Settings:
    """A warehouse with the tiny shop that a test may change."""
    return copied(tiny_settings, tmp_path)


@contextmanager
def put_back(settings: Settings) -> Iterator[Settings]:
    """Put back after a test what people wrote into a warehouse: for a test that loads nothing.

    The build stays where it is, so pages know what was read of it before; a copy would be read anew.
    """
    home, heavy = settings.warehouse, {"builds", "log"}
    with tempfile.TemporaryDirectory() as place:
        before = Path(place) / "before"
        shutil.copytree(home, before, ignore=lambda at, _: heavy if Path(at) == home else ())
        build = (home / "current").read_text()
        try:
            yield settings
        finally:
            assert (home / "current").read_text() == build, "a test that loads takes a copy"
            for path in home.iterdir():
                if path.is_dir() and path.name not in heavy:
                    shutil.rmtree(path)
                elif not path.is_dir():
                    path.unlink()
            shutil.copytree(before, home, copy_function=shutil.copy, dirs_exist_ok=True)


@pytest.fixture
def desk_of_tiny(tiny_settings: Settings) -> Iterator[Settings]:
    """The warehouse of the tiny shop, where a test may write what people write; it loads nothing."""
    with put_back(tiny_settings) as settings:
        yield settings


@pytest.fixture
def desk_of_sample(sample_settings: Settings) -> Iterator[Settings]:
    """The warehouse of the sample shop, where a test may write what people write; it loads nothing."""
    with put_back(sample_settings) as settings:
        yield settings


def ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path
) -> tuple[int, str, str]:
    """Run the command line as a shell does: exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["backhaul", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "300")
    code = 0
    try:
        cli.main()
    except SystemExit as error:
        code = int(error.code or 0)
    return (code, *capsys.readouterr())
