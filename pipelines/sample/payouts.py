"""Refunds and recoveries."""

import numpy as np

from pipelines.sample.draws import DAY, Array, Rng
from pipelines.sample.files import LATE_EDIT, Writer, iso, money, number, parts, spoiled, times, words
from pipelines.sample.shop import TILL, VOID
from pipelines.sample.simulation import LINE_ID, SPOILED, Simulation, kept_rows
from pipelines.warehouse.vocabulary import DISPOSITIONS


def refunds(rng: Rng, s: Simulation, writer: Writer, fx: dict[str, Array]) -> None:
    """Write the refunds and their lines."""
    rows, back, lines, p, end = s.rows, s.back, s.lines, s.world.parameters, s.world.end
    of, line = rows["of"], rows["line"]
    due = (rows["kind"] != VOID) & ~rows["is_exchanged"]
    share = rows["units"] / np.maximum(lines["units"][line], 1)
    vat = np.round(lines["vat"][line] * share, 2)
    amount = np.round(lines["net"][line] * share, 2) + vat
    paid = back["refunded"][of]
    # money back without goods: one line, no return
    count = round(len(lines["order"]) * p["price_adjustments"])
    able = np.flatnonzero((lines["cancelled"] == 0) & (lines["delivered_at"] < end - 6 * DAY))
    adjusted = np.sort(rng.choice(able, min(count, len(able)), replace=False))
    back_share = rng.choice([0.05, 0.1, 0.15], len(adjusted))
    adjusted_vat = np.round(lines["vat"][adjusted] * back_share, 2)
    adjusted_amount = np.round(lines["net"][adjusted] * back_share, 2) + adjusted_vat
    adjusted_at = lines["delivered_at"][adjusted] + np.floor(rng.uniform(0.5, 5, len(adjusted)) * DAY)

    keep = np.flatnonzero(due & np.isfinite(paid))
    total = np.bincount(of[keep], amount[keep], len(back["line"]))
    refunded = np.flatnonzero(np.bincount(of[keep], minlength=len(back["line"])) > 0)
    lag_of = np.floor(rng.exponential(1800, len(back["line"])))
    kind_of = pick_kind(rng, s, len(back["line"]))
    refunded = refunded[back["refunded"][refunded] + lag_of[refunded] <= end]
    is_paid = np.zeros(len(back["line"]), dtype=bool)
    is_paid[refunded] = True
    keep = keep[is_paid[of[keep]]]
    adjusted_lag = np.floor(rng.exponential(1800, len(adjusted)))

    first = back["line"]
    when = np.r_[back["refunded"][refunded], adjusted_at]
    recorded = when + np.r_[lag_of[refunded], adjusted_lag]
    kept = recorded <= end
    order_no = np.r_[back["order_no"][refunded], lines["order_no"][adjusted]]
    return_no = np.r_[back["return_no"][refunded], np.zeros(len(adjusted), np.int64)]
    line_no = np.r_[np.zeros(len(refunded), np.int64), lines["line_no"][adjusted]]
    market = np.r_[lines["market"][first[refunded]], lines["market"][adjusted]]
    value = np.r_[total[refunded], adjusted_amount]
    stray = np.r_[back["stray"][refunded], np.zeros(len(adjusted), np.int64)]
    how = np.r_[kind_of[refunded], np.zeros(len(adjusted), np.int64)]
    pack = [a[kept] for a in (when, recorded, order_no, return_no, line_no, market, value, stray, how)]
    when, recorded, order_no, return_no, line_no, market, value, stray, how = pack
    part, labels = parts(when)
    plan = writer.plan(rng, when, recorded, part, text=True)
    t = plan.row
    columns = {
        "kind": plan.kind,
        "order_no": order_no[t],
        "ret_no": return_no[t],
        "line_no": line_no[t],
        "refunded_at": times(spoiled(plan, when)),
        "amount": np.where(plan.kind == LATE_EDIT, value[t] + 5, value[t]),
        "currency": words(market[t], s.world.market("currency").tolist()),
        "how": words(how[t], list(p["store_credit"])),
        "stray": stray[t],
        "recorded_at": times(plan.recorded),
    }
    refund_id = "'F' || order_no || CASE WHEN ret_no > 0 THEN '-' || ret_no ELSE '-A' || line_no END"
    select = [
        f"{refund_id} || {SPOILED} AS refund_id",
        "CASE stray WHEN 0 THEN order_no::VARCHAR END AS order_id",
        "CASE WHEN ret_no > 0 THEN 'R' || order_no || '-' || ret_no END AS return_id",
        iso("refunded_at"),
        number("amount", "round(amount, 2)::DECIMAL(14, 2)"),
        "currency",
        "how AS kind",
        "'finance' AS system",
        iso("recorded_at"),
    ]
    writer.write("finance/refund{}.csv", columns, select, plan, labels)
    early = back["is_instant"] & is_paid
    writer.note("finance/refund.csv", "refund_before_receipt", int(early.sum()))

    on_time = adjusted_at + adjusted_lag <= end
    adjusted, adjusted_at, adjusted_lag, adjusted_amount, adjusted_vat = (
        a[on_time] for a in (adjusted, adjusted_at, adjusted_lag, adjusted_amount, adjusted_vat)
    )
    when = np.r_[paid[keep], adjusted_at]
    recorded = when + np.r_[lag_of[of[keep]], adjusted_lag]
    zero = np.zeros(len(adjusted), np.int64)
    table = {
        "order_no": np.r_[rows["order_no"][keep], lines["order_no"][adjusted]],
        "ret_no": np.r_[back["return_no"][of[keep]], zero],
        "row_no": np.r_[rows["no"][keep], zero],
        "line_no": np.r_[lines["line_no"][line[keep]], lines["line_no"][adjusted]],
        "units": np.r_[rows["units"][keep], zero],
        "amount": np.r_[amount[keep], adjusted_amount],
        "vat_amount": np.r_[vat[keep], adjusted_vat],
        "stray": np.r_[rows["stray"][keep], zero],
        "is_lost": np.r_[np.isfinite(back["lost"][of[keep]]), zero > 0],
        "market": np.r_[lines["market"][line[keep]], lines["market"][adjusted]],
    }
    part, labels = parts(when)
    plan = writer.plan(rng, when, recorded, part, text=True, can_edit=False)
    columns = {name: values[plan.row] for name, values in table.items()}
    columns |= {
        "kind": plan.kind,
        "refunded_at": times(spoiled(plan, when)),
        "recorded_at": times(plan.recorded),
        "currency": words(columns.pop("market"), s.world.market("currency").tolist()),
    }
    select = [
        f"{refund_id} || '-' || row_no || {SPOILED} AS refund_line_id",
        f"{refund_id} AS refund_id",
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
    writer.write("finance/refund_line{}.csv", columns, select, plan, labels)


def pick_kind(rng: Rng, s: Simulation, count: int) -> Array:
    """How each refund is paid."""
    shares = np.array(list(s.world.parameters["store_credit"].values()))
    return np.minimum(np.searchsorted(np.cumsum(shares), rng.random(count)), len(shares) - 1)


def recoveries(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write what the goods fetched."""
    lot, rows, lines, p = s.lot, s.rows, s.lines, s.world.parameters
    row = lot["row"]
    line = rows["line"][row]
    recorded, kept = kept_rows(s, rng, lot["realised"], 3600)
    kept &= lot["realised"] > lot["finished"]
    row, line, recorded = row[kept], line[kept], recorded[kept]
    lot = {name: values[kept] for name, values in lot.items()}
    price, cost = s.styles["price"][lines["style"][line]], s.styles["cost"][lines["style"][line]]
    share = np.array([p["recovery"].get(name, 0.0) for name in DISPOSITIONS])[lot["disposition"]]
    weeks = (lot["realised"] - lines["ordered_at"][line]) / (7 * DAY)
    fresh = np.clip(1 - p["recovery"]["as_new_markdown_per_week"] * weeks, 0.4, 1.0) * (1 - lines["discount"][line])
    share = np.where(
        lot["disposition"] == DISPOSITIONS.index("as_new"), fresh, share * np.exp(0.15 * rng.standard_normal(len(row)))
    )
    value = np.where(
        lot["disposition"] == DISPOSITIONS.index("return_to_supplier"),
        cost * p["recovery"]["return_to_supplier_of_cost"],
        price * share,
    )
    treatment = (
        np.array([p["treatment_cost"].get(name, 0.0) for name in DISPOSITIONS])[lot["disposition"]] * lot["units"]
    )
    destroyed = lot["disposition"] == DISPOSITIONS.index("destroyed")
    in_store = s.back["way"][rows["of"][row]] == TILL
    market, area = lines["market"][line], lines["area"][line]
    place = np.where(in_store, s.network.store_of[market, area], s.network.site["returns_centre"])
    table = {
        "ret_order": rows["order_no"][row],
        "ret_no": s.back["return_no"][rows["of"][row]],
        "row_no": rows["no"][row],
        "lot_no": lot["lot_no"],
        "units": lot["units"],
        "amount": np.round(value * lot["units"], 2),
        "treatment_cost": np.round(treatment, 2),
    }
    part, labels = parts(lot["realised"])
    plan = writer.plan(rng, lot["realised"], recorded, part, text=True, can_edit=False)
    t = plan.row
    columns = {name: values[t] for name, values in table.items()} | {
        "kind": plan.kind,
        "recovered_at": times(spoiled(plan, lot["realised"])),
        "recorded_at": times(plan.recorded),
        "disposition": words(lot["disposition"][t], DISPOSITIONS),
        "grade": words(lot["grade"][t], "abcd"),
        "place_id": words(place[t], s.network.column("place_id").tolist()),
        "why": words(
            np.where(destroyed, rng.integers(0, len(p["derogation_reasons"]), len(row)), -1)[t], p["derogation_reasons"]
        ),
    }
    select = [
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
    writer.write("recovery/recovery{}.csv", columns, select, plan, labels)
