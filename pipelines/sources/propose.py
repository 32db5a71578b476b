"""Proposing a mapping: guess how a file is written and what its columns are, and say what pages it would fill.

The guess reads the header (French and English words) and a sample of rows. It is a start for a person to check, never a
silent choice: what was assumed stands in the proposal as a comment.
"""

import csv
import io
import itertools
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from pipelines.errors import SourceError
from pipelines.sources.base import quote
from pipelines.sources.tables import CSV, NDJSON, PARQUET, distinct, kind_of

SAMPLE_ROWS = 500
SEPARATORS = (",", ";", "\t", "|")
DATES = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d")
CLOCKS = ("", " %H:%M", " %H:%M:%S")

# role -> words a header may use, most telling first; compared without accents, case and punctuation
WORDS: dict[str, tuple[str, ...]] = {
    "order_line_id": ("order line id", "order line", "line id", "line item id", "order item id", "lineitem", "line", "id ligne", "ligne de commande", "ligne commande", "ligne"),
    "order_id": ("order id", "order number", "order no", "order", "invoiceno", "invoice", "n commande", "no commande", "numero de commande", "numero commande", "id commande", "commande"),
    "ordered_at": ("order date", "ordered at", "ordered on", "ordered", "purchase date", "invoicedate", "order time", "date de commande", "date commande", "commande le", "created at", "date"),
    "product_id": ("sku", "product id", "item id", "article number", "stockcode", "variant sku", "seller sku", "ean", "reference", "ref article", "ref", "code article", "id produit"),
    "name": ("product name", "item name", "product", "title", "description", "item", "article", "libelle", "nom du produit", "produit", "designation"),
    "category": ("category", "product category", "product type", "department", "categorie", "famille", "rayon"),
    "brand": ("brand", "vendor", "marque"),
    "size": ("size", "taille", "pointure"),
    "colour": ("colour", "color", "couleur", "coloris"),
    "units": ("units", "quantity", "qty", "quantite", "qte", "nombre", "pieces"),
    "units_returned": ("units returned", "returned units", "quantity returned", "returned quantity", "qty returned", "returned qty", "quantite retournee", "qte retournee"),
    "unit_price": ("unit price", "price", "unitprice", "item price", "unit price excl vat", "unit net price", "prix unitaire", "prix unitaire ht", "prix ht", "prix", "pu", "pu ht"),
    "net_amount": ("net amount", "net price", "line total", "net", "amount", "total", "revenue", "sales", "montant ht", "total ht", "prix net", "montant", "ca ht"),
    "gross_amount": ("gross amount", "total incl vat", "montant ttc", "total ttc", "prix ttc"),
    "vat_amount": ("vat", "vat amount", "tax", "tax amount", "tva", "montant tva"),
    "discount_amount": ("discount", "discount amount", "remise", "rabais"),
    "currency": ("currency", "currency code", "devise", "monnaie"),
    "country": ("country", "country code", "ship country", "shipping country", "market", "pays", "pays de livraison"),
    "customer_id": ("customer id", "customer", "customerid", "client id", "id client", "client", "customer email", "email", "e mail"),
    "customer_area": ("postcode", "zip", "postal code", "code postal", "cp"),
    "shipped_at": ("ship date", "shipped at", "shipped on", "shipped", "date expedition", "date d expedition", "expedie le"),
    "delivered_at": ("delivery date", "delivered at", "delivered on", "delivered", "date de livraison", "date livraison", "livre le", "actual delivery", "actual date", "date reelle"),
    "channel": ("channel", "sales channel", "canal"),
    "returned": ("returned", "is returned", "return flag", "return", "retourne", "retour", "est retourne"),
    "return_id": ("return id", "return no", "return number", "rma", "rma number", "n retour", "numero de retour", "id retour"),
    "requested_at": ("return request date", "requested at", "requested on", "requested", "return requested", "date de demande", "date demande", "demande le", "date demande retour"),
    "handed_over_at": ("handed over", "picked up", "pickup date", "pick up date", "collection date", "date d enlevement", "date enlevement", "date de depot"),
    "received_at": ("return date", "returned at", "returned on", "received at", "received on", "received", "return received", "date de retour", "date retour", "recu le", "date reception", "date de reception"),
    "inspected_at": ("inspected at", "inspected on", "inspected", "inspection date", "date controle", "date d inspection"),
    "refunded_at": ("refund date", "refunded at", "refunded on", "refunded", "date de remboursement", "date remboursement", "rembourse le"),
    "refund_amount": ("refund amount", "refunded amount", "amount refunded", "refund", "montant rembourse", "montant remboursement", "remboursement"),
    "reason_raw": ("return reason", "reason", "motif de retour", "motif retour", "motif", "raison"),
    "disposition": ("disposition", "outcome", "sort"),
    "unit_cost": ("unit cost", "cost", "cost price", "cogs", "prix de revient", "cout unitaire", "cout", "prix d achat"),
    "weight_kg": ("weight kg", "weight", "poids kg", "poids"),
    "weight_g": ("weight g", "grams", "poids g", "grammes"),
    "tracking": ("tracking number", "tracking", "tracking no", "tracking id", "parcel", "parcel id", "shipment id", "numero de suivi", "suivi", "colis", "n colis"),
    "promised_at": ("promised date", "promised", "promised delivery", "due date", "sla date", "expected delivery", "date promise", "date prevue", "livraison prevue"),
    "mode": ("mode", "transport mode", "mode of shipment", "mode de transport"),
    "carrier": ("carrier", "courier", "transporteur"),
    "freight": ("freight", "freight cost", "shipping cost", "transport cost", "cout transport", "frais de transport", "fret"),
    "distance_km": ("distance km", "distance", "km", "kilometres", "kilometers"),
    "origin": ("origin", "from", "ship from", "origine", "depart", "lieu de depart"),
    "destination": ("destination", "to", "ship to", "arrivee", "lieu d arrivee"),
}  # fmt: skip
# country names of exports, compared like headers -> ISO 3166; a name that is not here stays, and is quarantined
COUNTRIES = {
    "allemagne": "DE", "angleterre": "GB", "austria": "AT", "autriche": "AT", "belgique": "BE", "belgium": "BE", "canada": "CA", "danemark": "DK",
    "denmark": "DK", "deutschland": "DE", "espagne": "ES", "etats unis": "US", "finland": "FI", "finlande": "FI", "france": "FR", "germany": "DE",
    "great britain": "GB", "greece": "GR", "grece": "GR", "ireland": "IE", "irlande": "IE", "italie": "IT", "italy": "IT", "luxembourg": "LU",
    "netherlands": "NL", "norvege": "NO", "norway": "NO", "pays bas": "NL", "poland": "PL", "pologne": "PL", "portugal": "PT", "royaume uni": "GB",
    "spain": "ES", "suede": "SE", "suisse": "CH", "sweden": "SE", "switzerland": "CH", "uk": "GB", "united kingdom": "GB", "united states": "US", "usa": "US",
}  # fmt: skip
TIMES = ("ordered_at", "shipped_at", "delivered_at", "requested_at", "handed_over_at", "received_at", "inspected_at", "refunded_at", "promised_at")  # fmt: skip
NUMBERS = ("units", "units_returned", "unit_price", "net_amount", "gross_amount", "vat_amount", "refund_amount", "unit_cost", "weight_kg", "weight_g", "distance_km", "freight")  # fmt: skip
STAGES = ("requested_at", "handed_over_at", "received_at", "inspected_at", "refunded_at")
ORDER = (
    "shipped_at",
    "delivered_at",
    "vat_amount",
    "discount_amount",
    "currency",
    "country",
    "customer_id",
    "customer_area",
    "channel",
)
PRODUCT = ("name", "category", "brand", "size", "colour", "unit_cost", "weight_kg")
LABELS = {
    "order_id": "an order number", "ordered_at": "an order date", "product_id": "a SKU", "net_amount": "a net price", "received_at": "a return date",
    "refunded_at": "a refund date", "refund_amount": "a refunded amount", "unit_cost": "a unit cost", "requested_at": "a return request date",
    "tracking": "a tracking number", "weight_kg": "a weight", "mode": "a transport mode",
}  # fmt: skip


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
    """One table of a file: how it is written, a sample of its rows, and role -> column."""

    file: Path
    sheet: str
    read: dict[str, str]
    header: list[str]
    rows: list[list[str]]
    roles: dict[str, str]

    def values(self, column: str) -> list[str]:
        """Give the sampled values of a column."""
        place = self.header.index(column)
        return [row[place] for row in self.rows]

    def examples(self, column: str, count: int = 3) -> list[str]:
        """Give the first different values of a column."""
        return list(dict.fromkeys(v.strip() for v in self.values(column) if v.strip()))[:count]

    @property
    def samples(self) -> dict[str, list[str]]:
        """The sampled values of each role."""
        return {role: self.values(column) for role, column in self.roles.items()}

    @property
    def is_order_assumed(self) -> bool:
        """Tell whether the dates read as well with the day first as with the month first."""
        first, second = (_formats(self.samples, is_day_first=order) for order in (True, False))
        return first != second

    @property
    def numbers_lines(self) -> bool:
        """Tell whether lines are numbered within their order: an id of a line then needs both."""
        return {"ordered_at", "order_id", "order_line_id"} <= set(self.roles) and _repeats(
            self.values(self.roles["order_line_id"])
        )


