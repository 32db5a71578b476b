"""Proposing a mapping.

Guess what the tables of files are and what their columns mean, and write the mapping that loads them. The guess reads
headings, a sample of rows and the names of files and sheets (`samples`, `headings`). It is a start for a person to
check, never a silent choice: what was assumed stands in the proposal as a comment.
"""

import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import SourceError
from pipelines.sources import fits, headings, logs_of, registry
from pipelines.sources.headings import NO, TIMES, WORDS, meaning, plain
from pipelines.sources.mapping import Mapping
from pipelines.sources.samples import Sample, samples
from pipelines.sources.shipped import Recognised, recognised, text_of
from pipelines.sources.tables import cut

PRICES = ("net_amount", "net_unit_price", "gross_amount", "gross_unit_price", "amount", "unit_price")
# role -> event of ours, in the order in which they happen
STAGES = {
    "requested_at": "requested",
    "approved_at": "approved",
    "label_issued_at": "label_issued",
    "handed_over_at": "handed_over",
    "carrier_scan_at": "carrier_scan",
    "received_at": "received",
    "inspected_at": "inspected",
    "refunded_at": "refunded",
    "restocked_at": "restocked",
    "rejected_at": "rejected",
}
RETURN_ROLES = {
    "return_id",
    "return_line_id",
    "units_returned",
    "reason_raw",
    "disposition",
    "received_at",
    "requested_at",
    "approved_at",
    "inspected_at",
    "restocked_at",
    "handed_over_at",
}
MOVES = {"handed_over_at", "shipped_at", "delivered_at", "promised_at", "mode", "weight_kg", "weight_g", "freight"}
ORDER = (
    "shipped_at",
    "delivered_at",
    "units_cancelled",
    "currency",
    "country",
    "customer_id",
    "customer_area",
    "channel",
)
PRODUCT = ("name", "category", "brand", "size", "colour", "unit_cost", "weight_kg")
# words in names of files, sheets and lists that say what a table holds
SAYS = {
    "returns": r"return|retour|retoure|ruck|devol|devuel|resi\b|reso\b|restitu|terug|rma",
    "refunds": r"refund|remboursement|avoir|erstattung|gutschrift|reembols|abono|rimbors|terugbetal|credit note",
    "orders": (
        r"order|commande|bestell|auftrag|auftraege|pedido|venta|ordini|vendite|sale|vente|verkauf|verkoop|invoice|transaction"
    ),
    "products": r"product|produit|artikel|article|catalog|item|sku|articulo|prodott",
    "events": r"track|event|scan|evenement|ereignis|checkpoint",
    "parcels": r"ship|parcel|colis|sendung|envio|spediz|zending|carrier",
}
ZONES = {
    "PDT": "America/Los_Angeles",
    "PST": "America/Los_Angeles",
    "MDT": "America/Denver",
    "MST": "America/Denver",
    "CDT": "America/Chicago",
    "CST": "America/Chicago",
    "EDT": "America/New_York",
    "EST": "America/New_York",
    "BST": "Europe/London",
    "CET": "Europe/Berlin",
    "CEST": "Europe/Berlin",
    "MEZ": "Europe/Berlin",
    "MESZ": "Europe/Berlin",
    "JST": "Asia/Tokyo",
    "AEST": "Australia/Sydney",
    "AEDT": "Australia/Sydney",
}
COUNTRY_OF_LANGUAGE = {"French": "FR", "German": "DE", "Spanish": "ES", "Italian": "IT", "Dutch": "NL"}
MARKS = {"€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY"}
MOST_SHOWN = 400  # letters of columns that are not used
MOST_WORDS = 60  # words of one column that a mapping lists
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


@dataclass(frozen=True)
class Choices:
    """What no column says and a person confirms; a currency or country is None where a column holds it."""

    time_zone: str = "Etc/UTC"
    currency: str | None = "EUR"
    country: str | None = "ZZ"
    is_day_first: bool = True
    is_tax_inside: bool = False
    tax_rate: float = 0.2


