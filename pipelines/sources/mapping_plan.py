"""What each table of a proposed mapping becomes: its columns as YAML, its joins, its dates, its files' pattern."""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipelines.sources import headings
from pipelines.sources.choices import Choices, formats
from pipelines.sources.guesses import SAYS, STAGES, Guess, day_first, is_called
from pipelines.sources.propose import Proposal

LEFT_OUT = {"cancelled", "failed"}  # what became of an order that is no sale
RESERVED = ("yes", "no", "true", "false", "null", "y", "n", "on", "off")
OF_ORDER = (
    "ordered_at",
    "country",
    "currency",
    "customer_id",
    "customer_area",
    "status",
    "cancelled_at",
    "shipped_at",
    "delivered_at",
    "channel",
)


def word(value: str) -> str:
    """Write a text as YAML, quoted where it must be."""
    if re.fullmatch(r"[A-Za-zÀ-ÿ][\wÀ-ÿ° '/.-]*", value) and not value.endswith(" ") and value.lower() not in RESERVED:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def flow(pairs: Iterable[tuple[str, str]]) -> str:
    """Write keys and YAML texts on one line."""
    return "{" + ", ".join(f"{k}: {v}" for k, v in pairs) + "}"


def words(values: Iterable[str]) -> str:
    """Write a list of texts on one line."""
    return "[" + ", ".join(word(v) for v in values) + "]"


def read_options(options: dict[str, Any]) -> str:
    """Write how a file is read on one line."""
    return flow(
        (k, words(v) if isinstance(v, list) else str(v) if isinstance(v, int) else word(v)) for k, v in options.items()
    )


@dataclass
class Plan:
    """What one table becomes: role -> YAML expression, its joins, and the lines of its logs."""

    table: Guess
    c: dict[str, str]
    joins: list[str] = field(default_factory=list)
    joined: list[Guess] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    whens: list[str] = field(default_factory=list)


class Sides(NamedTuple):
    """How a ledger's sales, returns and refunds are told apart: conditions, event of a return, which rows are sales.

    And the column that says so, with its words for a sale; none where the sign of the units does.
    """

    sale: str
    returned: str
    paid: str
    event: str
    is_sale: list[bool]
    sign: str
    sold: list[str]