@dataclass(frozen=True)
class Proposal:
    """A proposed mapping: its tables and choices, and from them its text, the pages it would fill and the column that would unlock most."""

    file: str
    tables: tuple[Guess, ...]
    choices: Choices
    name: str = ""

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
        return [c for table in self.tables for c in table.header if c not in table.roles.values()]

    @property
    def pages(self) -> dict[str, bool]:
        """The pages, and whether the mapping would fill them."""
        return _pages(self.roles)

    @property
    def unlocks(self) -> str:
        """The one missing column that would fill most pages, as a sentence."""
        return _unlocks(self.roles)

    @property
    def yaml(self) -> str:
        """The mapping as it is written to a file."""
        head = [
            f"# Proposed for {self.file}. Check what stands behind each name; the manual is docs/sources.md.",
            f"name: {_slug(self.name or Path(self.file).stem)}",
            f"time_zone: {self.choices.time_zone}  # assumed: zone of the times in the file",
        ]
        assumed = {"currency": self.choices.currency, "country": self.choices.country}
        constants = [f"{name}: {value}" for name, value in assumed.items() if value and name not in self.roles]
        if constants:
            head.append(f"constants: {{{', '.join(constants)}}}  # assumed")
        is_joined = False  # once lines are numbered within their order, every sheet after it names a line by both
        tables = []
        for table in self.tables:
            is_joined |= table.numbers_lines
            tables.append(_table(table, self.choices, is_joined=is_joined))
        return "\n".join([*head, "tables:", *tables]) + "\n"

    def text(self) -> str:
        """Say in words what was found."""
        found = ", ".join(f"{column} = {role}" for role, column in self.columns.items()) or "none"
        filled = ", ".join(page for page, is_filled in self.pages.items() if is_filled) or "none"
        empty = ", ".join(page for page, is_filled in self.pages.items() if not is_filled)
        lines = [f"Columns found: {found}."]
        if self.unused:
            lines.append(f"Columns not used: {', '.join(self.unused)}.")
        lines.append(f"Pages it would fill: {filled}." + (f" Empty: {empty}." if empty else ""))
        return "\n".join([*lines, self.unlocks, "Check the proposal, save it as mapping.yaml and load: backhaul load FILE --source mapping.yaml"])  # fmt: skip