@dataclass(frozen=True)
class Guess:
    """One table: its file, how it is written, a sample of its rows, and role -> column.

    `more` are files of the same shape.
    """

    file: Path
    sheet: str
    read: dict[str, Any]
    header: list[str]
    rows: list[list[str]]
    roles: dict[str, str]
    preamble: str = ""
    more: tuple[Path, ...] = field(default=())

    def values(self, column: str) -> list[str]:
        """Give the sampled values of a column."""
        place = self.header.index(column)
        return [row[place] for row in self.rows]

    def filled(self, column: str) -> list[str]:
        """Give the sampled values of a column that are not empty."""
        return [v.strip() for v in self.values(column) if v.strip()]

    def examples(self, column: str, count: int = 3) -> list[str]:
        """Give the first different values of a column."""
        return list(dict.fromkeys(self.filled(column)))[:count]

    @property
    def samples(self) -> dict[str, list[str]]:
        """The sampled values of each role."""
        return {role: self.values(column) for role, column in self.roles.items()}

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of this table."""
        return (self.file, *self.more)

    @property
    def place(self) -> str:
        """The file, sheet or list, as a person would point at it."""
        return (
            f"{self.file.name} ({self.sheet or self.read.get('each')})"
            if self.sheet or "each" in self.read
            else self.file.name
        )

    @cached_property
    def kind(self) -> str:
        """What the table holds: one of KINDS, '' for nothing we know."""
        return _kind(self)

    @property
    def is_order_assumed(self) -> bool:
        """Tell whether the dates read as well with the day first as with the month first."""
        return _day_first(self) is None and any(_numeric_day(v) for c in self.time_columns for v in self.filled(c))

    @property
    def time_columns(self) -> list[str]:
        """The columns that hold times."""
        return [column for role, column in self.roles.items() if role in TIMES]

    @property
    def numbers_lines(self) -> bool:
        """Tell whether lines are numbered within their order: an id of a line then needs both."""
        return {"order_id", "order_line_id"} <= set(self.roles) and _repeats(self.filled(self.roles["order_line_id"]))


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
        """The columns without a role."""
        return list(dict.fromkeys(c for table in self.tables for c in table.header if c not in table.roles.values()))

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


def propose(paths: Path | Sequence[Path]) -> Proposal:
    """Propose one mapping for files and folders of CSV, Excel, Parquet, NDJSON or JSON.

    Raises SourceError for a file that is none of these or has no row, and when neither orders nor returns can be seen.
    """
    proposal = guess(paths)
    if not any(t.rows for t in proposal.tables):
        raise SourceError(
            f"{proposal.file} has a header and no row: nothing says what its columns hold. Export it with its rows."
        )
    if not proposal.shipped and (source := _coded(proposal)):
        command = shlex.join(["backhaul", "load", *map(str, proposal.paths)])
        raise SourceError(f"{proposal.file} needs no mapping, for {source} knows it. Load it: {command}")
    if not proposal.shipped and not {t.kind for t in proposal.tables} & MADE:
        raise SourceError(_not_enough(proposal.tables))
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
            raise SourceError(_not_enough(proposal.tables))


def guess(paths: Path | Sequence[Path]) -> Proposal:
    """Give what can be guessed of files, enough or not: a person may give the columns their roles."""
    given = [paths] if isinstance(paths, Path) else list(paths)
    files = _files(given)
    found = [s for file in files for s in samples(file)]
    tables = _told_once(_merged([_guessed(s) for s in found]))
    return Proposal(files[0].name, tables, _choices(tables), paths=tuple(given), known=(recognised(found), tables))


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (
                f
                for f in path.rglob("*")
                if f.is_file() and not any(p.startswith(".") for p in f.relative_to(path).parts)
            )
            files += sorted(
                f for f in inside if f.suffix.lower() not in (".yaml", ".yml", ".md", ".py", ".duckdb", ".sqlite")
            )
        elif path.is_file():
            files.append(path)
        else:
            raise SourceError(f"There is no file at {path}. Check the path.")
    if not files:
        raise SourceError(
            f"There are no files in {', '.join(map(str, paths))}. Give a folder with data files, or a file."
        )
    return files


def _merged(tables: list[Guess]) -> tuple[Guess, ...]:
    """Make one table of files with the same header."""
    merged: dict[tuple[Any, ...], Guess] = {}
    for table in tables:
        key = (table.file.suffix.lower(), table.sheet, tuple(table.header), repr(sorted(table.read.items())))
        if key in merged and merged[key].file != table.file:
            first = merged[key]
            merged[key] = replace(first, rows=first.rows + table.rows, more=(*first.more, table.file))
        else:
            merged[key] = table
    return tuple(merged.values())


def _told_once(tables: tuple[Guess, ...]) -> tuple[Guess, ...]:
    """Leave out the whole of a document where a list in it says more.

    And lists that say no more than another or nothing.
    """
    kept: list[Guess] = []
    for table in tables:
        lists = [t for t in tables if t.file == table.file and t is not table and "each" in t.read]
        if "each" in table.read:
            before = [t for t in kept if t.file == table.file and "each" in t.read]
            is_told = table.kind in ("", "refunds", "headers") or any(t.kind == table.kind for t in before)
        else:
            is_told = table.kind in ("", "headers", "orders", "returns") and any(
                t.kind in ("orders", "returns", "ledger") for t in lists
            )
        if not is_told:
            kept.append(table)
    return tuple(kept)


def _not_enough(tables: Iterable[Guess]) -> str:
    first = next(iter(tables))
    seen = ", ".join(f"{c} ({r.removesuffix('_at')})"[:30] for r, c in list(first.roles.items())[:3])
    return (
        f"{first.file.name[:40]} shows neither orders nor returns: {seen or 'no heading we know'}. Orders need an order"
        " number, a date, a SKU and a price; returns a date and an order or return number or SKU. Name columns so, or"
        " write a mapping."
    )


# -- what columns are --------------------------------------------------------------------------------------------------


def _guessed(sample: Sample) -> Guess:
    table = Guess(sample.file, sample.sheet, sample.read, sample.header, sample.rows, _roles(sample), sample.preamble)
    within = {r for r, c in table.roles.items() if c.startswith(f"{sample.read.get('each')}.")}
    if "each" in sample.read and not within & {"product_id", "units", "units_returned", "event", "tracking"}:
        return replace(table, roles={})  # a list of taxes, fees or notes
    table = replace(table, roles=_of_returns(table))
    table = replace(table, roles=_settled(table))
    if filled := _filled_down(table):
        table = replace(table, read=table.read | {"fill_down": filled})
    return table


def _roles(sample: Sample) -> dict[str, str]:
    """Give role -> column: whole headings first, the more telling first; what stands in a column must fit its role."""
    each = str(sample.read.get("each", ""))
    filled = {c: [row[i].strip() for row in sample.rows if row[i].strip()] for i, c in enumerate(sample.header)}
    order = {role: place for place, role in enumerate(WORDS)}
    offers = sorted(
        (place, order.get(role, 0), number, role, column)
        for number, column in enumerate(sample.header)
        for place, role in headings.candidates(column, each)
        if headings.is_fit(role, filled[column])
    )
    found: dict[str, str] = {}
    for _, _, _, role, column in offers:
        if (
            role not in found
            and column not in found.values()
            and (filled[column] or not sample.rows or role in ("received_at", "refunded_at"))
        ):
            found[role] = column
    return _by_content(found, offers, filled)


def _by_content(
    found: dict[str, str], offers: list[tuple[int, int, int, str, str]], filled: dict[str, list[str]]
) -> dict[str, str]:
    """Settle by what stands in the columns what headings leave open."""
    numbered = (
        c
        for c, values in filled.items()
        if plain(c) == "name" and values and all(re.match(r"#\w*\d", v) for v in values)
    )
    documents = (c for c, values in filled.items() if c not in found.values() and headings.looks_like_document(values))
    if "order_id" not in found and (column := next(numbered, "") or next(documents, "")):
        found = {r: c for r, c in found.items() if c != column} | {"order_id": column}
    goods = [c for _, _, _, role, c in offers if role == "product_id"]
    chosen = found.get("product_id", "")
    if chosen and len(filled[chosen]) > 4 and not _repeats(filled[chosen]):  # a SKU recurs, a number of a row does not
        others = [c for c in goods if c not in found.values() and _repeats(filled[c])]
        if others:
            found["product_id"] = others[0]
    if "returned" in found:
        values = filled[found["returned"]]
        if headings.looks_like_time(values):
            found.setdefault("received_at", found.pop("returned"))
        elif headings.looks_like_number(values) and not headings.looks_like_flag(values):
            found.setdefault("units_returned", found.pop("returned"))
    if (
        "refund_amount" in found
        and headings.looks_like_flag(filled[found["refund_amount"]])
        and filled[found["refund_amount"]]
    ):
        del found["refund_amount"]
    if "vat_amount" in found and headings.looks_like_percentage(filled[found["vat_amount"]]):
        found.setdefault("vat_rate", found.pop("vat_amount"))
    if "units" in found and any(re.fullmatch(r"-?\d+[.,]\d*[1-9]", v) for v in filled[found["units"]]):
        found.setdefault("amount", found.pop("units"))
    return found


def _settled(table: Guess) -> dict[str, str]:
    """Give general columns (id, date, created, amount, status) the role they play in a table of this kind."""
    roles, kind = dict(table.roles), table.kind

    def becomes(general: str, role: str) -> None:
        if general in roles and role not in roles:
            roles[role] = roles.pop(general)

    if kind in ("orders", "headers", "ledger"):
        for general, role in (
            ("created_at", "ordered_at"),
            ("date", "ordered_at"),
            ("line_record_id", "order_line_id"),
            ("id", "order_id"),
        ):
            becomes(general, role)
    elif kind == "items":
        becomes("line_record_id", "order_line_id")
        becomes("id", "order_line_id")
    elif kind == "returns":
        becomes("line_record_id", "return_line_id")
        if re.match("return|refund|rma", plain(str(table.read.get("each", "")))):
            becomes("id", "order_id")  # returns stand within their order
        if "return_id" not in roles:
            becomes("id", "return_id")
        later = {"date", "received_at", "refunded_at", "approved_at", "inspected_at", "updated_at"} & set(roles)
        if _says(table, SAYS["refunds"]):
            becomes("created_at", "refunded_at")
            becomes("date", "refunded_at")
        is_asked = later or "status" in roles or "each" in table.read or _says(table, "request|demande|rma")
        becomes("created_at", "requested_at" if is_asked else "received_at")
        if not set(STAGES) & set(roles) - {"handed_over_at"}:
            becomes("date", "received_at")
            becomes("event_at", "received_at")
    elif kind == "refunds":
        becomes("id", "refund_id")
        for general in ("created_at", "date", "received_at", "requested_at", "ordered_at"):
            becomes(general, "refunded_at")
        for general in ("amount", "gross_amount", "net_amount", "unit_price"):
            becomes(general, "refund_amount")
    elif kind == "events":
        for general in ("date", "created_at", "updated_at"):
            becomes(general, "event_at")
        becomes("status", "event")
    elif kind == "parcels":
        becomes("date", "handed_over_at")
        becomes("created_at", "label_issued_at")
    elif kind == "products":
        becomes("id", "product_id")
    if kind != "products" and "product_id" not in roles and kind not in ("headers", "refunds", "events", "parcels"):
        becomes("name", "product_id")
    return roles


def _of_returns(table: Guess) -> dict[str, str]:
    """Leave out steps that may be an order's own where nothing says that goods came back.

    Such are approved, picked up, received.
    """
    roles, back = table.roles, f"{SAYS['returns']}|{SAYS['refunds']}"
    is_said = _says(table, back) or any(re.search(back, plain(roles[r])) for r in STAGES if r in roles)
    sure = {
        "returned",
        "return_id",
        "return_line_id",
        "refunded_at",
        "refund_amount",
        "reason_raw",
        "units_returned",
        "tracking",
    }
    return dict(roles) if is_said or sure & set(roles) else {r: c for r, c in roles.items() if r not in STAGES}


def _says(table: Guess, pattern: str) -> bool:
    return bool(
        re.search(
            pattern, plain(f"{table.file.stem} {table.sheet} {table.read.get('each', '')} {table.read.get('path', '')}")
        )
    )


def _share_filled(table: Guess, roles: Iterable[str]) -> float:
    """Give the share of sampled rows where one of these roles is filled."""
    columns = [table.values(table.roles[r]) for r in roles if r in table.roles]
    rows = [any(v.strip() for v in values) for values in zip(*columns, strict=True)] if columns else []
    return sum(rows) / len(rows) if rows else 0.0


def _kind(table: Guess) -> str:
    """Tell what a table holds from its roles, its rows and the names of its file and sheet.

    One of KINDS, '' for nothing we know.
    """
    r = set(table.roles)
    says = {kind for kind, pattern in SAYS.items() if _says(table, pattern)}
    units = table.filled(table.roles["units"]) if "units" in r else []
    is_back = bool(units) and all(v.startswith(("-", "(")) for v in units)
    is_line = bool({"order_id", "order_line_id"} & r)
    is_dated = bool({"ordered_at", "created_at", "date"} & r)
    goods, priced, told = bool({"product_id", "name"} & r), bool(set(PRICES) & r), r & RETURN_ROLES
    dated = {"requested_at", "approved_at", "received_at", "inspected_at", "restocked_at", "refunded_at"} & r
    own_ids = {"return_id", "return_line_id"} & r
    if _is_event_log(table, r, told):
        return "events"
    if is_dated and (goods or is_line) and (priced or "units" in r) and ledger_signs(table)[0]:
        return "ledger"
    moves = r & MOVES
    if "tracking" in r and moves and not priced and not {"ordered_at", "requested_at", "reason_raw"} & r:
        return "parcels"
    is_paid_back = "refund_amount" in r or ("refunds" in says and priced)
    is_sale = "ordered_at" in r and priced
    is_no_sale = "refunds" in says or (not is_sale and bool({"refund_id", "refunded_at"} & r or not told))
    of_goods = "refunded_at" in r and {"received_at", "inspected_at", "restocked_at", "handed_over_at"} & r
    if is_paid_back and not goods and (dated or is_dated) and is_no_sale and not (of_goods and is_line):
        return "refunds"
    is_sold = not is_back and (not told or (priced and not own_ids and "requested_at" not in r))
    is_order = (
        not is_back and ("ordered_at" in r or (is_dated and is_sold)) and bool({"id", "line_record_id"} & r or is_line)
    )
    is_return = bool(dated or (is_dated and (told or is_back or "returns" in says)))
    whole = _share_filled(table, {*own_ids, *dated}) > 0.99
    only_returns = (
        whole and is_return and (own_ids or "ordered_at" not in r or ("returns" in says and "orders" not in says))
    )
    if is_order and (priced or "units" in r or goods) and not only_returns:
        ids = table.filled(table.roles.get("order_id") or table.roles.get("id") or table.header[0])
        return "headers" if not goods and not {"units", "order_line_id"} & r and not _repeats(ids) else "orders"
    if is_return and (is_line or goods or own_ids or {"id", "tracking"} & r):
        return "returns"
    if "tracking" in r and (dated or is_dated or moves):
        return "parcels"
    if is_line and goods and (priced or "units" in r):
        return "items"
    if is_dated and ("order_id" in r or ("id" in r and "orders" in says)):
        return "headers"
    if is_line and ("returned" in r or (told and not dated)):
        return "flags"
    return "products" if goods and not is_line and r & {*PRODUCT, "weight_g", "unit_price"} else ""


def _is_event_log(table: Guess, r: set[str], told: set[str]) -> bool:
    """Tell whether each row is one thing that happened to a parcel."""
    times = {"event_at", "date", "created_at", "updated_at"} & r
    if "tracking" not in r or not {"event", "status"} & r or not times or told - {"received_at", "handed_over_at"}:
        return False
    known = [meaning(v) for v in table.filled(table.roles.get("event") or table.roles["status"])]
    is_told = not known or sum(map(bool, known)) * 2 > len(known)
    return is_told and (not {"product_id", "name"} & r or _repeats(table.filled(table.roles["tracking"])))


def ledger_signs(table: Guess) -> tuple[str, str]:
    """Tell how a table of sales and returns tells them apart.

    ('units' or 'type', its column); ('', '') when it does not.
    """
    for role in ("type", "status", "event"):
        if role == "type" and role in table.roles:
            said = {meaning(v) for v in table.filled(table.roles[role])}
            if "sale" in said and said & {"returned", "refunded"}:
                return (role, table.roles[role])
    for role in ("units", "amount", "net_amount", "gross_amount"):
        if role in table.roles:
            values = table.filled(table.roles[role])
            negative = sum(v.startswith(("-", "\u2212", "(")) or v.endswith("-") for v in values)
            if role != "units" and "units" in table.roles:
                break
            if values and 0 < negative < len(values):
                return ("units", table.roles[role])
    return ("", "")


def _filled_down(table: Guess) -> str:
    """Give the column whose rows belong together where what is said of an order stands on its first row only.

    '' for none.
    """
    key = table.roles.get("order_id")
    if table.kind not in ("orders", "items") or key is None:
        return ""
    ids = table.values(key)
    later = [n for n in range(1, len(ids)) if ids[n].strip() and ids[n] == ids[n - 1]]
    of_order = [
        table.values(table.roles[role])
        for role in ("ordered_at", "currency", "country", "status", "channel")
        if role in table.roles
    ]
    if later and any(all(not v[n].strip() for n in later) and any(x.strip() for x in v) for v in of_order):
        return key
    return ""


# -- choices -----------------------------------------------------------------------------------------------------------


def _choices(tables: tuple[Guess, ...]) -> Choices:
    """Choose what no column says, from what the files let see: language, marks of money, zones, countries."""
    country = _usual(
        headings.country_of(v) for t in tables if "country" in t.roles for v in t.filled(t.roles["country"])
    )
    spoken = _language(tables)
    texts = " ".join([*(h for t in tables for h in t.header), *(t.preamble for t in tables)])
    market = re.search(
        r"\bamazon\.(co\.uk|[a-z]{2,3})\b", " ".join(v for t in tables for row in t.rows[:50] for v in row)
    )
    home = country or COUNTRY_OF_LANGUAGE.get(spoken, "")
    if market:
        home = {"com": "US", "co.uk": "GB"}.get(market.group(1), market.group(1).upper())
    currency = _currency(tables, texts, home)
    if not home and currency in ("GBP", "CHF", "SEK", "DKK", "NOK", "PLN"):
        home = next(c for c, row in headings.countries().items() if row["currency"] == currency)
    selling = [t for t in tables if t.kind in ("orders", "ledger", "items", "headers")]
    paying = selling + [t for t in tables if t.kind == "refunds" or {"refund_amount", "freight"} & set(t.roles)]
    whole = [t for t in tables if t.kind == "headers"]

    def holds(table: Guess, role: str) -> bool:
        return role in table.roles or (table.kind == "items" and any(role in t.roles for t in whole))

    return Choices(
        time_zone=_zone(tables, texts, home),
        currency=None if paying and all(holds(t, "currency") for t in paying) else currency,
        country=None if selling and all(holds(t, "country") for t in selling) else home or "ZZ",
        is_day_first=_order_of(tables, home, currency),
        is_tax_inside=any(price_role(t) in ("gross_amount", "gross_unit_price") for t in selling),
        tax_rate=_tax_rate(tables, home),
    )


def _usual(values: Iterable[str]) -> str:
    counts = Counter(v for v in values if v)
    return counts.most_common(1)[0][0] if counts else ""


def _language(tables: tuple[Guess, ...]) -> str:
    """Give the language most headings are written in, where not English.

    Accents and words of one language alone decide.
    """
    counts: Counter[str] = Counter()
    for column in (c for t in tables for c in t.header):
        spoken = headings.languages().get(plain(column).replace(" ", ""), set()) - {"systems"}
        if len(spoken) == 1:
            counts.update(spoken)
        elif "English" not in spoken:
            counts.update(dict.fromkeys(spoken, 0.25))
    best = counts.most_common(1)
    return best[0][0] if best and best[0][0] != "English" else ""


def _currency(tables: tuple[Guess, ...], texts: str, home: str) -> str:
    codes = {row["currency"] for row in headings.countries().values()}
    stated = _usual(v.upper() for t in tables if "currency" in t.roles for v in t.filled(t.roles["currency"]))
    if re.fullmatch("[A-Z]{3}", stated) and stated in codes | {"USD", "EUR", "GBP"}:
        return stated
    values = " ".join(v for t in tables for row in t.rows[:100] for v in row if re.search(r"\d", v) and len(v) < 20)
    for where in (texts, values):
        named = re.search(r"(?<![A-Za-z])(" + "|".join(sorted(codes)) + r")(?![A-Za-z])", where)
        marked = next((code for mark, code in MARKS.items() if mark in where), "")
        if named or marked:
            return named.group(1) if named else marked
    return headings.countries()[home]["currency"] if home in headings.countries() else "EUR"


def _zone(tables: tuple[Guess, ...], texts: str, home: str) -> str:
    values = [v for t in tables for c in t.time_columns for v in t.filled(c)[:200]]
    words = _usual(
        m.group(1) for v in values if (m := re.search(r"\d ?(?:[AaPp][Mm])? ?([A-Z]{3,4})$", v)) and m.group(1) in ZONES
    )
    if words:
        return ZONES[words]
    if re.search(r"\b(UTC|GMT)\b", texts) or any(c.endswith("_gmt") for t in tables for c in t.time_columns):
        return "Etc/UTC"
    return headings.countries()[home]["time_zone"] if home in headings.countries() else "Etc/UTC"


def _tax_rate(tables: tuple[Guess, ...], home: str) -> float:
    said = _usual(
        m.group(1)
        for t in tables
        for row in t.rows[:100]
        for v in row
        if (m := re.fullmatch(r"[A-Za-z. ]+ (\d{1,2}(?:[.,]\d)?) ?%", v))
    )
    return round(float(said.replace(",", ".")) / 100, 4) if said else headings.tax_rate(home)


# -- dates -------------------------------------------------------------------------------------------------------------


def _numeric_day(value: str) -> tuple[int, int] | None:
    found = re.match(r"\s*(\d{1,2})[/.-](\d{1,2})[/.-](?:\d{4}|\d{2})(?!\d)", value)
    return (int(found.group(1)), int(found.group(2))) if found else None


def _day_first(table: Guess, columns: Sequence[str] | None = None) -> bool | None:
    """Tell whether days stand before months; None where every day is 12 or less, or nothing is written so."""
    pairs = [
        p
        for c in (table.time_columns if columns is None else columns)
        for v in table.filled(c)
        if (p := _numeric_day(v))
    ]
    first, second = sum(a > 12 for a, _ in pairs), sum(b > 12 for _, b in pairs)
    return None if first == second else first > second


def _order_of(tables: tuple[Guess, ...], home: str, currency: str) -> bool:
    """Choose the order of day and month.

    What some table shows, else dots and other countries than the United States day first.
    """
    shown = [s for t in tables if (s := _day_first(t)) is not None]
    if shown:
        return shown[0]
    values = [v for t in tables for c in t.time_columns for v in t.filled(c)]
    return any(re.match(r"\d{1,2}\.\d", v) for v in values) or not (home == "US" or (not home and currency == "USD"))


def format_of(value: str, *, is_day_first: bool) -> str:
    """Give how a time is written (strptime); '' for ISO and for what is no time.

    >>> format_of("03/02/2025 10:15", is_day_first=True), format_of("Apr 1, 2026 12:01:05 AM PDT", is_day_first=True)
    ('%d/%m/%Y %H:%M', '%b %d, %Y %I:%M:%S %p PDT')
    """
    day = re.match(
        rf"(?P<week>[A-Za-z]{{3}}(?:,?"
        rf" ))?(?:(?P<a>\d{{1,2}})(?P<s>[/.-])(?P<b>\d{{1,2}})[/.-](?P<y>\d{{4}}|\d{{2}})(?!\d)"
        rf"|(?P<iso>\d{{4}})(?P<t>[/.-])\d{{1,2}}[/.-]\d{{1,2}}"
        rf"|(?P<c>(?:19|20)\d{{6}})(?!\d)|(?P<d>\d{{1,2}})(?P<g>\.? |-|/)(?P<m>{headings.MONTH})(?P<h>,?"
        rf" |-|/)(?P<z>\d{{4}}|\d{{2}})|(?P<n>{headings.MONTH})(?P<o> )\d{{1,2}}(?P<p>,? )\d{{4}})",
        value,
        re.IGNORECASE,
    )
    if day is None or re.fullmatch(
        r"\d{4}-\d{1,2}-\d{1,2}(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?)?",
        value,
    ):
        return ""
    g = day.groupdict()
    written = f"%a{g['week'][3:]}" if g["week"] else ""
    if g["a"]:
        first = is_day_first if max(int(g["a"]), int(g["b"])) <= 12 else int(g["a"]) > 12
        written += g["s"].join(["%d", "%m"] if first else ["%m", "%d"]) + g["s"] + ("%Y" if len(g["y"]) == 4 else "%y")
    elif g["iso"]:
        written += g["t"].join(("%Y", "%m", "%d"))
    elif g["c"]:
        written += "%Y%m%d"
    else:
        word = (g["m"] or g["n"]).rstrip(".")
        month = ("%b" if len(word) == 3 else "%B") + ("." if (g["m"] or g["n"]).endswith(".") else "")
        written += (
            f"%d{g['g']}{month}{g['h']}" + ("%Y" if len(g["z"]) == 4 else "%y")
            if g["m"]
            else f"{month}{g['o']}%d{g['p']}%Y"
        )
    clock = re.fullmatch(
        r"(?P<gap>,? |T|, | - )(?P<h>\d{1,2})(?P<s>[:.h])\d{2}(?P<sec>[:.]\d{2})?(?P<f>[.,]\d+)?(?P<ap>"
        r" ?[AaPp][Mm])?(?P<zone> ?(?:Z|[A-Z]{3,4}|[+-]\d{2}:?\d{2}))?",
        value[day.end() :],
    )
    if clock:
        k = clock.groupdict()
        written += (
            f"{k['gap']}{'%I' if k['ap'] else '%H'}{k['s']}%M"
            + (f"{k['sec'][0]}%S" if k["sec"] else "")
            + (f"{k['f'][0]}%f" if k["f"] else "")
        )
        written += (" %p" if k["ap"] and k["ap"][0] == " " else "%p") if k["ap"] else ""
        if k["zone"] and k["zone"].strip() in ZONES:
            written += k["zone"]
    elif value[day.end() :].strip():
        return ""
    return written


def formats(table: Guess, column: str, *, is_day_first: bool) -> list[str]:
    """Give how the times of a column are written, most frequent first; none for ISO."""
    values = list(dict.fromkeys(table.filled(column)))
    if word := headings.epoch_of(values):
        return [word]
    for word, month in headings.months_of(values).items():
        values = [v.replace(word, month) for v in values]
    own = _day_first(table, [column])
    counts = Counter(format_of(v, is_day_first=is_day_first if own is None else own) for v in values)
    return [written for written, _ in counts.most_common() if written]


# -- what a proposal is good for
# ----------------------------------------------------------------------------------------


def price_role(table: Guess) -> str:
    """Give the role that tells the price of a line best; '' for none.

    Amounts of a line are preferred to prices of a unit, unless the amount is that of the whole order.
    """
    r = table.roles
    for role in ("net_amount", "net_unit_price", "gross_amount", "gross_unit_price"):
        if role in r and not (role.endswith("amount") and is_of_order(table, role)):
            return role
    if "amount" in r and "unit_price" in r:
        return "amount" if "units" in r and _adds_up(table) and not is_of_order(table, "amount") else "unit_price"
    return next((role for role in ("unit_price", "amount", "net_amount", "gross_amount") if role in r), "")


def is_of_order(table: Guess, role: str) -> bool:
    """Tell whether a column repeats one value on all lines of an order, or stands on its first line only."""
    if not {"order_id", role} <= set(table.roles) or table.kind == "headers":
        return False
    by_order: dict[str, list[str]] = {}
    for order, value in zip(table.values(table.roles["order_id"]), table.values(table.roles[role]), strict=True):
        by_order.setdefault(order, []).append(value.strip())
    several = [v for v in by_order.values() if len(v) > 1]
    return (
        bool(several)
        and all(len(set(v)) == 1 or (v[0] and not any(v[1:])) for v in several)
        and (len(several) > 1 or not any(several[0][1:]) or "unit_price" in table.roles)
    )


def _adds_up(table: Guess) -> bool:
    """Tell whether the amount is the price of a unit times the units, within a discount."""
    right = rows = 0
    for amount, price, units in zip(
        *(table.values(table.roles[r]) for r in ("amount", "unit_price", "units")), strict=True
    ):
        numbers = [number_of(v) for v in (amount, price, units)]
        if None not in numbers:
            rows += 1
            a, p, u = (abs(n or 0.0) for n in numbers)
            right += p * u * 0.4 <= a <= p * u * 1.01
    return rows > 0 and right >= 0.8 * rows


def number_of(text: str) -> float | None:
    """Read a number however it is written; None for none."""
    digits = re.sub(r"[^\d.,-]", "", text)
    if "," in digits and "." in digits:
        digits = digits.replace(min(",.", key=digits.rfind), "")
    try:
        return float(digits.replace(",", "."))
    except ValueError:
        return None


def is_yes(value: str) -> bool:
    """Tell whether a flag says yes."""
    return plain(value) not in NO and meaning(value) not in ("none", "cancelled", "rejected")


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
        "Overview": sold,
        "Returns": sold and returned,
        "Products": sold and returned and "product_id" in roles,
        "Promises": (
            identified
            and len({"requested_at", "handed_over_at", "received_at", "inspected_at", "refunded_at"} & roles)
            + ("delivered_at" in roles and "promised_at" in roles)
            >= 2
        ),
        "Margin": sold and returned and "unit_cost" in roles,
        "Emissions": (
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


def _repeats(values: Sequence[str]) -> bool:
    return len(set(values)) < len(values)
