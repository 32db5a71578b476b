"""Proposing a mapping.

Guess what the tables of files are and what their columns mean, and write the mapping that loads them. The guess reads
headings, a sample of rows and the names of files and sheets (`samples`, `headings`). It is a start for a person to
check, never a silent choice: what was assumed stands in the proposal as a comment.
"""

import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from pipelines.errors import SourceError
from pipelines.sources import fits, logs_of, registry
from pipelines.sources.choices import Choices, choices
from pipelines.sources.guesses import PRICES, Guess, files_of, guessed, merged_guesses, not_enough, told_once
from pipelines.sources.mapping import Mapping
from pipelines.sources.samples import samples
from pipelines.sources.shipped import Recognised, recognised, text_of
from pipelines.sources.tables.parts import cut

MOST_SHOWN = 400  # letters of columns that are not used
LABELS = {
    "order_id": "an order number",
    "ordered_at": "an order date",
    "product_id": "a SKU",
    "net_amount": "a net price",
    "received_at": "a return date",
    "refunded_at": "a refund date",
    "refund_amount": "a refunded amount",
    "unit_cost": "a unit cost",
    "requested_at": "a return request date",
    "tracking": "a tracking number",
    "weight_kg": "a weight",
    "mode": "a transport mode",
}


MADE = {
    "orders",
    "headers",
    "ledger",
    "returns",
    "refunds",
    "parcels",
    "events",
}  # kinds of tables that orders or returns are made of


KINDS = {
    "orders": "order lines",
    "items": "order lines without a date",
    "headers": "orders without lines",
    "ledger": "sales and returns in one table",
    "returns": "returns",
    "flags": "orders that came back, without a date",
    "refunds": "refunds",
    "parcels": "parcels",
    "events": "tracking events",
    "products": "products",
}


@dataclass(frozen=True)
class Proposal:
    """A proposed mapping.

    Its tables and choices, and from them its text, the pages it would fill and the column that would unlock most.
    """

    file: str
    tables: tuple[Guess, ...]
    choices: Choices
    name: str = ""
    paths: tuple[Path, ...] = field(default=())
    known: tuple[Recognised, tuple[Guess, ...]] = (Recognised(), ())

    @property
    def shipped(self) -> str:
        """The mappings that come with the product and have these headings.

        '' for none, and once a column was given another role.
        """
        return self.known[0].name if self.known[1] == self.tables else ""

    @property
    def roles(self) -> set[str]:
        """The roles that some table has a column for."""
        return {role for table in self.tables for role in table.roles}

    @property
    def columns(self) -> dict[str, str]:
        """The column of each role, of the first table that has one."""
        return {role: column for table in reversed(self.tables) for role, column in table.roles.items()}

    @property
    def unused(self) -> list[str]:
        """The columns without a role in any table of their file, lists that are tables of their own aside."""
        used = {(table.file, column) for table in self.tables for column in table.roles.values()}
        used |= {(table.file, str(table.read["each"])) for table in self.tables if table.kind and "each" in table.read}
        return list(dict.fromkeys(c for t in self.tables for c in t.header if (t.file, c) not in used))

    @property
    def pages(self) -> dict[str, bool]:
        """The pages, and whether the mapping would fill them."""
        return _pages(self.roles)

    @property
    def unlocks(self) -> str:
        """The one missing column that would fill most pages, as a sentence."""
        return _unlocks(self.roles)

    @cached_property
    def yaml(self) -> str:
        """The mapping as it is written to a file."""
        from pipelines.sources.mapping_text import written

        return text_of(self.known[0]) if self.shipped else written(self)

    @property
    def assumptions(self) -> list[str]:
        """What the mapping assumes, as its comments or its constants say it."""
        if self.shipped:
            constants = yaml.BaseLoader(self.yaml).get_single_data().get("constants", {})
            return [f"assumed: {k} {v}" for k, v in constants.items() if k in ("currency", "country")]
        return [line.split("#", 1)[1].strip() for line in self.yaml.splitlines() if re.search(r"#.*assumed", line)]

    @cached_property
    def files(self) -> list[Path]:
        """The files that the mapping reads."""
        from pipelines.sources.mapping_text import used

        return list(dict.fromkeys(f for t in self.tables for f in t.files)) if self.shipped else used(self)

    def command(self, mapping: str = "") -> str:
        """Give the command that loads the files with this mapping (or with the one that comes with the product)."""
        folders = [p for p in self.paths if p.is_dir()]
        single = [f for f in self.files if not any(f.is_relative_to(folder) for folder in folders)]
        used = [str(p) for p in (*folders, *single)]
        if self.shipped and len(self.known[0].files) > 1:
            return shlex.join(["backhaul", "load", *used])
        source = self.shipped or mapping or f"{self.name or Path(self.file).stem.split('.')[0]}.yaml"
        return shlex.join(["backhaul", "load", *used, "--source", source])

    def text(self, mapping: str = "") -> str:
        """Say in words what was found; the last line is the command to run."""
        if self.shipped:
            assumed = "".join(f"Assumed: {a.removeprefix('assumed: ')}\n" for a in self.assumptions)
            one = "a mapping that comes" if len(self.known[0].files) == 1 else "mappings that come"
            return (
                f"These are the headings of {self.shipped}, {one} with the product.\n{assumed}Load:\n{self.command()}"
            )
        tables = "; ".join(f"{t.place}: {KINDS[t.kind]}" if t.kind else f"{t.place}: not used" for t in self.tables)
        found = ", ".join(f"{column} = {role}" for role, column in self.columns.items()) or "none"
        filled = ", ".join(page for page, is_filled in self.pages.items() if is_filled) or "none"
        empty = ", ".join(page for page, is_filled in self.pages.items() if not is_filled)
        lines = [f"Tables: {tables}.", f"Columns found: {found}."]
        if self.unused:
            lines.append(f"Columns not used: {cut(self.unused, MOST_SHOWN)}.")
        lines += [f"Assumed: {a.removeprefix('assumed: ')}" for a in self.assumptions]
        lines.append(f"Pages it would fill: {filled}." + (f" Empty: {empty}." if empty else ""))
        lines.append(self.unlocks)
        return "\n".join([*lines, "Look the mapping over, then load:", self.command(mapping)])