def propose(file: Path) -> Proposal:
    """Propose a mapping for a CSV, Excel, Parquet or NDJSON file.

    Raises SourceError for a file that is none of these or is empty.
    """
    sheets = _sheets(file)
    if not any(header for _, header, _ in sheets.values()):
        raise SourceError(f"{file.name} is empty. Give a file with a header and rows.")
    tables = tuple(Guess(file, sheet, read, header, rows, _roles(header, rows)) for sheet, (read, header, rows) in sheets.items())  # fmt: skip
    roles = {role for table in tables for role in table.roles}
    is_french = any(_is_french(table.header) for table in tables)
    marks = {"€": "EUR", "£": "GBP", "$": "USD"}
    values = [v for table in tables for row in table.rows for v in row]
    seen = [code for mark, code in marks.items() if any(mark in v for v in values)]
    choices = Choices(
        time_zone="Europe/Paris" if is_french else "Etc/UTC",
        currency=None if "currency" in roles else seen[0] if seen else "EUR",
        country=None if "country" in roles else "FR" if is_french else "ZZ",
        is_tax_inside="gross_amount" in roles and "net_amount" not in roles,
    )
    return Proposal(file.name, tables, choices)


def _is_french(header: list[str]) -> bool:
    words = ("date", "n", "numero", "montant", "commande", "quantite", "motif", "retourne", "pays", "taille")
    return any(_plain(c).split(" ")[0] in words and re.search("[éèà°]|commande|retour|montant", c.lower()) for c in header)  # fmt: skip


