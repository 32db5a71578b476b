"""What a table seems to be: roles of its columns, kind, what it lacks."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.errors import SourceError
from pipelines.sources import headings
from pipelines.sources.headings import NO, TIMES, WORDS, meaning, plain
from pipelines.sources.samples import Sample

PRICES = ("net_amount", "net_unit_price", "gross_amount", "gross_unit_price", "amount", "unit_price")
# role -> event of ours, in the order in which they happen
STAGES = {
    "declared_at": "declared",
    "requested_at": "requested",
    "acknowledged_at": "acknowledged",
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
DESCRIBING = ("reason_raw", "channel", "carrier", "mode", "disposition", "customer_area", "brand")
"""Roles that a file may lack beside others of the same table: nothing hangs on them but themselves."""
PRODUCT = ("name", "category", "brand", "size", "colour", "unit_cost", "weight_kg")
# words in names of files, sheets and lists that say what a table holds
SAYS = {
    "returns": r"return|retour|retoure|ruck|devol|devuel|resi\b|reso\b|restitu|terug|rma",
    "refunds": r"refund|remboursement|avoir|erstattung|gutschrift|reembols|abono|rimbors|terugbetal|credit note",
    "orders": (
        r"order|commande|bestell|auftrag|auftraege|pedido|venta|ordini|vendite|sale|vente|verkauf|verkoop"
        r"|invoice|transaction"
    ),
    "products": r"product|produit|artikel|article|catalog|item|sku|articulo|prodott",
    "events": r"track|event|scan|evenement|ereignis|checkpoint",
    "parcels": r"ship|parcel|colis|sendung|envio|spediz|zending|carrier",
}
MOST_WORDS = 60  # words of one column that a mapping lists


@dataclass(frozen=True)
class Guess:
    """One table: its file, how it is written, a sample of its rows, and role -> column.

    `more` are files of the same shape; `varies`: some of them lack columns of the first.
    """

    file: Path
    sheet: str
    read: dict[str, Any]
    header: list[str]
    rows: list[list[str]]
    roles: dict[str, str]
    preamble: str = ""
    more: tuple[Path, ...] = field(default=())
    varies: bool = False

    def values(self, column: str) -> list[str]:
        """Give the sampled values of a column."""
        place = self.header.index(column)
        return [row[place] for row in self.rows]

    def filled(self, column: str) -> list[str]:
        """Give the sampled values of a column that are not empty, in words neither."""
        return [v.strip() for v in self.values(column) if not headings.is_nothing(v)]

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
        return day_first(self) is None and any(_numeric_day(v) for c in self.time_columns for v in self.filled(c))

    @property
    def time_columns(self) -> list[str]:
        """The columns that hold times."""
        return [column for role, column in self.roles.items() if role in TIMES]

    @property
    def numbers_lines(self) -> bool:
        """Tell whether lines are numbered within their order: an id of a line then needs both."""
        return {"order_id", "order_line_id"} <= set(self.roles) and _repeats(self.filled(self.roles["order_line_id"]))


def files_of(paths: Sequence[Path]) -> list[Path]:
    """List the files of paths, those of folders with them."""
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


def merged_guesses(tables: list[Guess]) -> tuple[Guess, ...]:
    """Make one table of files with the same header."""
    merged: dict[tuple[Any, ...], Guess] = {}
    for table in tables:
        key = (table.file.suffix.lower(), table.sheet, tuple(table.header), _way(table))
        if key in merged and merged[key].file != table.file:
            first = merged[key]
            read = _read_of_both(first, table)
            merged[key] = replace(first, read=read, rows=first.rows + table.rows, more=(*first.more, table.file))
        else:
            merged[key] = table
    return tuple(_of_one_shape(list(merged.values())))


def _way(table: Guess) -> str:
    """Write how a table is read, but for the currencies beside its amounts: those are of the rows that were sampled."""
    return repr(sorted((k, v) for k, v in table.read.items() if k != "currency"))


def _read_of_both(one: Guess, other: Guess) -> dict[str, Any]:
    """Give how two tables written alike are read, with the currencies that stand beside the amounts of either."""
    codes = sorted({*one.read.get("currency", []), *other.read.get("currency", [])})
    return one.read | ({"currency": codes} if codes else {})


def _of_one_shape(tables: list[Guess]) -> list[Guess]:
    """Make one table of those that hold the same, where one has all columns of the other: exports of several months."""
    kept: list[Guess] = []
    for table in sorted(tables, key=lambda t: -len(t.header)):
        of = (table.kind, table.file.suffix.lower(), table.sheet, _way(table))
        for place, other in enumerate(kept):
            alike = (other.kind, other.file.suffix.lower(), other.sheet, _way(other)) == of
            same = {r: c for r, c in other.roles.items() if c in table.header} == table.roles
            lacks = {role for role, column in other.roles.items() if column not in table.header}
            is_part = set(table.header) <= set(other.header) and lacks <= {*DESCRIBING, *PRODUCT}
            if alike and table.kind and same and is_part and table.file != other.file:
                where = [table.header.index(c) if c in table.header else None for c in other.header]
                rows = [["" if n is None else row[n] for n in where] for row in table.rows]
                read = _read_of_both(other, table)
                more = (*other.more, *table.files)
                kept[place] = replace(other, read=read, rows=other.rows + rows, more=more, varies=True)
                break
        else:
            kept.append(table)
    place_of = {(t.file, t.sheet, _way(t)): number for number, t in enumerate(tables)}
    return sorted(kept, key=lambda t: place_of[t.file, t.sheet, _way(t)])


def told_once(tables: tuple[Guess, ...]) -> tuple[Guess, ...]:
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


def not_enough(tables: Iterable[Guess]) -> str:
    """Say that tables show neither orders nor returns, and what they need."""
    first = next(iter(tables))
    seen = ", ".join(f"{c} ({r.removesuffix('_at')})"[:30] for r, c in list(first.roles.items())[:3])
    return (
        f"{first.file.name[:40]} shows neither orders nor returns: {seen or 'no heading we know'}. Orders need an order"
        " number, a date, a SKU and a price; returns a date and an order or return number or SKU. Name columns so, or"
        " write a mapping."
    )


def guessed(sample: Sample) -> Guess:
    """Guess what a sample of a table is."""
    table = Guess(sample.file, sample.sheet, sample.read, sample.header, sample.rows, _roles(sample), sample.preamble)
    within = {r for r, c in table.roles.items() if c.startswith(f"{sample.read.get('each')}.")}
    if "each" in sample.read and not within & {"product_id", "units", "units_returned", "event", "tracking"}:
        return replace(table, roles={})  # a list of taxes, fees or notes
    table = replace(table, roles=_of_returns(table))
    table = replace(table, roles=_settled(table))
    if filled := _filled_down(table):
        table = replace(table, read=table.read | {"fill_down": filled})
    if "currency" in table.roles and (codes := _codes_beside_amounts(table)):
        table = replace(table, read=table.read | {"currency": codes})
    return table


def _codes_beside_amounts(table: Guess) -> list[str]:
    """List the codes of currencies that stand beside amounts, such as EUR in `EUR 20,50`."""
    amounts = (
        v
        for role in (*PRICES, "refund_amount", "vat_amount", "freight")
        if role in table.roles
        for v in table.filled(table.roles[role])
    )
    found = {m for v in amounts for m in re.findall(r"(?<![A-Za-z])[A-Z]{3}(?![A-Za-z])", v)}
    return sorted(found & headings.currencies())


def _roles(sample: Sample) -> dict[str, str]:
    """Give role -> column: whole headings first, the more telling first; what stands in a column must fit its role."""
    each = str(sample.read.get("each", ""))
    filled = {
        c: [row[i].strip() for row in sample.rows if not headings.is_nothing(row[i])]
        for i, c in enumerate(sample.header)
    }
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
    if plain(found.get("status", "")) in ("state", "estado", "stato") and not any(
        map(meaning, filled[found["status"]])
    ):
        del found["status"]  # a state of a country
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
        if _is_within_order(table):
            becomes("id", "order_id")
            # a day that stands around the list is the order's
            for general in ("created_at", "date", "event_at", "updated_at"):
                if general in roles and not _is_in_list(table, roles[general]):
                    del roles[general]
        if "return_id" not in roles:
            becomes("id", "return_id")
        later = {"date", "received_at", "refunded_at", "approved_at", "inspected_at", "updated_at"} & set(roles)
        if is_called(table, SAYS["refunds"]):
            becomes("created_at", "refunded_at")
            becomes("date", "refunded_at")
        is_asked = later or "status" in roles or "each" in table.read or is_called(table, "request|demande|rma")
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


def _is_within_order(table: Guess) -> bool:
    """Tell whether a table is a list of returns that stands within its order; not of the lines within a return."""
    words = plain(str(table.read.get("each", "")).split(".")[0]).split()
    is_lines = any(re.match("line|item|article|product|sku|unit", word) for word in words)
    return bool(words) and bool(re.match("return|refund|rma", words[0])) and not is_lines


def _is_in_list(table: Guess, column: str) -> bool:
    """Tell whether a column is one of the list that a table is read from, not of what stands around it."""
    return column.startswith(f"{str(table.read.get('each', '')).split('.')[0]}.")


def _of_returns(table: Guess) -> dict[str, str]:
    """Leave out steps that may be an order's own where nothing says that goods came back.

    Such are approved, picked up, received.
    """
    roles, back = table.roles, f"{SAYS['returns']}|{SAYS['refunds']}"
    is_said = is_called(table, back) or any(re.search(back, plain(roles[r])) for r in STAGES if r in roles)
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


def is_called(table: Guess, pattern: str) -> bool:
    """Say whether a table's file, sheet or list is called by a pattern."""
    return bool(
        re.search(
            pattern, plain(f"{table.file.stem} {table.sheet} {table.read.get('each', '')} {table.read.get('path', '')}")
        )
    )


