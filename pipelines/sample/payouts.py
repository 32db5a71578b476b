"""Refunds and recoveries."""

from typing import Any

import numpy as np

from pipelines.sample.draws import DAY, Array, Columns, Rng
from pipelines.sample.files import LATE_EDIT, Writer, iso, money, number, parts, spoiled, times, words
from pipelines.sample.shop import TILL, VOID
from pipelines.sample.simulation import LINE_ID, SPOILED, Simulation, kept_rows
from pipelines.warehouse.vocabulary import DISPOSITIONS

REFUND_ID = "'F' || order_no || CASE WHEN ret_no > 0 THEN '-' || ret_no ELSE '-A' || line_no END"
REFUND = [
    f"{REFUND_ID} || {SPOILED} AS refund_id",
    "CASE stray WHEN 0 THEN order_no::VARCHAR END AS order_id",
    "CASE WHEN ret_no > 0 THEN 'R' || order_no || '-' || ret_no END AS return_id",
    iso("refunded_at"),
    number("amount", "round(amount, 2)::DECIMAL(14, 2)"),
    "currency",
    "how AS kind",
    "'finance' AS system",
    iso("recorded_at"),
]
REFUND_LINE = [
    f"{REFUND_ID} || '-' || row_no || {SPOILED} AS refund_line_id",
    f"{REFUND_ID} AS refund_id",
    "CASE WHEN stray <> 1 THEN order_no || '-' || line_no END AS order_line_id",
    "CASE WHEN ret_no > 0 THEN 'R' || order_no || '-' || ret_no || '-' || row_no END AS return_line_id",
    iso("refunded_at"),
    number("units"),
    money("amount"),
    money("vat_amount"),
    "currency",
    "CASE WHEN ret_no = 0 THEN 'adjustment' WHEN is_lost THEN 'no_restock' ELSE 'return' END AS restock_type",
    "'finance' AS system",
    iso("recorded_at"),
]
RECOVERY = [
    f"'V' || ret_order || '-' || ret_no || '-' || row_no || '-' || lot_no || {SPOILED} AS recovery_id",
    f"{LINE_ID} AS return_line_id",
    iso("recovered_at"),
    number("units"),
    "disposition",
    "grade",
    money("amount"),
    money("treatment_cost"),
    "'EUR' AS currency",
    "place_id",
    "why AS derogation_reason",
    (
        "CASE WHEN why IS NOT NULL AND row_no + ret_no + ret_order % 20 <> 5 THEN 'CERT-' || ret_order || '-' ||"
        " row_no END AS evidence_ref"
    ),
    "'recovery' AS system",
    iso("recorded_at"),
]


def refunds(rng: Rng, s: Simulation, writer: Writer, fx: dict[str, Array]) -> None:
    """Write the refunds and their lines."""
    rows, back, end = s.rows, s.back, s.world.end
    of, count = rows["of"], len(s.back["line"])
    adjusted = _price_adjustments(rng, s)
    lag = np.floor(rng.exponential(1800, count))
    how = pick_kind(rng, s, count)
    is_due = (rows["kind"] != VOID) & ~rows["is_exchanged"] & np.isfinite(back["refunded"][of])
    is_paid = (np.bincount(of[is_due], minlength=count) > 0) & (back["refunded"] + lag <= end)
    adjusted["recorded"] = adjusted["at"] + np.floor(rng.exponential(1800, len(adjusted["line"])))

    row = np.flatnonzero(is_due & is_paid[of])
    amount, vat = _amounts_due(s)
    total = np.bincount(of[row], amount[row], count)
    _write_refunds(rng, s, writer, np.flatnonzero(is_paid), lag, total, how, adjusted)
    writer.note("finance/refund.csv", "refund_before_receipt", int((back["is_instant"] & is_paid).sum()))
    on_time = {name: values[adjusted["recorded"] <= end] for name, values in adjusted.items()}
    _write_refund_lines(rng, s, writer, row, lag, amount, vat, on_time)


def _amounts_due(s: Simulation) -> tuple[Array, Array]:
    """Give what each return line is worth with VAT, and the VAT in it: the units' part of the order line's amounts."""
    lines, line = s.lines, s.rows["line"]
    share = s.rows["units"] / np.maximum(lines["units"][line], 1)
    vat = np.round(lines["vat"][line] * share, 2)
    return np.round(lines["net"][line] * share, 2) + vat, vat