class Planner:
    """Plans the tables of a proposal: which are used, what each is joined to, and what its columns are."""

    def __init__(self, proposal: Proposal) -> None:
        self.choices: Choices = proposal.choices
        self.tables = [t for t in proposal.tables if t.kind]
        kinds = {k: [t for t in self.tables if t.kind == k] for k in {t.kind for t in self.tables}}
        self.headers = kinds.get("headers", [])
        self.sold: Plan | None = None
        self.by_order: list[tuple[Guess, str]] = []  # tables that speak of whole orders, with their short names
        self.plans: list[Plan] = []
        lines = [*kinds.get("orders", []), *kinds.get("ledger", []), *kinds.get("items", [])]
        for table in lines or self.headers:
            plan = Plan(table, self.columns(table))
            self.with_header(plan)
            if "ordered_at" in plan.c:
                self.sold = self.sold or plan
                self.plans.append(plan)
        for kind in ("returns", "flags", "refunds", "parcels", "events", "products"):
            for table in kinds.get(kind, []):
                plan = Plan(table, self.columns(table))
                if not self.is_of_orders(plan):
                    self.plans.append(plan)

    def usual_currency(self) -> str:
        """Give the currency most rows have, where a table of money says none; '' where every one says its own."""
        paid = {"returns": "refund_amount", "products": "unit_cost", "items": ""}
        money = [t for t in self.tables if t.kind not in paid or paid[t.kind] in t.roles]
        if all("currency" in t.roles for t in money):
            return ""
        values = [v.upper() for t in self.tables if "currency" in t.roles for v in t.filled(t.roles["currency"])]
        return max(set(values), key=values.count) if values else ""

    # -- columns -------------------------------------------------------------------------------------------------------

    def columns(self, table: Guess, short: str = "") -> dict[str, str]:
        """Give role -> YAML expression of a table's columns."""
        c: dict[str, str] = {}
        for role, column in table.roles.items():
            text = word(f"{short}.{column}" if short else column)
            own = self.own_dates(table, column) if role in headings.TIMES else []
            values = table.filled(column)
            if own:
                months = headings.months_of(values)
                pairs = [("column", text)]
                pairs += [("replace", flow((word(k), v) for k, v in months.items()))] if months else []
                text = flow([*pairs, ("date", f"[{', '.join(quoted(f) for f in own)}]")])
            elif role == "country":
                text = self.countries(text, values)
            elif role == "currency" and any(v in "€$£¥" for v in values):
                text = flow(
                    (
                        ("column", text),
                        (
                            "map",
                            flow((word(m), c) for m, c in (("€", "EUR"), ("$", "USD"), ("£", "GBP"), ("¥", "JPY"))),
                        ),
                    )
                )
            elif (
                role == "product_id"
                and values
                and sum(bool(re.match(r"\[[^\]]+\] ", v)) for v in values) > len(values) / 2
            ):
                text = flow((("column", text), ("pattern", '"\\\\[([^\\\\]]+)\\\\]"')))
            c[role] = text
        return c

    def countries(self, text: str, values: Sequence[str]) -> str:
        """Write a country; names and three-letter codes are exchanged for two-letter ones."""
        named = {
            v.lower(): code for v in values if (code := headings.country_of(v)) and not re.fullmatch("[A-Za-z]{2}", v)
        }
        if not named:
            return text
        return flow((("column", text), ("map", flow((word(v), word(code)) for v, code in sorted(named.items())))))

    def own_dates(self, table: Guess, column: str) -> list[str]:
        """Give the formats of a column whose days and months stand otherwise than the table's."""
        own = day_first(table, [column])
        if headings.months_of(table.filled(column)):
            return formats(table, column, is_day_first=True)
        if own is None or own == self.choices.is_day_first:
            return []
        return formats(table, column, is_day_first=own)

    def dates(self, plan: Plan) -> tuple[list[str], str]:
        """Give the formats of a table's times and what is assumed of them."""
        used: dict[str, None] = {}
        for table in (plan.table, *plan.joined):
            for column in table.time_columns:
                if not self.own_dates(table, column):
                    used.update(dict.fromkeys(formats(table, column, is_day_first=self.choices.is_day_first)))
        assumed = ""
        if used and plan.table.is_order_assumed:
            assumed = (
                f"assumed: {'day before month' if self.choices.is_day_first else 'month before day'}, for every day is"
                " 12 or less"
            )
        return sorted(used, key=lambda written: "%y" not in written), assumed  # 26 would pass for a year of four digits

    # -- joins ---------------------------------------------------------------------------------------------------------

    def join(self, plan: Plan, short: str, other: Guess, on: dict[str, str]) -> None:
        """Join another table of the files."""
        options = [("as", short), ("file", word(self.pattern(other)))]
        if other.read:
            options.append(("read", read_options(other.read)))
        options.append(("on", flow((word(a), word(b)) for a, b in on.items())))
        plan.joins.append(f"      - {flow(options)}")
        plan.joined.append(other)

    def with_header(self, plan: Plan) -> None:
        """Take what a line does not say from the table of its orders."""
        missing = [r for r in OF_ORDER if r not in plan.c]
        key = plan.table.roles.get("order_id")
        if key is None or plan.table.kind == "headers":
            return
        best: tuple[float, Guess | None, str] = (0.5, None, "")
        for header in self.headers:
            if header.file == plan.table.file and header.sheet == plan.table.sheet:
                continue
            column = header.roles.get("order_id", "")
            if column and (share := _overlap(plan.table.filled(key), header.filled(column))) > best[0]:
                best = (share, header, column)
        if best[1] is not None:
            short = "orders" if "orders" not in plan.table.header else "order_of"
            self.join(plan, short, best[1], {key: best[2]})
            plan.c |= {r: t for r, t in self.columns(best[1], short).items() if r in missing}

    def is_of_orders(self, plan: Plan) -> bool:
        """Join to the order lines a table that speaks of whole orders.

        Returns without goods, flags, shipments to customers.
        """
        table, sold = plan.table, self.sold
        if sold is None or "order_id" not in table.roles or "order_id" not in sold.table.roles:
            return table.kind == "flags"
        here, there = sold.table.roles["order_id"], table.roles["order_id"]
        goods = {"product_id", "order_line_id"} & set(table.roles)
        if (
            table.kind == "parcels"
            and not goods
            and not is_called(table, SAYS["returns"])
            and not {"return_id"} & set(table.roles)
        ):
            self.join(sold, "shipped", table, {here: there})
            given = self.columns(table, "shipped")
            given["shipped_at"] = given.get("shipped_at") or given.get("handed_over_at", "")
            sold.c |= {
                r: given[r] for r in ("shipped_at", "delivered_at", "carrier") if given.get(r) and r not in sold.c
            }
            return True
        if table.kind not in ("flags", "returns") or goods - ({"product_id"} if not _is_goods(table) else set()):
            return False
        given = self.columns(table, "returns")
        self.join(sold, "returns", table, {here: there})
        for role in (*STAGES, "reason_raw", "return_id", "units_returned", "refund_amount"):
            if role in given and role != "units_returned":
                sold.c.setdefault(role, given[role])
        if table.kind == "flags" or not set(STAGES) & set(given):
            sold.c.setdefault("returned", given.get("returned", word(f"returns.{there}")))
            sold.notes.append("returned: the file names whole orders and no date")
        else:
            sold.notes.append("assumed: an order that came back came back whole, for the returns name no goods")
        return True

    def not_cancelled(self, plan: Plan, *, is_ledger: bool = False) -> tuple[list[str], list[str]]:
        """Write which rows are no cancelled orders, and what is assumed by it."""
        t, c = plan.table, plan.c
        if "units_cancelled" in c:
            return [], []
        if "cancelled_at" in c:
            said = f"{t.roles.get('cancelled_at', 'a date of cancellation')} is filled for cancelled orders"
            return [flow((("column", c["cancelled_at"]), ("is", '[""]')))], [said]
        out = [v for v in dict.fromkeys(self.statuses(plan)) if headings.meaning(v) in LEFT_OUT]
        if "status" in c and out and not is_ledger:
            return [flow((("column", c["status"]), ("is_not", words(out))))], ["cancelled orders are no sales"]
        return [], []

    def statuses(self, plan: Plan) -> list[str]:
        """Give the values of the status that is read, of the table itself or of its order."""
        for table in (plan.table, *plan.joined):
            if "status" in table.roles:
                return table.filled(table.roles["status"])
        return []

    def pattern(self, table: Guess) -> str:
        """Give the pattern of names that a table's files have and no other table's."""
        suffix = "".join(s for s in table.file.suffixes[-2:] if s == table.file.suffix or table.file.suffix == ".gz")
        others = {
            f.name.lower()
            for t in self.tables
            for f in t.files
            if f not in table.files and not set(t.files) & set(table.files)
        }
        stems = [f.name.removesuffix(suffix) for f in table.files]
        common = _common(stems) if len(stems) > 1 else re.sub(r"[-_ .]?\d[\d_.-]*$", "", stems[0])
        for pattern in (f"*{suffix}", f"{common}*{suffix}"):
            if not any(fnmatch.fnmatch(other, pattern.lower()) for other in others) and not re.search(
                r"[\[\]?]", pattern
            ):
                return pattern
        return re.sub(r"([\[\]?*])", r"[\1]", table.file.name)


