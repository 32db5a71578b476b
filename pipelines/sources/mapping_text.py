"""The text of a proposed mapping.

What each table becomes, how tables are joined, and each assumption beside the line it is made on.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from pipelines.sources import headings
from pipelines.sources.choices import is_of_order, is_of_units, number_of, price_role
from pipelines.sources.guesses import MOST_WORDS, ORDER, PRODUCT, STAGES, Guess, is_yes, ledger_signs
from pipelines.sources.headings import meaning, plain
from pipelines.sources.mapping_plan import (
    Plan,
    Planner,
    Sides,
    condition,
    currency_of_refunds,
    flag_of,
    flow,
    quoted,
    read_options,
    thousands_assumed,
    word,
    words,
)
from pipelines.sources.propose import Proposal
from pipelines.warehouse import vocabulary

ENDED = {"rejected": "rejected", "cancelled": "cancelled", "expired": "expired"}  # what ends a return without goods
EVENTS = set(vocabulary.EVENTS)
BACK = ("returns", "parcels", "events")  # kinds of tables whose rows are return lines


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
    if any(t.varies for t in proposal.tables):
        head.append("missing: empty  # some of the files lack columns that others have")
    constants = {"currency": proposal.choices.currency or writer.usual_currency(), "country": proposal.choices.country}
    if said := {k: v for k, v in constants.items() if v}:
        head.append(f"constants: {flow(said.items())}  # assumed: {' and '.join(said)}, where no column says them")
    return "\n".join([*head, "tables:", *blocks]) + "\n"


def used(proposal: Proposal) -> list[Path]:
    """List the files that the mapping of a proposal reads."""
    writer = _Writer(proposal)
    tables = [t for plan in writer.plans if writer.block(plan) for t in (plan.table, *plan.joined)]
    return list(dict.fromkeys(f for table in proposal.tables if table in tables for f in table.files))


class _Writer(Planner):
    """Writes the tables of a proposal one by one."""

    # -- tables --------------------------------------------------------------------------------------------------------

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
            lines.append(f"    read: {read_options(plan.table.read)}{thousands_assumed(plan.table)}")
        used, assumed = self.dates(plan)
        if used:
            lines.append(f"    dates: [{', '.join(quoted(f) for f in used)}]" + (f"  # {assumed}" if assumed else ""))
        if plan.joins:
            lines += ["    join:", *plan.joins]
        lines.append("    to:")
        return "\n".join([*lines, *logs])

    def order_lines(self, plan: Plan, when: str = "", key: str = "") -> list[str]:
        """Write the order lines of a table."""
        t, c = plan.table, plan.c
        lines = ["      order_line:", *(f"        # {note}" for note in plan.notes)]
        conditions = [when] if when else []
        kept, notes = self.not_cancelled(plan, is_ledger=bool(when))
        conditions += kept
        types = list(dict.fromkeys(t.filled(t.roles["type"]))) if "type" in t.roles and not when else []
        if (out := [v for v in types if headings.is_no_goods(v)]) and len(out) < len(types):
            conditions.append(flow((("column", c["type"]), ("is_not", words(out)))))
            notes.append(f"{', '.join(out)[:60]}: no goods")
        if conditions:
            lines.append(condition(conditions) + (f"  # assumed: {'; '.join(notes)}" if notes else ""))
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
        if is_of_units(t, role) and "units" in c:
            price = flow([("times", f"[{c['units']}, {price}]")])
            if not role.startswith(("net_unit", "gross_unit")):
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
        if "vat_rate" in c:
            said = {v.lower(): number_of(v) for v in t.filled(t.roles["vat_rate"])}
            factor = flow([("sum", f"[1, {flow([('divide', '[' + c['vat_rate'] + ', 100]')])}]")])
            if any("%" in v for v in said):
                known = [(word(v), f"{1 + rate / 100:g}") for v, rate in said.items() if rate is not None]
                factor = flow([("column", c["vat_rate"]), ("map", flow(known[:MOST_WORDS]))])
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
            return [flag_of(c["returned"], yes, marked)]
        if "returned" in c and lists_orders:  # orders that are listed came back
            return [flag_of(c["returned"], "0123456789", marked, "[0-9]")]
        if "units_returned" in c:
            return [flag_of(c["units_returned"], "123456789", marked, "[1-9]")]
        back = [v.lower() for v in dict.fromkeys(self.statuses(plan)) if meaning(v) in ("returned", "refunded")]
        return [flag_of(c["status"], back, marked)] if "status" in c and back else []

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
            conditions, _ = self.not_cancelled(plan)
            if "returned" not in c and conditions:
                dated = [flow((("column", c[r]), ("is_not", '[""]'))) for r in stages]
                conditions.append(dated[0] if len(dated) == 1 else flow([("any", f"[{', '.join(dated)}]")]))
            if "returned" in c:
                yes = self.flagged(plan)
                conditions.append(flow((("column", c["returned"]), ("is", words(yes)))) if yes else c["returned"])
            if conditions:
                lines.append(condition(conditions))
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
        if "refund_id" not in c and is_of_order(plan.table, "refund_amount", is_said=True):
            return [
                f"      # {plan.table.roles['refund_amount']} is left out: it is of the whole order, stands on each of"
                " its lines and has no id: it would be added up"
            ]
        amount = self.positive(plan, "refund_amount")
        lines = ["      refund:"]
        if "refund_id" in c:
            lines.append(f"        refund_id: {c['refund_id']}")
        lines += [f"        refunded_at: {c['refunded_at']}", f"        amount: {amount}  # assumed: with tax"]
        return lines + currency_of_refunds(c)

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
            is_named_elsewhere = any("return_id" in o.roles and o.kind in BACK for o in self.tables if o is not t)
            if (not goods or is_named_elsewhere) and len(set(ids)) == len(ids):
                return c["return_id"]  # else the goods of one return may come in several files: each is a line
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
        return lines + currency_of_refunds(c)

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
        lines = [*self.parcel_way(plan, start), "      return_event:"]
        stages = {r: c[r] for r in STAGES if r in c}
        if "delivered_at" in c:
            stages.setdefault("received_at", c["delivered_at"])
        if "shipped_at" in c:
            stages.setdefault("handed_over_at", c["shipped_at"])
        stages = stages or {"received_at": start}
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

    def parcel_way(self, plan: Plan, start: str) -> list[str]:
        """Write the way of parcels: from when, from where to where, by whom, how heavy and how far."""
        c = plan.c
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
        sides = self.ledger_sides(plan)
        key, line = self.ledger_line(plan, sides)
        lines = self.order_lines(plan, when=sides.sale, key=key)
        lines += ["      return_event:", f"        when: {sides.returned}"]
        ids = ", ".join(c[r] for r in ("return_id", "order_id", "product_id") if r in c) or word(t.roles["ordered_at"])
        lines.append(f"        return_line_id: {flow([('key', f'[{ids}]')])}")
        lines.append(
            f"        order_line_id: {line or '{value: null}'}"
            + ("" if line else "  # the file does not say what order goods come back from")
        )
        lines += [f"        product_id: {c['product_id']}"] if "product_id" in c else []
        lines += [f"        country: {c['country']}"] if "country" in c else []
        units = "{value: 1}  # assumed: one unit a row"
        if "units" in c:
            units = self.unsigned(c["units"], t, "units", sides.is_sale)
        lines += [f"        units: {units}"]
        lines += [f"        reason_raw: {c['reason_raw']}"] if "reason_raw" in c else []
        lines += ["        events:", f"          {sides.event}: {c.get('date') or c['ordered_at']}"]
        return lines + self.ledger_refund(plan, sides, ids, has_line=bool(line))

    def ledger_sides(self, plan: Plan) -> Sides:
        """Tell the sales of a ledger from its returns: by the words of a column, else by the sign of the units."""
        t, c = plan.table, plan.c
        role, column = ledger_signs(t)
        sign = c[role] if role in c else word(column)
        if role == "units":
            is_sale = [not headings.is_negative(v) for v in t.values(column)]
            sale, returned = (flow((("column", sign), (side, "0"))) for side in ("above", "below"))
            return Sides(sale, returned, returned, "received", is_sale, sign, [])
        values = list(dict.fromkeys(t.filled(column)))
        sold = [v for v in values if meaning(v) == "sale"]
        goods, money = ([v for v in values if meaning(v) == said] for said in ("returned", "refunded"))
        event = "received" if goods else "refunded"
        goods, money = goods or money, money or goods  # a row for the goods and one for their money are one return
        sale, returned, paid = (flow((("column", sign), ("is", words(v)))) for v in (sold, goods, money))
        return Sides(sale, returned, paid, event, [v in sold for v in t.values(column)], sign, sold)

    def ledger_line(self, plan: Plan, sides: Sides) -> tuple[str, str]:
        """Write the id of a ledger's sales, and that of the sale a return is of; '' where returns name no sale."""
        t, c = plan.table, plan.c
        order, goods = t.roles.get("order_id"), t.roles.get("product_id")
        if not (order and goods):
            return "", ""
        pairs = list(zip(t.values(order), t.values(goods), sides.is_sale, strict=True))
        of_sales = [p[:2] for p in pairs if p[2]]
        if not any(p[:2] in of_sales for p in pairs if not p[2]):  # returns do not name the order they are of
            return "", ""
        by = [c["order_id"], c["product_id"]]
        if not sides.sold:
            line = flow((("join", f"[{', '.join(by)}]"), ("with", '"/"')))
            return line, line
        sale = flow([("value", word(sides.sold[0]))])
        return (
            flow([("key", f"[{', '.join([*by, sides.sign])}]")]),
            flow((("join", f"[{', '.join([*by, sale, '{value: 1}'])}]"), ("with", '"/"'))),
        )

    def ledger_refund(self, plan: Plan, sides: Sides, ids: str, *, has_line: bool) -> list[str]:
        """Write what was paid back for the returns of a ledger, where it holds prices."""
        t, c = plan.table, plan.c
        price = price_role(t)
        if not price:
            return []
        amount = self.unsigned(c[price], t, price, sides.is_sale)
        if is_of_units(t, price) and "units" in c:
            amount = flow([("times", f"[{self.unsigned(c['units'], t, 'units', sides.is_sale)}, {amount}]")])
        lines = [
            "      refund:",
            f"        when: {sides.paid}",
            f"        refund_id: {flow([('key', f'[{ids}]')])}",
            f"        refunded_at: {c.get('date') or c['ordered_at']}",
            f"        amount: {amount}  # assumed: what was paid back, on the day of the return",
        ]
        if "order_id" in c and has_line:
            lines.append(f"        order_id: {c['order_id']}")
        return lines + currency_of_refunds(c)

    def unsigned(self, text: str, t: Guess, role: str, is_sale: Sequence[bool]) -> str:
        """Write a number of return rows without its minus."""
        values = [v.strip() for v, s in zip(t.values(t.roles[role]), is_sale, strict=True) if not s and v.strip()]
        return flow([("times", f"[{text}, -1]")]) if any(map(headings.is_negative, values)) else text
