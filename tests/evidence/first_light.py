"""From real files to a page.

Every row accounted for, the same facts whatever the order of arrival, nothing lost to a kill. Third-party files are
found by BACKHAUL_TEST_DATA; without it their claims fall short.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb

from pipelines.load import load
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse import build, star
from tests.evidence import Claim

KEY = b"a key for tests, 32 bytes long.."
KILLS = 20


def claims() -> Iterator[Claim]:
    """Prove the claims of the first issue one after the other."""
    with tempfile.TemporaryDirectory(prefix="backhaul-evidence-") as folder:
        at = Path(folder)
        yield from online_retail(at / "online_retail")
        yield from shopify(at / "shopify")
        yield from demo(at / "demo")
        yield from same_facts(at / "same")
        yield from killed(at / "killed")
        yield from ratios(at / "bench")


def _settings(at: Path) -> Settings:
    settings = Settings(warehouse=at / "warehouse")
    at.mkdir(parents=True, exist_ok=True)
    settings.key_file.write_bytes(KEY)
    return settings


def _given(name: str) -> Path:
    return Path(os.environ["BACKHAUL_TEST_DATA"]) / name


def _open(settings: Settings) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        str(build.build_path(settings.warehouse, build.current_id(settings.warehouse) or "")), read_only=True
    )


def online_retail(at: Path) -> Iterator[Claim]:
    """Load the real invoice file and compare with its own sums."""
    file = _given("uci_online_retail/online_retail_2010-12_to_2011-08.parquet")
    settings = _settings(at)
    report = load(settings, [file], source="online_retail")
    read = sum(c["read"] for c in report.counts)
    kept = sum(c["accepted"] + c["duplicate"] + c["quarantined"] for c in report.counts)
    yield Claim(
        "Online Retail: every row is accounted for",
        "320,705 read = accepted + duplicate + quarantined",
        f"{read:,} read, {kept:,} accounted for",
        read == kept == 320_705,
    )
    raw = (
        duckdb.connect()
        .execute(f"""
        SELECT sum(CAST(Quantity AS DECIMAL(18, 4)) * CAST(UnitPrice AS DECIMAL(18,
            4))) FILTER (InvoiceNo NOT LIKE 'C%'),
            -sum(CAST(Quantity AS DECIMAL(18, 4)) * CAST(UnitPrice AS DECIMAL(18, 4))) FILTER (InvoiceNo LIKE 'C%')
                FROM '{file}'
    """)
        .fetchone()
    )
    assert raw is not None
    built = _open(settings)
    sales = built.execute("SELECT sum(net_amount) FROM fact_order_line").fetchall()[0][0]
    credits = built.execute("SELECT sum(amount) FROM fact_refund_line").fetchall()[0][0]
    cent = Decimal("0.01")
    yield Claim(
        "Online Retail: sales agree with the file's own sum",
        f"{raw[0]:,.2f} to the penny",
        f"{sales:,.2f}",
        abs(sales - raw[0]) < cent,
    )
    yield Claim(
        "Online Retail: credits agree with the file's own sum",
        f"{raw[1]:,.2f} to the penny",
        f"{credits:,.2f}",
        abs(credits - raw[1]) < cent,
    )
    lines, matched, cancelled, open_value = built.execute("""
        SELECT count(*), count(m.return_line_key), count(*) FILTER (m.is_cancellation),
            sum(refund_amount) FILTER (m.return_line_key IS NULL)
        FROM fact_return_line LEFT JOIN estimate_credit_match m USING (return_line_key)
    """).fetchall()[0]
    yield Claim(
        "Online Retail: each credit is matched or counted",
        "matched + unmatched = credits of goods, with the value unmatched",
        f"{lines:,} credits: {matched:,} matched ({cancelled:,} of them same-hour cancellations), {lines - matched:,}"
        f" not, worth {open_value:,.2f} GBP",
        matched > 0 and cancelled > 0,
    )
    wrong = built.execute(
        "SELECT count(*) FROM dim_product WHERE product_id SIMILAR TO"
        " 'online_retail:(POST|DOT|M|D|S|C2|B|m|CRUK|AMAZONFEE|BANK CHARGES|gift_.*)'"
    ).fetchall()[0][0]
    yield Claim("Online Retail: codes that are not goods are not products", "0", str(wrong), wrong == 0)
    built.close()


def shopify(at: Path) -> Iterator[Claim]:
    """Load the API's own responses."""
    settings = _settings(at)
    load(settings, [_given("shopify/api_2026_07")], source="shopify")
    built = _open(settings)
    amount, lines, difference = built.execute(
        "SELECT amount, lines_amount, discrepancy_amount FROM fact_refund WHERE refund_id = 'shopify:509562969'"
    ).fetchall()[0]
    holds = (float(amount), float(lines), round(float(difference), 2)) == (209.0, 399.29, -190.29)
    yield Claim(
        "Shopify: refund 509562969 keeps both sums",
        "lines 399.29, transaction 209.00",
        f"lines {lines:.2f}, transaction {amount:.2f}, discrepancy {difference:.2f}",
        holds,
    )
    built.close()


