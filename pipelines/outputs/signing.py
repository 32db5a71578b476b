"""The chain of closings: each one's record holds the checksum of the record before it.

A record is a short text, the same wherever it is made: what was signed, by whom, the checksum of the Parquet file, and
the checksum of the record before. Whoever changes a closing changes its record and breaks the link of the next one.
Closings from before there was a chain are its first links, in the order they were signed. A folder for somebody
outside holds the files, the records and their checksums, and needs `sha256sum` alone.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from pipelines.errors import ReportError
from pipelines.settings import Settings, write_whole
from pipelines.warehouse import state
from pipelines.warehouse.build import checksum
from pipelines.warehouse.state_tables import closed_month

FIRST = "none: this is the first"
SUMS, GUIDE = "SHA256SUMS", "HOW-TO-CHECK.txt"
_FIELDS = ("month", "number", "approver", "closed_at", "build_id", "factor_set", "kg_co2e", "note", "sha256")
_HOW = """Closed months of emissions, signed and chained. To check them with sha256sum alone:

1. In this folder, `sha256sum -c {sums}`: every file is as it was written.
2. Each record (NNN-MONTH-NUMBER.txt) names the checksum of its Parquet file, as {sums} has it.
3. Each record names under `previous` the checksum of the record before it, as {sums} has it.
4. The checksum of the last record is
   {last}
   Compare it with the one the company gave you when it signed: it stands for all records before it.

`backhaul verify FOLDER` does the same.
"""


@dataclass(frozen=True)
class Link:
    """One closing in the chain: the text of its record, that text's checksum, and what is wrong with it, if any."""

    position: int
    name: str
    text: str
    digest: str
    problem: str

    @property
    def sentence(self) -> str:
        """Say of the closing whether it is whole, or what breaks."""
        return f"{self.name}: {self.problem or 'whole'}."


def record(row: Mapping[str, Any], position: int, previous: str) -> str:
    """Write the record of a closing: a line a field; line breaks within a field are written as two characters.

    >>> print(record({"month": "2026-01", "number": 1, "approver": "A. Martin", "kg_co2e": 1.5}, 2, "9f3c").strip())
    Backhaul closing, record 2
    month: 2026-01
    number: 1
    approver: A. Martin
    closed_at:
    build_id:
    factor_set:
    kg_co2e: 1.5
    note:
    sha256:
    previous: 9f3c
    """

    def plain(value: Any) -> str:
        if isinstance(value, datetime):
            return value.isoformat(timespec="seconds")
        text = repr(value) if isinstance(value, float) else "" if value is None else str(value)
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")

    lines = [f"{name}: {plain(row.get(name))}".rstrip() for name in _FIELDS]
    return "\n".join([f"Backhaul closing, record {position}", *lines, f"previous: {previous}", ""])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _ordered(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Order closings as they were signed: those without a place in the chain came before it."""
    return sorted(rows, key=lambda r: (r["link"] or 0, r["closed_at"], r["month"], r["number"]))


def chain(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Link]:
    """Check closings as the state has them, against their files in a folder and against each other."""
    links: list[Link] = []
    previous, before = FIRST, ""
    for place, row in enumerate(_ordered(rows), start=1):
        name = f"{row['month']}-{row['number']}"
        position = row["link"] or place
        text = record(row, position, row["previous"] or previous)
        problem = _file_problem(folder / f"{name}.parquet", row["sha256"], row["approver"])
        if row["record"] and row["record"] != _digest(text):
            problem = f"its record is not what {row['approver']} signed for"
        elif row["previous"] and row["previous"] != previous:
            problem = _broken(before)
        links.append(Link(position, name, text, _digest(text), problem))
        previous, before = links[-1].digest, name
    return links


def _file_problem(path: Path, sha256: str, approver: str) -> str:
    if not path.is_file():
        return f"its file {path.name} is gone"
    return "" if checksum(path) == sha256 else f"its file {path.name} is not what {approver} signed for"


def _broken(before: str) -> str:
    of = f"to {before}" if before else "to what came first"
    return f"its link {of} is broken: what stood before it when it was signed was changed or is gone"


def next_link(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> dict[str, Any]:
    """Give a new closing its place: link, previous and record, to be kept with it."""
    links = chain(rows, Path())
    position = max((link.position for link in links), default=0) + 1
    previous = links[-1].digest if links else FIRST
    return {"link": position, "previous": previous, "record": _digest(record(row, position, previous))}


def verify(settings: Settings) -> list[Link]:
    """Check the closings of a warehouse, in the order they were signed."""
    state_file = state.State(settings.warehouse)
    try:
        return chain(state_file.rows(select(closed_month)), settings.warehouse / "closed")
    finally:
        state_file.close()


def export(settings: Settings, folder: Path) -> list[Link]:
    """Write the closings for somebody outside: files, records, checksums, and how to check them.

    Raises ReportError when a closing is not whole, there is none, or the folder holds something.
    """
    links = verify(settings)
    if not links:
        raise ReportError("No month is closed yet: `backhaul close MONTH`.")
    if broken := [link for link in links if link.problem]:
        raise ReportError(f"{broken[0].sentence} Put it back from a backup; nothing was written.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ReportError(f"{folder} holds something already. Name a folder that does not exist.")
    folder.mkdir(parents=True, exist_ok=True)
    sums = []
    for link in links:
        file = f"{link.name}.parquet"
        shutil.copyfile(settings.warehouse / "closed" / file, folder / file)
        write_whole(folder / _record_name(link), link.text)
        sums += [f"{checksum(folder / file)}  {file}", f"{link.digest}  {_record_name(link)}"]
    write_whole(folder / SUMS, "\n".join(sums) + "\n")
    write_whole(folder / GUIDE, _HOW.format(sums=SUMS, last=links[-1].digest))
    return links


def _record_name(link: Link) -> str:
    return f"{link.position:03d}-{link.name}.txt"


def verify_folder(folder: Path) -> list[Link]:
    """Check an exported folder: its records against their files, each other, and the checksums beside them.

    Raises ReportError when it holds no record.
    """
    records = sorted(folder.glob("[0-9][0-9][0-9]*-*.txt"), key=lambda path: int(path.stem.partition("-")[0]))
    if not records:
        raise ReportError(f"{folder} holds no closing. `backhaul closed --export FOLDER` writes one.")
    sums_file = folder / SUMS
    sums = sums_file.read_text(encoding="utf-8").splitlines() if sums_file.is_file() else []
    known = {name: digest for digest, _, name in (line.partition("  ") for line in sums)}
    links: list[Link] = []
    previous, before = FIRST, ""
    for path in records:
        text = path.read_bytes().decode("utf-8", "replace")
        said = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        position, _, name = path.stem.partition("-")
        digest = _digest(text)
        problem = _file_problem(folder / f"{name}.parquet", said.get("sha256", ""), said.get("approver", "somebody"))
        if known.get(path.name) != digest:
            problem = f"its record {path.name} is not the one whose checksum {SUMS} holds"
        elif said.get("previous") != previous:
            problem = _broken(before)
        links.append(Link(int(position), name, text, digest, problem))
        previous, before = digest, name
    if gone := sorted(set(known) - {p.name for p in folder.iterdir()}):
        links.append(Link(len(links) + 1, gone[0], "", "", "it is gone from the folder"))
    return links
