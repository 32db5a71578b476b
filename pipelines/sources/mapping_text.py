"""The text of a proposed mapping.

What each table becomes, how tables are joined, and each assumption beside the line it is made on.
"""

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.sources import headings
from pipelines.sources.choices import Choices, formats, is_of_order, number_of, price_role
from pipelines.sources.guesses import MOST_WORDS, ORDER, PRODUCT, SAYS, STAGES, Guess, is_called, is_yes, ledger_signs
from pipelines.sources.headings import meaning, plain
from pipelines.sources.propose import Proposal
from pipelines.warehouse import vocabulary

RESERVED = ("yes", "no", "true", "false", "null", "y", "n", "on", "off")
LEFT_OUT = {"cancelled", "failed"}  # what became of an order that is no sale
ENDED = {"rejected": "rejected", "cancelled": "cancelled", "expired": "expired"}  # what ends a return without goods
EVENTS = set(vocabulary.EVENTS)
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


def _read(options: dict[str, Any]) -> str:
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


def written(proposal: Proposal) -> str:
    """Write the mapping of a proposal."""
    writer = _Writer(proposal)
    blocks = [b for b in (writer.block(plan) for plan in writer.plans) if b]
    if not blocks:  # a person may name the columns
        blocks = [
            f"  - file: {word(proposal.file)}",
            "    to: {order_line: {}}  # neither orders nor returns are seen: name the columns here",
        ]
    stem = proposal.name or Path(proposal.file).name.split(".")[0]
    used = ", ".join(dict.fromkeys(t.file.name for t in proposal.tables if t.kind)) or proposal.file
    head = [f"# Proposed for {used}. Check what stands behind each name; the manual is docs/sources.md."]
    head += [
        f"# Not used: {t.place}, for neither orders nor returns are seen in it." for t in proposal.tables if not t.kind
    ]
    head.append(f"name: {re.sub(r'[^a-z0-9]+', '_', plain(stem)).strip('_') or 'table'}")
    head.append(f"time_zone: {proposal.choices.time_zone}  # assumed: the zone of times without one, and of days")
    constants = {"currency": proposal.choices.currency or writer.usual_currency(), "country": proposal.choices.country}
    if said := {k: v for k, v in constants.items() if v}:
        head.append(f"constants: {flow(said.items())}  # assumed: {' and '.join(said)}, where no column says them")
    return "\n".join([*head, "tables:", *blocks]) + "\n"


def used(proposal: Proposal) -> list[Path]:
    """List the files that the mapping of a proposal reads."""
    writer = _Writer(proposal)
    tables = [t for plan in writer.plans if writer.block(plan) for t in (plan.table, *plan.joined)]
    return list(dict.fromkeys(f for table in proposal.tables if table in tables for f in table.files))