def demo(at: Path) -> Iterator[Claim]:
    """Make the demonstration shop as a newcomer does."""
    at.mkdir(parents=True)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "demo", "--no-dashboard", "--warehouse", str(at / "warehouse")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - started
    yield Claim(
        "The demonstration shop of 200,000 order lines is ready",
        "within 120 s on two cores",
        f"{seconds:.0f} s",
        seconds <= 120,
    )


def _fingerprint(settings: Settings) -> dict[str, str]:
    """Give an order-free checksum of every fact and dimension."""
    built = _open(settings)
    tables = [t for t in star.STAR.tables if t.startswith(("fact_", "dim_"))]
    prints = {
        t: str(built.execute(f"SELECT count(*), bit_xor(md5_number_lower(t::VARCHAR)) FROM {t} t").fetchall())
        for t in tables
    }
    built.close()
    return prints


def _shuffled(files: Path, target: Path) -> Path:
    """Copy canonical files with their rows in another order."""
    connection = duckdb.connect()
    for number, file in enumerate(sorted(f for f in files.rglob("*") if f.is_file())):
        copy = target / file.relative_to(files)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            connection.execute(f"COPY (SELECT * FROM '{file}' ORDER BY random()) TO '{copy}'")
            continue
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        head, body = (lines[:1], lines[1:]) if file.suffix == ".csv" else ([], lines)
        random.Random(number).shuffle(body)
        copy.write_text(
            "".join([*head, *(line if line.endswith("\n") else line + "\n" for line in body)]), encoding="utf-8"
        )
    connection.close()
    return target