def _check_repeated(table: Guess) -> None:
    """Raise SourceError where a column with a role is one of several with the same heading: a person has to choose."""
    places = {c: c.rpartition(" ")[0] for n, c in enumerate(table.header, start=1) if c.endswith(f" {n}")}
    for column in table.roles.values():
        alike = [c for c, heading in places.items() if heading.lower() == places.get(column, "").lower() and heading]
        if len(alike) > 1 and table.kind and places[column] != "column":
            raise SourceError(
                f"`{places[column][:60]}` stands twice or more in the header of {table.file.name[:40]}: nobody can tell"
                f" which is meant. Name one of them differently, or write a mapping that says `{alike[0][:40]}` or"
                f" `{alike[1][:40]}`."
            )


def propose(paths: Path | Sequence[Path]) -> Proposal:
    """Propose one mapping for files and folders of CSV, Excel, Parquet, NDJSON or JSON.

    Raises SourceError for a file that is none of these or has no row, and when neither orders nor returns can be seen.
    """
    proposal = guess(paths)
    for table in proposal.tables if not proposal.shipped else ():
        _check_repeated(table)
    if not any(t.rows for t in proposal.tables):
        raise SourceError(
            f"{proposal.file} has a header and no row: nothing says what its columns hold. Export it with its rows."
        )
    if not proposal.shipped and (source := _coded(proposal)):
        command = shlex.join(["backhaul", "load", *map(str, proposal.paths)])
        raise SourceError(f"{proposal.file} needs no mapping, for {source} knows it. Load it: {command}")
    if not proposal.shipped and not {t.kind for t in proposal.tables} & MADE:
        raise SourceError(not_enough(proposal.tables))
    _try(proposal)
    return proposal


def _coded(proposal: Proposal) -> str:
    """Give the source that is code and finds rows in all of the files; '' for none."""
    files = sorted({f for t in proposal.tables for f in t.files})
    for name, source in registry().items():
        if name != "canonical" and files and all(source.recognises([f]) for f in files) and fits(source, files):
            return name
    return ""


def _try(proposal: Proposal) -> None:
    """Compile the mapping over its own files: what the loader refuses is not proposed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mapping.yaml"
        path.write_text(proposal.yaml, encoding="utf-8")
        made = set(logs_of(Mapping(path), proposal.files)) & {"order_line", "return_event", "chain_element", "refund"}
        if not made and any(t.rows for t in proposal.tables):
            raise SourceError(not_enough(proposal.tables))


def guess(paths: Path | Sequence[Path]) -> Proposal:
    """Give what can be guessed of files, enough or not: a person may give the columns their roles."""
    given = [paths] if isinstance(paths, Path) else list(paths)
    files = files_of(given)
    found = [s for file in files for s in samples(file)]
    tables = told_once(merged_guesses([guessed(s) for s in found]))
    return Proposal(files[0].name, tables, choices(tables), paths=tuple(given), known=(recognised(found), tables))


def _pages(roles: set[str]) -> dict[str, bool]:
    """Say which pages roles fill."""
    sold = (
        bool({"order_id", "order_line_id"} & roles)
        and {"ordered_at", "product_id"} <= roles
        and bool(set(PRICES) & roles)
    )
    returned = bool({"requested_at", "received_at", "refunded_at"} & roles)
    identified = bool({"order_id", "order_line_id", "return_id", "tracking"} & roles)
    return {
        "Today": sold,
        "Returns": sold and returned,
        "Products": sold and returned and "product_id" in roles,
        "Refunds": (
            identified
            and len({"requested_at", "handed_over_at", "received_at", "inspected_at", "refunded_at"} & roles)
            + ("delivered_at" in roles and "promised_at" in roles)
            >= 2
        ),
        "Money": sold and returned and "unit_cost" in roles,
        "Carbon": (
            "tracking" in roles
            and bool({"mode", "weight_kg", "weight_g", "carrier"} & roles)
            and bool({"handed_over_at", "shipped_at", "received_at"} & roles)
        ),
    }


def _unlocks(roles: set[str]) -> str:
    """Name the one missing column that would fill most pages."""
    now = _pages(roles)
    gains = {role: sum(_pages(roles | {role}).values()) - sum(now.values()) for role in LABELS if role not in roles}
    best = max(gains, key=lambda role: gains[role], default=None)
    if best is None or all(now.values()):
        return "Nothing is missing: every page would be filled."
    if gains[best] == 0:
        page = next(page for page, is_filled in now.items() if not is_filled)
        return f"No single column would fill another page; {LABELS[best]} comes first (page {page})."
    opened = [page for page, is_filled in _pages(roles | {best}).items() if is_filled and not now[page]]
    return f"The one missing column that would unlock most: {LABELS[best]} (pages {', '.join(opened)})."