def quoted(text: str) -> str:
    """Write a text of the file's own between quotation marks."""
    return f'"{text}"'


def _overlap(these: Sequence[str], those: Sequence[str]) -> float:
    """Give the share of some values that stand among others too."""
    known = set(those)
    return sum(v in known for v in these) / len(these) if these else 0.0


def _common(texts: Sequence[str]) -> str:
    """Give the beginning that texts share, up to a number."""
    shared = 0
    for letters in zip(*texts, strict=False):
        if len(set(letters)) > 1:
            break
        shared += 1
    return texts[0][:shared].rstrip("0123456789")


def _is_goods(table: Guess) -> bool:
    return "product_id" in table.roles or "order_line_id" in table.roles


def thousands_assumed(table: Guess) -> str:
    """Say that points part thousands where no value of the sample shows it by a decimal comma; '' else."""
    is_shown = any(re.search(r"\d,\d", value) for row in table.rows for value in row)
    is_read = table.read.get("thousands") == "." and not is_shown
    return "  # assumed: 1.234 is 1234, for each point between digits is followed by three" if is_read else ""


def currency_of_refunds(c: Mapping[str, str]) -> list[str]:
    """Write the currency of what is paid back: its own where a column says it."""
    column = c.get("refund_currency") or c.get("currency")
    return [f"        currency: {column}"] if column else []


def condition(conditions: Sequence[str]) -> str:
    """Write what all has to hold for a row."""
    one = conditions[0] if len(conditions) == 1 else flow([("all", "[" + ", ".join(conditions) + "]")])
    return f"        when: {one}"


def flag_of(column: str, yes: Iterable[str], marked: str, pattern: str = "") -> str:
    """Write a mark of returned rows: one of these words, or a digit that the pattern finds."""
    pairs = [("column", column), *([("pattern", f'"{pattern}"')] if pattern else [])]
    pairs += [("map", flow((word(v), marked) for v in yes)), ("otherwise", "null")]
    return f"return_flag: {flow(pairs)}  # the file has no return date"