def same_facts(at: Path) -> Iterator[Claim]:
    """Load one shop whole, twice, in two parts, and shuffled."""
    files = at / "files"
    write_sample(files, 20_000, 11)
    whole = _settings(at / "whole")
    load(whole, [files])
    expected = _fingerprint(whole)
    again = load(whole, [files])
    yield Claim(
        "Loading the same files twice",
        "changes nothing and says so",
        "no new build" if not again.is_new_build else "a new build",
        not again.is_new_build and _fingerprint(whole) == expected,
    )
    shuffled = _settings(at / "shuffled")
    load(shuffled, [_shuffled(files, at / "shuffled-files")])
    differing = [t for t, v in _fingerprint(shuffled).items() if v != expected[t]]
    yield Claim(
        "Loading the same rows shuffled",
        "identical facts and dimensions",
        f"{len(expected) - len(differing)} of {len(expected)} tables identical",
        not differing,
    )
    parts = _settings(at / "parts")
    listed = sorted(f for f in files.rglob("*") if f.is_file())
    orders = [f for f in listed if f.name.startswith("order_line")]
    later = set(orders[len(orders) // 2 :]) | {f for f in listed if "recovery" in f.name or "chain" in f.name}
    load(parts, [f for f in listed if f not in later])
    load(parts, sorted(later))
    differing = [t for t, v in _fingerprint(parts).items() if v != expected[t]]
    yield Claim(
        "Loading in two parts, returns before their orders",
        "identical facts and dimensions",
        f"{len(expected) - len(differing)} of {len(expected)} tables identical",
        not differing,
    )
    retail = _given("uci_online_retail/online_retail_2010-12_to_2011-08.parquet")
    halves = [at / "half-1.parquet", at / "half-2.parquet"]
    for number, half in enumerate(halves):
        duckdb.execute(
            f"COPY (SELECT * FROM '{retail}' WHERE CAST(regexp_extract(InvoiceNo, '[0-9]+') AS INTEGER) % 2 = {number})"
            f" TO '{half}'"
        )
    one, two = _settings(at / "one"), _settings(at / "two")
    load(one, [retail], source="online_retail")
    for half in halves:
        load(two, [half], source="online_retail")
    expected = _fingerprint(one)
    differing = [t for t, v in _fingerprint(two).items() if v != expected[t]]
    yield Claim(
        "Online Retail in two halves, split between invoices",
        "identical facts and dimensions",
        f"{len(expected) - len(differing)} of {len(expected)} tables identical ({', '.join(differing) or 'all'})",
        not differing,
    )


def killed(at: Path) -> Iterator[Claim]:
    """Kill a load at twenty moments spread over its run; readers stay, the next load completes it."""
    first, second = at / "first", at / "second"
    write_sample(first, 2_000, 5)
    write_sample(second, 20_000, 6)
    base = _settings(at / "base")
    load(base, [first], namespace="one")
    old = build.current_id(base.warehouse)
    reference = _settings(at / "reference")
    for files, name in ((first, "one"), (second, "two")):
        started = time.perf_counter()
        load(reference, [files], namespace=name)
        seconds = time.perf_counter() - started
    expected = _fingerprint(reference)
    script = (
        "import sys; from pathlib import Path; from pipelines.load import load; from pipelines.settings import"
        " Settings; load(Settings(warehouse=Path(sys.argv[1])), [Path(sys.argv[2])], namespace='two')"
    )
    stayed = completed = interrupted = 0
    for moment in range(KILLS):
        trial = at / f"trial-{moment}"
        shutil.copytree(at / "base", trial)
        settings = Settings(warehouse=trial / "warehouse")
        process = subprocess.Popen([sys.executable, "-c", script, str(settings.warehouse), str(second)])
        time.sleep((seconds + 1.5) * (moment + 1) / (KILLS + 1))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            interrupted += 1
        process.wait()
        current = build.current_id(settings.warehouse)
        reader = build.current_build(settings.warehouse)
        stayed += current == old or _fingerprint(settings) == expected
        reader.close()
        load(settings)  # without a path: completes what has landed
        if _fingerprint(settings) != expected:  # killed before the files had landed: nothing was promised yet
            load(settings, [second], namespace="two")
        completed += _fingerprint(settings) == expected
        shutil.rmtree(trial)
    yield Claim(
        "A load killed at twenty moments leaves readers on a whole build",
        f"{KILLS} of {KILLS}",
        f"{stayed} of {KILLS} ({interrupted} killed while running)",
        stayed == KILLS,
    )
    yield Claim(
        "The next load completes it",
        f"{KILLS} of {KILLS}, identical facts",
        f"{completed} of {KILLS}",
        completed == KILLS,
    )


def ratios(at: Path) -> Iterator[Claim]:
    """Run the benchmark and take its ratios over."""
    at.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-m", "tests.bench", "--only", "ratios", "--json", str(at / "bench.json")], check=True
    )
    for row in json.loads((at / "bench.json").read_text()):
        if row["name"] in ("load", "load of 1% new events", "metrics, median", "metrics, slowest"):
            yield Claim(
                f"Benchmark: {row['name']}",
                f"at most {row['bar']}x",
                f"{row['value']:.2f}x of {row['yardstick']}",
                row["holds"],
            )