class _Writer:
    """Plans the tables of a proposal and writes them one by one."""

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

    # -- columns
    # ---------------------------------------------------------------------------------------------------------

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
                text = flow([*pairs, ("date", f"[{', '.join(_quoted(f) for f in own)}]")])
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
        from pipelines.sources.guesses import day_first as _day_first

        own = _day_first(table, [column])
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

    # -- joins
    # -----------------------------------------------------------------------------------------------------------

    def join(self, plan: Plan, short: str, other: Guess, on: dict[str, str]) -> None:
        """Join another table of the files."""
        options = [("as", short), ("file", word(self.pattern(other)))]
        if other.read:
            options.append(("read", _read(other.read)))
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

    # -- tables
    # ----------------------------------------------------------------------------------------------------------

    def block(self, plan: Plan) -> str:
        """Write one table; '' when it gives nothing."""
        kind = plan.table.kind
        logs: list[str] = []
        if kind in ("orders", "items", "headers"):
            logs = [*self.order_lines(plan), *self.returns_of_orders(plan), *self.products(plan)]
        elif kind == "ledger":
            logs = [*self.ledger(plan), *self.products(plan)]
        elif kind == "returns":
            logs = self.returns(plan)
        elif kind == "refunds":
            logs = self.refunds(plan)
        elif kind == "parcels":
            logs = self.parcels(plan)
        elif kind == "events":
            logs = self.events(plan)
        elif kind == "products":
            logs = self.products(plan)
        if not logs:
            return ""
        lines = [f"  - file: {word(self.pattern(plan.table))}"]
        if plan.table.read:
            lines.append(f"    read: {_read(plan.table.read)}")
        used, assumed = self.dates(plan)
        if used:
            lines.append(f"    dates: [{', '.join(_quoted(f) for f in used)}]" + (f"  # {assumed}" if assumed else ""))
        if plan.joins:
            lines += ["    join:", *plan.joins]
        lines.append("    to:")
        return "\n".join([*lines, *logs])

    def order_lines(self, plan: Plan, when: str = "", key: str = "") -> list[str]:
        """Write the order lines of a table."""
        t, c = plan.table, plan.c
        lines = ["      order_line:", *(f"        # {note}" for note in plan.notes)]
        conditions = [when] if when else []
        notes: list[str] = []
        if "units_cancelled" not in c and "cancelled_at" in c:
            conditions.append(flow((("column", c["cancelled_at"]), ("is", '[""]'))))
            notes.append(f"{t.roles.get('cancelled_at', 'a date of cancellation')} is filled for cancelled orders")
        elif "units_cancelled" not in c and "status" in c and not when:
            out = [v for v in dict.fromkeys(self.statuses(plan)) if meaning(v) in LEFT_OUT]
            if out:
                conditions.append(flow((("column", c["status"]), ("is_not", words(out)))))
                notes.append("cancelled orders are no sales")
        if conditions:
            condition = conditions[0] if len(conditions) == 1 else flow([("all", "[" + ", ".join(conditions) + "]")])
            lines.append(f"        when: {condition}" + (f"  # assumed: {'; '.join(notes)}" if notes else ""))
        if key:
            lines.append(f"        order_line_id: {key}")
        elif "order_line_id" in c:
            lines.append(f"        order_line_id: {self.line_id(plan)}")
        elif t.kind == "headers":
            lines.append(
                f"        order_line_id: {c['order_id']}  # assumed: one line an order, for the file has no lines"
            )
        lines += [f"        {role}: {c[role]}" for role in ("order_id", "ordered_at", "product_id") if role in c]
        if "product_id" not in c:
            lines.append("        product_id: {value: unknown}  # assumed: one product, for the file names no goods")
        lines.append(
            f"        units: {c['units']}"
            if "units" in c and t.kind != "headers"
            else "        units: {value: 1}  # assumed: one unit a row"
        )
        lines += [f"        {text}" for text in self.amounts(plan)]
        lines += [f"        {role}: {c[role]}" for role in ORDER if role in c]
        lines += [f"        {text}" for text in self.flag(plan)]
        return lines

    def statuses(self, plan: Plan) -> list[str]:
        """Give the values of the status that is read, of the table itself or of its order."""
        for table in (plan.table, *plan.joined):
            if "status" in table.roles:
                return table.filled(table.roles["status"])
        return []

    def line_id(self, plan: Plan) -> str:
        """Write the id of an order line."""
        c = plan.c
        if plan.table.numbers_lines:
            return flow((("join", f"[{c['order_id']}, {c['order_line_id']}]"), ("with", '"-"')))
        return c["order_line_id"]

    def amounts(self, plan: Plan) -> list[str]:
        """Write the net amount and what is assumed of it."""
        t, c, choices = plan.table, plan.c, self.choices
        role = price_role(t)
        if not role:
            return ["# assumed: no price, for the file has none: numbers in money are not available"]
        price = c[role]
        says = []
        if role.endswith("unit_price") and "units" in c:
            price = flow([("times", f"[{c['units']}, {price}]")])
            if role == "unit_price":
                says.append("the price of one unit")
            if "discount_amount" in c and re.search("line|item|ligne|position", plain(t.roles["discount_amount"])):
                price = flow([("minus", f"[{price}, {c['discount_amount']}]")])
        if role.endswith("amount") and is_of_order(t, role):
            says.append("the amount of a line, though it looks like that of the whole order")
        if not choices.is_tax_inside:
            if not role.startswith("net"):
                says.append("without tax")
            tax = [f"vat_amount: {c['vat_amount']}"] if "vat_amount" in c and not is_of_order(t, "vat_amount") else []
            return ["net_amount: " + price + (f"  # assumed: {', '.join(says)}" if says else ""), *tax]
        if "vat_amount" in c and not is_of_order(t, "vat_amount"):
            net = flow([("minus", f"[{price}, {c['vat_amount']}]")])
            return ["net_amount: " + net + "  # assumed: tax inside", f"vat_amount: {c['vat_amount']}"]
        if "vat_rate" in c and not any("%" in v for v in t.filled(t.roles["vat_rate"])):
            factor = flow([("sum", f"[1, {flow([('divide', '[' + c['vat_rate'] + ', 100]')])}]")])
            return ["net_amount: " + flow([("divide", f"[{price}, {factor}]")])]
        net = flow([("divide", f"[{price}, {1 + choices.tax_rate:g}]")])
        return [
            f"net_amount: {net}  # assumed: {', '.join([*says, f'{100 * choices.tax_rate:g}% tax inside'])}",
            "vat_amount: " + flow([("minus", f"[{price}, {net}]")]),
        ]

    def flag(self, plan: Plan) -> list[str]:
        """Write which rows the source marks as returned, without a date; nothing where dates say it."""
        c = plan.c
        if set(STAGES) & set(c):
            return []
        lists_orders = [t for t in plan.joined if t.kind == "flags"]
        marked = "order" if lists_orders or is_of_order(plan.table, "returned") else "line"
        if "returned" in c and (yes := self.flagged(plan)):
            return [_flag(c["returned"], yes, marked)]
        if "returned" in c and lists_orders:  # orders that are listed came back
            return [_flag(c["returned"], "0123456789", marked, "[0-9]")]
        if "units_returned" in c:
            return [_flag(c["units_returned"], "123456789", marked, "[1-9]")]
        back = [v.lower() for v in dict.fromkeys(self.statuses(plan)) if meaning(v) in ("returned", "refunded")]
        return [_flag(c["status"], back, marked)] if "status" in c and back else []

    def flagged(self, plan: Plan) -> list[str]:
        """Give the words that say a row came back."""
        for table in (plan.table, *plan.joined):
            if "returned" in table.roles:
                values = dict.fromkeys(v.lower() for v in table.filled(table.roles["returned"]))
                return [v for v in values if is_yes(v)][:MOST_WORDS] if values else ["yes", "true", "1"]
        return []

    def returns_of_orders(self, plan: Plan) -> list[str]:
        """Write the returns and refunds that stand on order rows."""
        t, c = plan.table, plan.c
        stages = [r for r in STAGES if r in c]
        lines: list[str] = []
        if stages:
            lines.append("      return_event:")
            if "returned" in c:
                yes = self.flagged(plan)
                said = flow((("column", c["returned"]), ("is", words(yes)))) if yes else c["returned"]
                lines.append(f"        when: {said}")
            if "return_id" in c:
                lines.append(f"        return_id: {c['return_id']}")
            if "units_returned" in c:
                lines.append(f"        units: {c['units_returned']}")
            lines += [f"        {role}: {c[role]}" for role in ("reason_raw", "note_terms") if role in c]
            lines += ["        events:", *(f"          {STAGES[r]}: {c[r]}" for r in stages)]
            if "promised_at" in c and {"handed_over_at", "received_at"} <= set(stages):
                lines.append(
                    f"        promise: {{name: delivery, from: handed_over, to: received, by: {c['promised_at']}}}"
                )
        return lines + self.refund(plan, "refunded_at" in c and "order_line_id" not in t.roles)

    def refund(self, plan: Plan, _: bool = False) -> list[str]:
        """Write the refund that stands on a row; without its date it is said."""
        c = plan.c
        if "refund_amount" not in c:
            return []
        if "refunded_at" not in c:
            return [
                f"      # {plan.table.roles.get('refund_amount', 'The refund')} is left out: no column says when money"
                " was paid back"
            ]
        amount = self.positive(plan, "refund_amount")
        lines = ["      refund:"]
        if "refund_id" in c:
            lines.append(f"        refund_id: {c['refund_id']}")
        lines += [f"        refunded_at: {c['refunded_at']}", f"        amount: {amount}  # assumed: with tax"]
        if "currency" in c:
            lines.append(f"        currency: {c['currency']}")
        return lines

    def positive(self, plan: Plan, role: str) -> str:
        """Write a number that stands in the file with a minus."""
        column = plan.table.roles.get(role)
        values = [number_of(v) for v in plan.table.filled(column)] if column else []
        below = [v for v in values if v is not None and v < 0]
        return flow([("times", f"[{plan.c[role]}, -1]")]) if below and len(below) * 2 > len(values) else plan.c[role]

    def returns(self, plan: Plan) -> list[str]:
        """Write a table of returns."""
        t, c = plan.table, plan.c
        stages = [r for r in STAGES if r in c]
        if not stages:
            return []
        line = self.order_line_of(plan)
        head: list[str] = []
        own = self.return_line(plan, line)
        if own:
            head.append(f"        return_line_id: {own}")
        if "return_id" in c:
            head.append(f"        return_id: {c['return_id']}")
        if line:
            head.append(f"        order_line_id: {line}")
        head += [
            f"        {column}: {c[role]}"
            for column, role in (
                ("parcel_id", "tracking"),
                ("carrier", "carrier"),
                ("product_id", "product_id"),
                ("country", "country"),
            )
            if role in c and not (role == "carrier" and "tracking" not in c)
        ]
        units = next((r for r in ("units_returned", "units") if r in c), "")
        head.append(
            f"        units: {self.positive(plan, units)}"
            if units
            else "        units: {value: 1}  # assumed: one unit a row"
        )
        head += [f"        {role}: {c[role]}" for role in ("reason_raw", "note_terms") if role in c]
        ended = {v: meaning(v) for v in self.statuses(plan) if meaning(v) in ENDED}
        lines = ["      return_event:"]
        prefix = "        "
        ends = c.get("updated_at")
        if ended and not ends and "rejected_at" not in c:
            lines.append(
                f"        when: {flow((('column', c['status']), ('is_not', words(ended))))}  # assumed: these came to"
                " nothing, and no column says when"
            )
        elif ended and ends:
            lines = ["      return_event:", "      - " + head[0].strip() if head else "      -"]
            head = head[1:]
        lines += head
        lines += [f"{prefix}events:", *(f"{prefix}  {STAGES[r]}: {c[r]}" for r in stages)]
        if ended and ends:
            for event in dict.fromkeys(ended.values()):
                said = flow((("column", c["status"]), ("is", words(v for v, m in ended.items() if m == event))))
                lines += [f"      - when: {said}  # assumed: on the day of the last change"]
                lines += [f"        return_line_id: {own}"] if own else []
                lines += [f"        return_id: {c['return_id']}"] if "return_id" in c else []
                lines += [f"        order_line_id: {line}"] if line else []
                lines += ["        events:", f"          {ENDED[event]}: {ends}"]
        has_root = any(o is not t and o.file == t.file and o.kind == "refunds" for o in self.tables)
        if has_root and lines and "refund_amount" in c:
            return lines
        return lines + self.refund(plan)

    def order_line_of(self, plan: Plan) -> str:
        """Write the order line that a return is of; '' where the table does not say."""
        t, c, sold = plan.table, plan.c, self.sold
        if "order_line_id" in c:
            if sold is not None and sold.table.numbers_lines and "order_id" in c:
                return flow((("join", f"[{c['order_id']}, {c['order_line_id']}]"), ("with", '"-"')))
            return c["order_line_id"]
        if "order_id" not in c:
            return ""
        if sold is None or ("order_line_id" not in sold.c and sold.table.kind not in ("headers", "ledger")):
            if "product_id" in c:
                return flow((("join", f"[{c['order_id']}, {c['product_id']}, {{value: 1}}]"), ("with", '"/"')))
            return ""
        if sold.table.kind == "headers":
            return c["order_id"]
        if sold.table.kind == "ledger" or "product_id" not in sold.table.roles or "product_id" not in t.roles:
            return ""
        on = {t.roles["order_id"]: sold.table.roles["order_id"], t.roles["product_id"]: sold.table.roles["product_id"]}
        self.join(plan, "sold", sold.table, on)
        short = {r: word(f"sold.{sold.table.roles[r]}") for r in ("order_id", "order_line_id")}
        return (
            flow((("join", f"[{short['order_id']}, {short['order_line_id']}]"), ("with", '"-"')))
            if sold.table.numbers_lines
            else short["order_line_id"]
        )

    def return_line(self, plan: Plan, line: str) -> str:
        """Write the id of a return line; '' where it follows from the order line."""
        t, c = plan.table, plan.c
        if "return_line_id" in c:
            return c["return_line_id"]
        if "return_id" in c:
            ids = t.filled(t.roles["return_id"])
            goods = c.get("order_line_id") or c.get("product_id")
            if len(set(ids)) == len(ids):
                return c["return_id"]
            return flow([("key", f"[{c['return_id']}, {goods}]" if goods else f"[{c['return_id']}]")])
        if line:
            return ""
        if "tracking" in c:
            return flow([("key", f"[{c['tracking']}]")])
        parts = [c[r] for r in ("order_id", "product_id") if r in c]
        date = next((t.roles[r] for r in STAGES if r in t.roles), "")
        if len(parts) < 2 and date:
            parts.append(word(date))
        return flow([("key", f"[{', '.join(parts)}]")])

    def refunds(self, plan: Plan) -> list[str]:
        """Write a table of payments back to customers."""
        t, c = plan.table, plan.c
        if not {"refunded_at", "refund_amount"} <= set(c):
            return []
        lines = ["      refund:"]
        out = [
            v
            for v in dict.fromkeys(self.statuses(plan))
            if meaning(v) in (*ENDED, "failed", "requested") or plain(v) in ("pending", "requires action")
        ]
        if out and "status" in c:
            lines.append(
                f"        when: {flow((('column', c['status']), ('is_not', words(out))))}  # assumed: no money moved"
            )
        ids = t.filled(t.roles["refund_id"]) if "refund_id" in t.roles else []
        parts = [c[r] for r in ("refund_id", "order_id", "return_id") if r in c][:1] or [word(t.roles["refunded_at"])]
        lines.append(
            "        refund_id:"
            f" {c['refund_id'] if ids and len(set(ids)) == len(ids) else flow([('key', '[' + ', '.join(parts) + ']')])}"
        )
        lines += [f"        {role}: {c[role]}" for role in ("order_id", "return_id", "refunded_at") if role in c]
        lines.append(f"        amount: {self.positive(plan, 'refund_amount')}  # assumed: with tax")
        if "currency" in c:
            lines.append(f"        currency: {c['currency']}")
        return lines

    def parcels(self, plan: Plan) -> list[str]:
        """Write a log of parcels on their way back, one a row."""
        c = plan.c
        start = next(
            (
                c[r]
                for r in ("handed_over_at", "shipped_at", "label_issued_at", "received_at", "delivered_at")
                if r in c
            ),
            "",
        )
        if not start:
            return []
        lines = [
            "      chain_element:  # assumed: parcels on their way back",
            f"        parcel_id: {c['tracking']}",
            f"        started_at: {start}",
        ]
        for column, role in (
            ("ended_at", "delivered_at"),
            ("from_place_id", "origin"),
            ("to_place_id", "destination"),
            ("carrier", "carrier"),
            ("mass_kg", "weight_kg"),
            ("distance_km", "distance_km"),
            ("cost_amount", "freight"),
            ("currency", "currency"),
        ):
            if role in c and not (column == "currency" and "freight" not in c):
                lines.append(f"        {column}: {c[role]}")
        if "weight_kg" not in c and "weight_g" in c:
            lines.append(f"        mass_kg: {{times: [{c['weight_g']}, 0.001]}}")
        if "mode" in c:
            lines.append(
                f"        mode: {{column: {c['mode']}, map: {{road: truck, ground: truck, route: truck, strasse: truck,"
                " lkw: truck, train: rail, bahn: rail, plane: air, flight: air, avion: air, ship: sea, bateau: sea}}"
            )
        stages = {r: c[r] for r in STAGES if r in c}
        if "delivered_at" in c:
            stages.setdefault("received_at", c["delivered_at"])
        if "shipped_at" in c:
            stages.setdefault("handed_over_at", c["shipped_at"])
        stages = stages or {"received_at": start}
        lines.append("      return_event:")
        line = self.order_line_of(plan)
        ids = [
            ("return_line_id", c.get("return_line_id") or c.get("return_id") or c["tracking"]),
            ("return_id", c.get("return_id", "")),
            ("order_line_id", line),
            ("units", c.get("units_returned") or c.get("units", "")),
            ("product_id", c.get("product_id", "")),
            ("country", c.get("country", "")),
            ("carrier", c.get("carrier", "")),
            ("reason_raw", c.get("reason_raw", "")),
        ]
        lines += [f"        {column}: {text}" for column, text in ids if text]
        lines += ["        events:", *(f"          {STAGES[r]}: {stages[r]}" for r in STAGES if r in stages)]
        if "promised_at" in c and {"handed_over_at", "received_at"} <= set(stages):
            lines.append(
                f"        promise: {{name: delivery, from: handed_over, to: received, by: {c['promised_at']}}}"
            )
        return lines

    def events(self, plan: Plan) -> list[str]:
        """Write a log of tracking events: many rows a parcel, each one thing that happened."""
        t, c = plan.table, plan.c
        known = {v: meaning(v) for v in dict.fromkeys(t.filled(t.roles["event"]))}
        events = {
            v.lower(): "received" if m == "returned" else m for v, m in known.items() if m in EVENTS or m == "returned"
        }
        if not events or "event_at" not in c:
            return []
        listed = dict(list(events.items())[:MOST_WORDS])
        lines = ["      return_event:  # assumed: parcels on their way back"]
        lines.append(f"        when: {flow((('column', c['event']), ('is', words(listed))))}")
        parts = ", ".join((c["tracking"], c["event"], word(t.roles["event_at"])))
        lines.append("        event_id: " + flow((("join", f"[{parts}]"), ("with", '"/"'))))
        lines += [
            f"        return_line_id: {c.get('return_line_id') or c.get('return_id') or c['tracking']}",
            f"        return_id: {c.get('return_id', c['tracking'])}",
            f"        parcel_id: {c['tracking']}",
        ]
        lines.append(
            f"        event: {flow((('column', c['event']), ('map', flow((word(k), v) for k, v in listed.items()))))}"
        )
        lines.append(f"        occurred_at: {c['event_at']}")
        line = self.order_line_of(plan)
        lines += [f"        order_line_id: {line}"] if line else []
        lines += [f"        {role}: {c[role]}" for role in ("product_id", "carrier", "reason_raw") if role in c]
        if "country" in c:
            lines.append(f"        country: {c['country']}")
        return lines

    def products(self, plan: Plan) -> list[str]:
        """Write what is said of SKUs."""
        t, c = plan.table, plan.c
        attributes = [r for r in PRODUCT if r in c and c[r] != c.get("product_id")]
        if "product_id" not in c or not (attributes or "weight_g" in c):
            return []
        lines = ["      product:"]
        lines.append(f"        product_id: {c['product_id']}")
        lines += [f"        {role}: {c[role]}" for role in attributes]
        if "weight_kg" not in c and "weight_g" in c:
            lines.append(f"        weight_kg: {{times: [{c['weight_g']}, 0.001]}}")
        if "unit_cost" in c and "currency" in c and t.kind == "products":
            lines.append(f"        currency: {c['currency']}")
        return lines

    def ledger(self, plan: Plan) -> list[str]:
        """Write a table of sales and returns, told apart by a word or by the sign of the units."""
        t, c = plan.table, plan.c
        role, column = ledger_signs(t)
        sign = c[role] if role in c else word(column)
        number = next(iter(t.roles), "")
        values = list(dict.fromkeys(t.filled(column)))
        if role != "units":
            sold = [v for v in values if meaning(v) == "sale"]
            back = [v for v in values if meaning(v) in ("returned", "refunded")]
            sale, returned = (flow((("column", sign), ("is", words(v)))) for v in (sold, back))
            event = "refunded" if any(meaning(v) == "refunded" for v in back) else "received"
            is_sale = [v in sold for v in t.values(column)]
        else:
            sale = flow((("column", sign), ("above", "0")))
            returned = flow((("column", sign), ("pattern", '"^[(-]"')))
            event = "received"
            is_sale = [not v.strip().startswith(("-", "(")) for v in t.values(column)]
        order, goods = t.roles.get("order_id"), t.roles.get("product_id")
        key, line = "", ""
        if order and goods and number:
            pairs = list(zip(t.values(order), t.values(goods), is_sale, strict=True))
            of_sales = [p[:2] for p in pairs if p[2]]
            if any(p[:2] in of_sales for p in pairs if not p[2]):  # returns name the order they are of
                by = [c["order_id"], c["product_id"]]
                if role != "units":
                    key = flow([("key", f"[{', '.join([*by, sign])}]")])
                    line = flow(
                        (
                            ("join", f"[{', '.join([*by, flow([('value', word(sold[0]))]), '{value: 1}'])}]"),
                            ("with", '"/"'),
                        )
                    )
                else:
                    key = line = flow((("join", f"[{', '.join(by)}]"), ("with", '"/"')))
        lines = self.order_lines(plan, when=sale, key=key)
        lines += ["      return_event:", f"        when: {returned}"]
        ids = ", ".join(c[r] for r in ("return_id", "order_id", "product_id") if r in c) or word(t.roles["ordered_at"])
        lines.append(f"        return_line_id: {flow([('key', f'[{ids}]')])}")
        lines.append(
            f"        order_line_id: {line or '{value: null}'}"
            + ("" if line else "  # the file does not say what order goods come back from")
        )
        lines += [f"        product_id: {c['product_id']}"] if "product_id" in c else []
        lines += [f"        country: {c['country']}"] if "country" in c else []
        units = (
            self.unsigned(c["units"], t, "units", is_sale) if "units" in c else "{value: 1}  # assumed: one unit a row"
        )
        lines += [f"        units: {units}"]
        lines += [f"        reason_raw: {c['reason_raw']}"] if "reason_raw" in c else []
        lines += ["        events:", f"          {event}: {c['ordered_at']}"]
        price = price_role(t)
        if price:
            amount = self.unsigned(c[price], t, price, is_sale)
            if price.endswith("unit_price") and "units" in c:
                amount = flow([("times", f"[{self.unsigned(c['units'], t, 'units', is_sale)}, {amount}]")])
            lines += [
                "      refund:",
                f"        when: {returned}",
                f"        refund_id: {flow([('key', f'[{ids}]')])}",
                f"        refunded_at: {c['ordered_at']}",
                f"        amount: {amount}  # assumed: what was paid back, on the day of the return",
            ]
            if "order_id" in c and line:
                lines.append(f"        order_id: {c['order_id']}")
            if "currency" in c:
                lines.append(f"        currency: {c['currency']}")
        return lines

    def unsigned(self, text: str, t: Guess, role: str, is_sale: Sequence[bool]) -> str:
        """Write a number of return rows without its minus."""
        values = [v.strip() for v, s in zip(t.values(t.roles[role]), is_sale, strict=True) if not s and v.strip()]
        return flow([("times", f"[{text}, -1]")]) if any(v.startswith(("-", "(")) for v in values) else text


def _quoted(text: str) -> str:
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


def _flag(column: str, yes: Iterable[str], marked: str, pattern: str = "") -> str:
    """Write a mark of returned rows: one of these words, or a digit that the pattern finds."""
    pairs = [("column", column), *([("pattern", f'"{pattern}"')] if pattern else [])]
    pairs += [("map", flow((word(v), marked) for v in yes)), ("otherwise", "null")]
    return f"return_flag: {flow(pairs)}  # the file has no return date"