def _price_adjustments(rng: Rng, s: Simulation) -> Columns:
    """Draw the money that is paid back without goods: one order line, no return, some days after delivery."""
    lines = s.lines
    count = round(len(lines["order"]) * s.world.parameters["price_adjustments"])
    able = np.flatnonzero((lines["cancelled"] == 0) & (lines["delivered_at"] < s.world.end - 6 * DAY))
    line = np.sort(rng.choice(able, min(count, len(able)), replace=False))
    share = rng.choice([0.05, 0.1, 0.15], len(line))
    vat = np.round(lines["vat"][line] * share, 2)
    return {
        "line": line,
        "vat": vat,
        "amount": np.round(lines["net"][line] * share, 2) + vat,
        "at": lines["delivered_at"][line] + np.floor(rng.uniform(0.5, 5, len(line)) * DAY),
    }


def _write_refunds(
    rng: Rng, s: Simulation, writer: Writer, paid: Array, lag: Array, total: Array, how: Array, adjusted: Columns
) -> None:
    """Write one refund a return that is paid (`paid` are their rows), and one a price adjustment."""
    back, lines, p = s.back, s.lines, s.world.parameters
    line, zero = adjusted["line"], np.zeros(len(adjusted["line"]), np.int64)
    table = {
        "when": np.r_[back["refunded"][paid], adjusted["at"]],
        "recorded": np.r_[back["refunded"][paid] + lag[paid], adjusted["recorded"]],
        "order_no": np.r_[back["order_no"][paid], lines["order_no"][line]],
        "ret_no": np.r_[back["return_no"][paid], zero],
        "line_no": np.r_[np.zeros(len(paid), np.int64), lines["line_no"][line]],
        "market": np.r_[lines["market"][back["line"][paid]], lines["market"][line]],
        "amount": np.r_[total[paid], adjusted["amount"]],
        "stray": np.r_[back["stray"][paid], zero],
        "how": np.r_[how[paid], zero],
    }
    kept = table["recorded"] <= s.world.end
    table = {name: values[kept] for name, values in table.items()}
    part, labels = parts(table["when"])
    plan = writer.plan(rng, table["when"], table["recorded"], part, text=True)
    refunded = spoiled(plan, table["when"])

    def columns(cut: slice) -> dict[str, Any]:
        rows = plan[cut]
        planned = {name: values[rows.row] for name, values in table.items()}
        return {name: planned[name] for name in ("order_no", "ret_no", "line_no", "stray")} | {
            "kind": rows.kind,
            "refunded_at": times(refunded[cut]),
            "amount": np.where(rows.kind == LATE_EDIT, planned["amount"] + 5, planned["amount"]),
            "currency": words(planned["market"], s.world.market("currency").tolist()),
            "how": words(planned["how"], list(p["store_credit"])),
            "recorded_at": times(rows.recorded),
        }

    writer.write_planned("finance/refund{}.csv", columns, REFUND, plan, labels)


def _write_refund_lines(
    rng: Rng, s: Simulation, writer: Writer, row: Array, lag: Array, amount: Array, vat: Array, adjusted: Columns
) -> None:
    """Write one line a return line that is paid (`row` are their rows), and one a price adjustment."""
    rows, back, lines = s.rows, s.back, s.lines
    of, line = rows["of"][row], rows["line"][row]
    zero = np.zeros(len(adjusted["line"]), np.int64)
    table = {
        "order_no": np.r_[rows["order_no"][row], lines["order_no"][adjusted["line"]]],
        "ret_no": np.r_[back["return_no"][of], zero],
        "row_no": np.r_[rows["no"][row], zero],
        "line_no": np.r_[lines["line_no"][line], lines["line_no"][adjusted["line"]]],
        "units": np.r_[rows["units"][row], zero],
        "amount": np.r_[amount[row], adjusted["amount"]],
        "vat_amount": np.r_[vat[row], adjusted["vat"]],
        "stray": np.r_[rows["stray"][row], zero],
        "is_lost": np.r_[np.isfinite(back["lost"][of]), zero > 0],
        "market": np.r_[lines["market"][line], lines["market"][adjusted["line"]]],
    }
    when = np.r_[back["refunded"][of], adjusted["at"]]
    recorded = np.r_[back["refunded"][of] + lag[of], adjusted["recorded"]]
    part, labels = parts(when)
    plan = writer.plan(rng, when, recorded, part, text=True, can_edit=False)
    refunded = spoiled(plan, when)

    def columns(cut: slice) -> dict[str, Any]:
        rows = plan[cut]
        planned = {name: values[rows.row] for name, values in table.items()}
        return planned | {
            "kind": rows.kind,
            "refunded_at": times(refunded[cut]),
            "recorded_at": times(rows.recorded),
            "currency": words(planned.pop("market"), s.world.market("currency").tolist()),
        }

    writer.write_planned("finance/refund_line{}.csv", columns, REFUND_LINE, plan, labels)