def _pages(roles: set[str]) -> dict[str, bool]:
    """Say which pages roles fill."""
    sold = bool({"order_id", "order_line_id"} & roles) and {"ordered_at", "product_id"} <= roles and bool({"net_amount", "unit_price", "gross_amount"} & roles)  # fmt: skip
    returned = bool({"requested_at", "received_at", "refunded_at"} & roles)
    named = bool({"order_id", "order_line_id", "return_id", "tracking"} & roles)
    return {
        "Overview": sold,
        "Returns": sold and returned,
        "Products": sold and returned and "product_id" in roles,
        "Promises": named and len(set(STAGES) & roles) + ("delivered_at" in roles and "promised_at" in roles) >= 2,
        "Margin": sold and returned and "unit_cost" in roles,
        "Emissions": "tracking" in roles and bool({"mode", "weight_kg", "weight_g", "carrier"} & roles) and bool({"handed_over_at", "shipped_at", "received_at"} & roles),
    }  # fmt: skip


def _unlocks(roles: set[str]) -> str:
    """Name the one missing column that would fill most pages."""
    now = _pages(roles)
    gains = {role: sum(_pages(roles | {role}).values()) - sum(now.values()) for role in LABELS if role not in roles}
    best = max(gains, key=lambda role: gains[role], default=None)
    if best is None or all(now.values()):
        return "Nothing is missing: every page would be filled."
    if gains[best] == 0:
        wanted = next(page for page, is_filled in now.items() if not is_filled)
        return f"No single column would fill another page; {LABELS[best]} comes first (page {wanted})."
    opened = [page for page, is_filled in _pages(roles | {best}).items() if is_filled and not now[page]]
    return f"The one missing column that would unlock most: {LABELS[best]} (pages {', '.join(opened)})."


# -- reading ---------------------------------------------------------------------------------------------------------


def _sheets(file: Path) -> dict[str, tuple[dict[str, str], list[str], list[list[str]]]]:
    """Give, by sheet, the reader's options, the header and a sample of rows as text."""
    kind = kind_of(file)
    if file.suffix.lower() in (".xlsx", ".xlsm"):
        return _excel(file)
    if kind in (PARQUET, NDJSON):
        reader = "read_parquet" if kind == PARQUET else "read_ndjson"
        with duckdb.connect() as connection:
            try:
                sample = connection.execute(f"SELECT * FROM {reader}({quote(file)}) LIMIT {SAMPLE_ROWS}")
            except duckdb.Error as error:
                raise SourceError(f"{file.name} cannot be read as {kind}. Export it again.") from error
            header = [d[0] for d in sample.description or []]
            return {"": ({}, header, [["" if v is None else str(v) for v in row] for row in sample.fetchall()])}
    if kind == CSV or file.suffix.lower() in (".txt", ".tsv"):
        return {"": _csv(file)}
    raise SourceError(f"{file.name}: give a CSV, Excel (.xlsx), Parquet or NDJSON file.")