def _share_filled(table: Guess, roles: Iterable[str]) -> float:
    """Give the share of sampled rows where one of these roles is filled."""
    columns = [table.values(table.roles[r]) for r in roles if r in table.roles]
    rows = [any(not headings.is_nothing(v) for v in values) for values in zip(*columns, strict=True)] if columns else []
    return sum(rows) / len(rows) if rows else 0.0


def _kind(table: Guess) -> str:
    """Tell what a table holds from its roles, its rows and the names of its file and sheet.

    One of KINDS, '' for nothing we know.
    """
    r = set(table.roles)
    says = {kind for kind, pattern in SAYS.items() if is_called(table, pattern)}
    units = table.filled(table.roles["units"]) if "units" in r else []
    is_back = bool(units) and all(map(headings.is_negative, units))
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
        not (is_back or _is_within_order(table))
        and ("ordered_at" in r or (is_dated and is_sold))
        and bool({"id", "line_record_id"} & r or is_line)
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
            negative = sum(map(headings.is_negative, values))
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


def _numeric_day(value: str) -> tuple[int, int] | None:
    found = re.match(r"\s*(\d{1,2})[/.-](\d{1,2})[/.-](?:\d{4}|\d{2})(?!\d)", value)
    return (int(found.group(1)), int(found.group(2))) if found else None


def day_first(table: Guess, columns: Sequence[str] | None = None) -> bool | None:
    """Tell whether days stand before months; None where every day is 12 or less, or nothing is written so."""
    pairs = [
        p
        for c in (table.time_columns if columns is None else columns)
        for v in table.filled(c)
        if (p := _numeric_day(v))
    ]
    first, second = sum(a > 12 for a, _ in pairs), sum(b > 12 for _, b in pairs)
    return None if first == second else first > second


def is_yes(value: str) -> bool:
    """Tell whether a flag says yes."""
    return plain(value) not in NO and meaning(value) not in ("none", "cancelled", "rejected")


def _repeats(values: Sequence[str]) -> bool:
    return len(set(values)) < len(values)