def pick_kind(rng: Rng, s: Simulation, count: int) -> Array:
    """How each refund is paid."""
    shares = np.array(list(s.world.parameters["store_credit"].values()))
    return np.minimum(np.searchsorted(np.cumsum(shares), rng.random(count)), len(shares) - 1)


def recoveries(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write what the goods fetched."""
    rows, p = s.rows, s.world.parameters
    recorded, kept = kept_rows(s, rng, s.lot["realised"], 3600)
    kept &= s.lot["realised"] > s.lot["finished"]
    lot = {name: values[kept] for name, values in s.lot.items()}
    row = lot["row"]
    value = _recovered_value(rng, s, lot)
    treatment_cost = np.array([p["treatment_cost"].get(name, 0.0) for name in DISPOSITIONS])[lot["disposition"]]
    table = {
        "ret_order": rows["order_no"][row],
        "ret_no": s.back["return_no"][rows["of"][row]],
        "row_no": rows["no"][row],
        "lot_no": lot["lot_no"],
        "units": lot["units"],
        "amount": np.round(value * lot["units"], 2),
        "treatment_cost": np.round(treatment_cost * lot["units"], 2),
    }
    part, labels = parts(lot["realised"])
    plan = writer.plan(rng, lot["realised"], recorded[kept], part, text=True, can_edit=False)
    destroyed = lot["disposition"] == DISPOSITIONS.index("destroyed")
    reason = np.where(destroyed, rng.integers(0, len(p["derogation_reasons"]), len(row)), -1)
    recovered = spoiled(plan, lot["realised"])

    def columns(cut: slice) -> dict[str, Any]:
        rows = plan[cut]
        return {name: values[rows.row] for name, values in table.items()} | {
            "kind": rows.kind,
            "recovered_at": times(recovered[cut]),
            "recorded_at": times(rows.recorded),
            "disposition": words(lot["disposition"][rows.row], DISPOSITIONS),
            "grade": words(lot["grade"][rows.row], "abcd"),
            "place_id": words(_treated_at(s, row[rows.row]), s.network.column("place_id").tolist()),
            "why": words(reason[rows.row], p["derogation_reasons"]),
        }

    writer.write_planned("recovery/recovery{}.csv", columns, RECOVERY, plan, labels)


def _recovered_value(rng: Rng, s: Simulation, lot: Columns) -> Array:
    """Draw what a unit of each lot brings.

    By disposition a share of the list price; goods as new lose a markdown a week and the order's discount, and
    suppliers pay back a share of the cost.
    """
    lines, recovery = s.lines, s.world.parameters["recovery"]
    line = s.rows["line"][lot["row"]]
    price, cost = s.styles["price"][lines["style"][line]], s.styles["cost"][lines["style"][line]]
    share = np.array([recovery.get(name, 0.0) for name in DISPOSITIONS])[lot["disposition"]]
    share = share * np.exp(0.15 * rng.standard_normal(len(line)))
    weeks = (lot["realised"] - lines["ordered_at"][line]) / (7 * DAY)
    fresh = np.clip(1 - recovery["as_new_markdown_per_week"] * weeks, 0.4, 1.0) * (1 - lines["discount"][line])
    share = np.where(lot["disposition"] == DISPOSITIONS.index("as_new"), fresh, share)
    to_supplier = lot["disposition"] == DISPOSITIONS.index("return_to_supplier")
    value: Array = np.where(to_supplier, cost * recovery["return_to_supplier_of_cost"], price * share)
    return value


def _treated_at(s: Simulation, row: Array) -> Array:
    """Give the place where each return line's goods are treated: its store, or the returns centre."""
    line = s.rows["line"][row]
    in_store = s.back["way"][s.rows["of"][row]] == TILL
    store = s.network.store_of[s.lines["market"][line], s.lines["area"][line]]
    return np.where(in_store, store, s.network.site["returns_centre"])