def _excel(file: Path) -> dict[str, tuple[dict[str, str], list[str], list[list[str]]]]:
    import openpyxl

    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises what zipfile and its XML reader raise
        raise SourceError(f"{file.name} is not an Excel file (.xlsx). Save it again from the spreadsheet.") from error
    sheets: dict[str, tuple[dict[str, str], list[str], list[list[str]]]] = {}
    for title in book.sheetnames:
        rows = [["" if v is None else str(v) for v in row] for row in itertools.islice(book[title].iter_rows(values_only=True), SAMPLE_ROWS)]  # fmt: skip
        if rows:
            sheets[title] = ({"sheet": title}, distinct([c.strip() for c in rows[0]]), rows[1:])
    book.close()
    return sheets


def _csv(file: Path) -> tuple[dict[str, str], list[str], list[list[str]]]:
    with file.open("rb") as content:
        start = content.read(1 << 20)
    encoding = "utf-8"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    else:
        try:
            start[: start.rfind(b"\n") + 1 or None].decode("utf-8")
        except UnicodeDecodeError:
            encoding = "cp1252"
        if b"\0" in start:
            raise SourceError(f"{file.name} is not a text file. Export it as CSV again.")
    text = start.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    first = text.splitlines()[0] if text.strip() else ""
    separator = max(SEPARATORS, key=lambda s: first.count(s))
    rows = list(itertools.islice(csv.reader(io.StringIO(text, newline=""), delimiter=separator), SAMPLE_ROWS))
    header = distinct([c.strip() for c in rows[0]]) if rows else []
    body = [row for row in rows[1:] if len(row) == len(header)]
    read: dict[str, str] = {}
    if separator != ",":
        read["separator"] = "tab" if separator == "\t" else separator
    if encoding != "utf-8":
        read["encoding"] = encoding
    values = [v.strip() for row in body for v in row]
    if any(re.fullmatch(r"-?\d{1,3}(?:[ \u00a0\u202f.]?\d{3})*,\d{1,4}(?: ?[€£$])?", v) for v in values):
        read["decimal"] = ","
        if any(re.fullmatch(r"-?\d{1,3}(?:\.\d{3})+,\d{1,4}(?: ?[€£$])?", v) for v in values):
            read["thousands"] = "."
    elif any(re.fullmatch(r"[£$]?-?\d{1,3}(?:,\d{3})+\.\d{1,4}", v) for v in values):
        read["thousands"] = ","
    return read, header, body


