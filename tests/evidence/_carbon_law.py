"""What law wants told, through files and commands: JSON that validates, Art. 24 of a hand-made year, a chain."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from jsonschema import Draft202012Validator, FormatChecker

from pipelines.load import load
from pipelines.settings import Settings
from tests import hand_year
from tests.evidence import Claim

ROOT = Path(__file__).parents[2]


def claims(settings: Settings) -> Iterator[Claim]:
    """Claim the JSON of a year of the demo shop, the table of the hand-made year, and what a changed closing shows."""
    with tempfile.TemporaryDirectory() as place:
        yield _json(settings, Path(place))
        yield from _hand_made(Path(place))


def _said(settings: Settings, *words: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *map(str, words), "--warehouse", str(settings.warehouse)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=None,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _json(settings: Settings, place: Path) -> Claim:
    out = place / "chains.json"
    _said(settings, "report", out, "--from", "2025-02-01", "--to", "2026-01-31")
    found = json.loads(out.read_text(encoding="utf-8"))
    schema = json.loads((ROOT / "tests" / "fixtures" / "ileap.schema.json").read_text(encoding="utf-8"))
    check = Draft202012Validator(schema, format_checker=FormatChecker())
    valid = sum(check.is_valid(f) for f in found["data"])
    kinds = pd.Series([f["extensions"][0]["dataSchema"].rsplit("/", 1)[1] for f in found["data"]]).value_counts()
    told = ", ".join(f"{n:,} {str(k).removesuffix('.json')}" for k, n in kinds.items())
    return Claim(
        "JSON of a year: iLEAP objects in PACT envelopes",
        "all valid",
        f"{valid:,} of {len(found['data']):,} valid ({told}); {len(found['leftOut'])} left out with a reason",
        valid == len(found["data"]) > 1000,
    )


def _hand_made(place: Path) -> Iterator[Claim]:
    settings = Settings(warehouse=place / "warehouse")
    load(settings, [hand_year.write(place / "files")])
    out = place / "year.xlsx"
    _said(settings, "report", out, "--from", "2026-01-01", "--to", "2026-12-31")
    book = pd.read_excel(out, sheet_name=None, engine="openpyxl") if out.is_file() else {}
    table = book.get("discarded goods", pd.DataFrame(columns=["description", "packaging in the weight"]))
    rows = [
        tuple(str(v) for v in row)
        for row in table.drop(columns=["description", "packaging in the weight"]).fillna("").itertuples(index=False)
    ]
    wanted = [tuple(str(v) for v in row) for row in hand_year.LINES]
    yield Claim(
        "Art. 24 of a hand-made year, `backhaul report`: CN, units, kg, reason, treatments in % of weight",
        "the five lines worked out by hand",
        "; ".join(f"{r[0]}: {r[1]} units, {r[3]}{r[2]} kg, {r[4]}, {'/'.join(r[5:])}" for r in rows),
        rows == wanted,
    )
    gaps = book["Art. 24 gaps"].set_index("what")["units"] if book else pd.Series(dtype=int)
    counted = {str(k): int(v) for k, v in gaps[gaps > 0].items()}
    yield Claim(
        "Art. 24 of that year: what lacks and what is left out, in units",
        f"{len(hand_year.GAPS)} gaps, {sum(hand_year.GAPS.values())} units",
        f"{len(counted)} gaps, {sum(counted.values())} units",
        counted == hand_year.GAPS,
    )


def chained(settings: Settings) -> Iterator[Claim]:
    """Claim that closings are a chain an outsider can check; at least one month of the warehouse is closed."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "closings"
        _said(settings, "closed", "--export", out)
        whole, _ = _said(settings, "verify", out)
        sums = shutil.which("sha256sum")
        alone = (
            sums and subprocess.run([sums, "-c", "SHA256SUMS"], cwd=out, capture_output=True, check=False).returncode
        )
        record = next(iter(sorted(out.glob("001-*.txt"))))
        record.write_text(record.read_text(encoding="utf-8").replace("approver: ", "approver: not "), encoding="utf-8")
        changed, told = _said(settings, "verify", out)
        yield Claim(
            "Closings for somebody outside: whole as written, found out when a record is changed",
            "exit 0, sha256sum 0; then exit 1",
            f"exit {whole}, sha256sum {alone}; then exit {changed}: {told.strip().splitlines()[-1][:120]}",
            whole == 0 and not alone and changed == 1,
        )