# -- guessing --------------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Write a header without accents, case and punctuation.

    >>> _plain("N° de Commande (ligne)")
    'n de commande ligne'
    """
    letters = unicodedata.normalize("NFKD", text.replace("°", " ")).encode("ascii", "ignore").decode().lower()
    return " ".join(re.sub(r"[^a-z0-9]+", " ", letters).split())


def _roles(header: list[str], rows: list[list[str]]) -> dict[str, str]:
    """Give role -> column: whole headers first, the more telling word first; a date or number must look like one."""
    plain = {column: _plain(column) for column in header}
    filled = {c: [row[i].strip() for row in rows if row[i].strip()] for i, c in enumerate(header)} if rows else {}
    candidates = sorted(
        (place, list(WORDS).index(role), role, column)
        for role, words in WORDS.items()
        for place, word in enumerate(words)
        for column in header
        if plain[column] == word
    )
    found: dict[str, str] = {}
    for _, _, role, column in candidates:
        if role in found or column in found.values():
            continue
        values = filled.get(column, [])
        if role in TIMES and values and not _looks_like_time(values):
            continue
        if role in NUMBERS and values and sum(bool(re.search(r"\d", v)) for v in values) < len(values) / 2:
            continue
        found[role] = column
    if "returned" in found and "received_at" not in found and _looks_like_time(filled.get(found["returned"], [])):
        found["received_at"] = found.pop("returned")
    if "refunded_at" in found and "ordered_at" not in found and "net_amount" in found:
        found.setdefault("refund_amount", found.pop("net_amount"))  # a table of refunds, not of orders
    return found


def _looks_like_time(values: list[str]) -> bool:
    return (
        bool(values) and sum(bool(re.search(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", v)) for v in values) > len(values) / 2
    )


def _formats(samples: dict[str, list[str]], *, is_day_first: bool = True) -> list[str]:
    """Find how the dates of a table are written; none for ISO. Where several read as many, the order that was chosen wins."""
    values = {v.strip() for role in TIMES for v in samples.get(role, []) if v.strip()}
    values = {v for v in values if not re.match(r"\d{4}-\d{2}-\d{2}", v)}
    if not values:
        return []
    best: tuple[int, list[str]] = (0, [])
    for day in sorted(DATES, key=lambda written: written.startswith("%m") == is_day_first):
        used = [day + clock for clock in CLOCKS if any(_reads(v, day + clock) for v in values)]
        count = sum(any(_reads(v, f) for f in used) for v in values)
        if count > best[0]:
            best = (count, used)
    return best[1]


def _reads(value: str, written: str) -> bool:
    try:
        datetime.strptime(value, written)
    except ValueError:
        return False
    return True


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", _plain(text)).strip("_") or "table"


def _word(value: str) -> str:
    """Write a text as YAML, quoted where it must be."""
    return value if re.fullmatch(r"[A-Za-zÀ-ÿ][\wÀ-ÿ° '/.-]*", value) and value.lower() not in ("yes", "no", "true", "false", "null", "y", "n", "on", "off") else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'  # fmt: skip


def _table(table: Guess, choices: Choices, *, is_joined: bool) -> str:
    """Write one table of the mapping."""
    found, samples = table.roles, table.samples
    lines = [f"  - file: {_word('*' + table.file.suffix)}"]
    if table.read:
        lines.append("    read: {" + ", ".join(f"{k}: {_word(v)}" for k, v in table.read.items()) + "}")
    formats = _formats(samples, is_day_first=choices.is_day_first)
    if formats:
        lines.append("    dates: [" + ", ".join(f'"{f}"' for f in formats) + "]")
    lines.append("    to:")
    c = {role: _word(column) for role, column in found.items()}
    if named := {v.strip() for v in samples.get("country", []) if _plain(v) in COUNTRIES}:
        codes = {v.lower(): COUNTRIES[_plain(v)] for v in sorted(named)}
        c["country"] = (
            f"{{column: {c['country']}, map: {{{', '.join(f'{_word(v)}: {code}' for v, code in codes.items())}}}}}"
        )
    is_order = "ordered_at" in c and bool({"order_id", "order_line_id"} & set(c))
    is_parcel = not is_order and "tracking" in c
    if is_joined and {"order_id", "order_line_id"} <= set(c):
        c["order_line_id"] = f'{{join: [{c["order_id"]}, {c["order_line_id"]}], with: "-"}}'
    made = False
    if is_order:
        lines.append("      order_line:")
        made = True
        lines += [
            f"        {role}: {c[role]}"
            for role in ("order_line_id", "order_id", "ordered_at", "product_id")
            if role in c
        ]
        lines.append(f"        units: {c.get('units', '{value: 1}  # assumed: one unit a row')}")
        if price := _net_amount(c, choices):
            lines.append(f"        net_amount: {price}")
        lines += [f"        {role}: {c[role]}" for role in ORDER if role in c]
    if is_parcel:
        made = True
        lines += ["      chain_element:", f"        parcel_id: {c['tracking']}"]
        start = c.get("handed_over_at") or c.get("shipped_at") or c.get("ordered_at") or c.get("received_at")
        if start:
            lines.append(f"        started_at: {start}")
        for column, role in (("ended_at", "delivered_at"), ("from_place_id", "origin"), ("to_place_id", "destination"), ("carrier", "carrier"), ("mass_kg", "weight_kg"), ("distance_km", "distance_km"), ("cost_amount", "freight")):  # fmt: skip
            if role in c:
                lines.append(f"        {column}: {c[role]}")
        if "mass_kg" not in c and "weight_g" in c:
            lines.append(f"        mass_kg: {{times: [{c['weight_g']}, 0.001]}}")
        if "mode" in c:
            lines.append(f"        mode: {{column: {c['mode']}, map: {{road: truck, ground: truck, route: truck, train: rail, plane: air, flight: air, avion: air, ship: sea, bateau: sea}}}}")  # fmt: skip
    stages = {role.removesuffix("_at"): c[role] for role in STAGES if role in c}
    if is_parcel and "delivered_at" in c:
        stages.setdefault("received", c["delivered_at"])
    if is_parcel and "handed_over" not in stages and "shipped_at" in c:
        stages["handed_over"] = c["shipped_at"]
    if stages:
        made = True
        lines.append("      return_event:")
        if "returned" in c:
            lines.append(f"        when: {c['returned']}")
        ids = [("units", "units_returned")]
        if not is_order:
            units = "units_returned" if "units_returned" in c else "units"
            ids = [("return_line_id", "return_id"), ("return_id", "return_id"), ("order_line_id", "order_line_id"), ("units", units), ("product_id", "product_id"), ("country", "country")]  # fmt: skip
            if "return_id" not in c and is_parcel:
                ids = [("return_line_id", "tracking"), *ids]
        lines += [f"        {column}: {c[role]}" for column, role in [*ids, ("reason_raw", "reason_raw")] if role in c]
        lines.append("        events:")
        order = [s.removesuffix("_at") for s in STAGES]
        lines += [f"          {stage}: {stages[stage]}" for stage in sorted(stages, key=order.index)]
        if "promised_at" in c and {"handed_over", "received"} <= set(stages):
            lines.append(
                f"        promise: {{name: delivery, from: handed_over, to: received, by: {c['promised_at']}}}"
            )
    if "refund_amount" in c and "refunded_at" in c:
        lines += ["      refund:", f"        refunded_at: {c['refunded_at']}", f"        amount: {c['refund_amount']}  # must include VAT"]  # fmt: skip
        made = True
    attributes = [role for role in PRODUCT if role in c and not (is_parcel and role == "weight_kg")]
    if "product_id" in c and attributes:
        lines += [
            "      product:",
            f"        product_id: {c['product_id']}",
            *(f"        {role}: {c[role]}" for role in attributes),
        ]
        made = True
    if not made:
        lines.append("      order_line: {}  # no order, return or parcel was recognised: name the columns here")
    return "\n".join(lines)


def _net_amount(c: dict[str, str], choices: Choices) -> str:
    """Write what stands behind the net amount, with what is assumed of it; nothing without a price."""
    paid = f"{{times: [{c['unit_price']}, {c['units']}]}}" if {"unit_price", "units"} <= set(c) else c.get("unit_price")
    price = c.get("net_amount") or c.get("gross_amount") or paid
    if price is None:
        return ""
    if not choices.is_tax_inside:
        return price + ("  # must exclude VAT and count all units" if "net_amount" in c else "  # must exclude VAT")
    if "vat_amount" in c:
        return f"{{minus: [{price}, {c['vat_amount']}]}}"
    return f"{{divide: [{price}, {1 + choices.tax_rate:g}]}}  # assumed: {100 * choices.tax_rate:g}% VAT inside"


def _repeats(values: list[str]) -> bool:
    return len(set(values)) < len(values)
