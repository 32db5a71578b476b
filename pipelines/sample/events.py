"""Return events as portal, carriers, sites and stores tell them."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sample import network as net
from pipelines.sample.draws import Array, Rng
from pipelines.sample.files import (
    BAD_NUMBER,
    CLEAN,
    LATE_EDIT,
    Plan,
    Writer,
    iso,
    number,
    numbers,
    parts,
    spoiled,
    times,
    words,
)
from pipelines.sample.returns import METHODS
from pipelines.sample.shop import BOUNCED, PARCEL, REFUSED, TILL, TOTE, UNCOLLECTED, VOID
from pipelines.sample.simulation import (
    PARCEL_ID,
    RESTOCKED,
    RETURN_TYPES,
    SPOILED,
    Simulation,
    event_ids,
    gather,
    kept_rows,
    return_columns,
    types,
    world_language,
)
from pipelines.warehouse.vocabulary import DISPOSITIONS

PORTAL = ("requested", "approved", "rejected", "label_issued", "cancelled", "expired", "exchanged")
CARRIER = ("handed_over", "carrier_scan", "lost", "delivery_refused", "uncollected")
STORES = ("requested", "received", "inspected", "restocked", "disposed", "handed_over")
CENTRE = ("received", "inspected", "restocked", "disposed")


def return_events(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write the return events of portal, carriers, stores and returns centre."""
    _portal(rng, s, writer)
    _carriers(rng, s, writer)
    _sites(rng, s, writer)


def _portal(rng: Rng, s: Simulation, writer: Writer) -> None:
    rows, back, p = s.rows, s.back, s.world.parameters
    of = rows["of"]
    online = np.flatnonzero((back["way"][of] != TILL) & (back["way"][of] != BOUNCED))
    none = np.empty(0, np.int64)
    replaced = np.full(len(s.lines["order"]), np.inf)
    swapped = np.flatnonzero(s.lines["exchanged_from"] >= 0)
    replaced[s.lines["exchanged_from"][swapped]] = s.lines["ordered_at"][swapped]
    exchanged = np.where(rows["is_exchanged"], replaced[rows["line"]], np.inf)
    columns_of = {
        "requested": back["requested"][of],
        "approved": back["approved"][of],
        "rejected": back["rejected"][of],
        "label_issued": np.where(back["way"][of] == TOTE, np.inf, back["label"][of]),
        "cancelled": back["cancelled"][of],
        "expired": back["expired"][of],
        "exchanged": exchanged,
    }
    event, row, when, _ = gather([(code, online, columns_of[name][online], none) for code, name in enumerate(PORTAL)])
    recorded, kept = kept_rows(s, rng, when, 40)
    event, row, when, recorded = event[kept], row[kept], when[kept], recorded[kept]
    seen = int(((rows["stray"][row] > 0) & (event == 0)).sum())
    part, labels = parts(when)
    plan = writer.plan(rng, when, recorded, part, text=True)
    take = plan.row
    event, row = event[take], row[take]
    asked = event == 0
    names, market = list(p["wordings"]), s.lines["market"][rows["line"][row]]
    is_french = world_language(s)[market]
    wordings: list[str] = []
    note_words: list[str] = []
    start: dict[tuple[int, int], int] = {}
    note_start: dict[tuple[int, int], int] = {}
    variants: dict[tuple[int, int], int] = {}
    note_variants: dict[tuple[int, int], int] = {}
    for i, name in enumerate(names):
        for french, language in ((1, "fr"), (0, "en")):
            start[i, french], variants[i, french] = len(wordings), len(p["wordings"][name][language])
            wordings += p["wordings"][name][language]
            note_start[i, french], note_variants[i, french] = len(note_words), len(p["notes"][name][language])
            note_words += p["notes"][name][language]

    def of_words(begin: dict[Any, int], count: dict[Any, int]) -> Array:
        first = np.array([[begin[i, f] for f in (0, 1)] for i in range(len(names))])
        size = np.array([[count[i, f] for f in (0, 1)] for i in range(len(names))])
        reason = np.maximum(rows["reason"][row], 0)
        chosen: Array = first[reason, is_french] + rows["variant"][row] % size[reason, is_french]
        return chosen

    reason = np.where(asked & (rows["reason"][row] >= 0), of_words(start, variants), -1)
    other = wordings.index("Autre"), wordings.index("Other")
    reason = np.where((plan.kind == LATE_EDIT) & asked, np.where(is_french, *other), reason)
    note = np.where(asked & rows["has_note"][row], of_words(note_start, note_variants), -1)
    carrier_names = [*p["carriers"], p["trunk_carrier"]]
    when = spoiled(plan, when, is_early=True)
    when = np.where((plan.kind == LATE_EDIT) & ~asked, when - 60, when)
    decided = [PORTAL.index("approved"), PORTAL.index("rejected")]
    share = np.cumsum(list(p["decline_reasons"].values()))
    spread = (rows["order_no"][row] * 0.6180339887) % 1  # even, and the same for a given order
    declined = np.where(event == decided[1], np.searchsorted(share, spread).clip(max=len(share) - 1), -1)
    columns = return_columns(s, row, plan.kind) | {
        "event": words(event, PORTAL),
        "lot_no": np.ones(len(row), np.int64),
        "occurred_at": times(when),
        "recorded_at": times(plan.recorded),
        "units": rows["units"][row],
        "carrier": words(np.where(asked, back["carrier"][rows["of"][row]], -1), carrier_names),
        "method": words(np.where(asked, back["method"][rows["of"][row]], -1), METHODS),
        "reason_raw": words(reason, wordings),
        "note_terms": words(note, note_words),
        "return_type": words(np.where(asked, types(s, row), -1), RETURN_TYPES),
        "has_parcel": s.rows["kind"][row] != VOID,
        "customer": pa.array(s.lines["customer"][rows["line"][row]] + 100000, mask=rows["stray"][row] == 0),
        "decline_reason": words(declined, list(p["decline_reasons"])),
        "is_manual": np.isin(event, decided) & back["is_manual"][rows["of"][row]],
    }
    select = [
        *event_ids("portal"),
        f"CASE WHEN has_parcel THEN {PARCEL_ID} END AS parcel_id",
        "event",
        iso("occurred_at"),
        f"CASE kind WHEN {BAD_NUMBER} THEN '\"deux\"'::JSON ELSE units::VARCHAR::JSON END AS units",
        "carrier",
        "method",
        "reason_raw",
        "note_terms",
        "return_type",
        "decline_reason",
        "is_manual",
        "product AS product_id",
        "'C' || customer AS customer_id",
        "country",
        "shop AS shop_id",
        "'portal' AS system",
        iso("recorded_at"),
    ]
    writer.write("portal/return_event.portal{}.ndjson", columns, select, plan, labels)
    writer.note("portal/return_event.portal.ndjson", "without_order", seen)


def _carriers(rng: Rng, s: Simulation, writer: Writer) -> None:
    rows, back, p = s.rows, s.back, s.world.parameters
    of, way, kind = rows["of"], s.back["way"][rows["of"]], rows["kind"]
    none = np.empty(0, np.int64)
    never = np.full(len(of), np.inf)
    moments = {
        "handed_over": np.where(way == PARCEL, back["handed_shown"][of], never),
        "carrier_scan": np.where(way == BOUNCED, never, back["scan_shown"][of]),
        "lost": back["lost"][of],
        "delivery_refused": np.where(kind == REFUSED, back["requested"][of], never),
        "uncollected": np.where(kind == UNCOLLECTED, back["requested"][of], never),
    }
    everyone = np.arange(len(of))
    event, row, when, _ = gather([(code, everyone, moments[name], none) for code, name in enumerate(CARRIER)])
    recorded, kept = kept_rows(s, rng, when, 5400)
    event, row, when, recorded = event[kept], row[kept], when[kept], recorded[kept]
    part, labels = parts(when)
    plan = writer.plan(rng, when, recorded, part, text=True)
    event, row = event[plan.row], row[plan.row]
    market, area = s.lines["market"][rows["line"][row]], s.lines["area"][rows["line"][row]]
    hub = s.network.hub_of[market, area]
    carrier, method = back["carrier"][rows["of"][row]], back["method"][rows["of"][row]]
    inside = np.minimum(np.maximum(carrier, 0), len(p["carriers"]) - 1)
    point = s.network.point_of[inside, np.maximum(method, 0), market, area]
    place = np.where(event == 0, point, np.where(event == 1, hub, -1))
    late = plan.kind == LATE_EDIT
    when = np.where(late, spoiled(plan, when, is_early=True) - 3600, spoiled(plan, when, is_early=True))
    columns = return_columns(s, row, plan.kind) | {
        "event": words(event, CARRIER),
        "lot_no": np.ones(len(row), np.int64),
        "occurred_at": times(when),
        "recorded_at": times(plan.recorded),
        "units": rows["units"][row],
        "place_id": words(place, s.network.column("place_id").tolist()),
        "carrier": words(carrier, [*p["carriers"], p["trunk_carrier"]]),
        "method": words(method, METHODS),
        "return_type": words(np.where(event >= 3, types(s, row), -1), RETURN_TYPES),
    }
    select = [
        *event_ids("carrier"),
        f"{PARCEL_ID} AS parcel_id",
        "event",
        iso("occurred_at"),
        number("units"),
        "place_id",
        "carrier",
        "method",
        "return_type",
        "product AS product_id",
        "country",
        "shop AS shop_id",
        "'carrier' AS system",
        iso("recorded_at"),
    ]
    writer.write("carrier/return_event.carrier{}.csv", columns, select, plan, labels)
    scanned = (back["scanned"] <= s.world.end) & back["is_missed"]
    writer.note("carrier/return_event.carrier.csv", "missing_scan", int(scanned.sum()))


def _sites(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Tills and tote drops to the stores' file, receipt to disposal to the returns centre's."""
    rows, back, lot = s.rows, s.back, s.lot
    of = rows["of"]
    way = back["way"][of]
    everyone, none = np.arange(len(of)), np.full(len(of), -1)
    lots_of, lot_way = lot["row"], way[lot["row"]]
    each = np.arange(len(lots_of))
    restocked = np.isin(np.array(DISPOSITIONS)[lot["disposition"]], RESTOCKED)
    never = np.full(len(each), np.inf)
    for system in ("stores", "wms"):
        in_store = system == "stores"
        mine, mine_lot = (way == TILL, lot_way == TILL) if in_store else (way != TILL, lot_way != TILL)
        names = STORES if in_store else CENTRE
        pieces = [
            (names.index("received"), everyone[mine], back["received"][of][mine], none[mine]),
            (names.index("inspected"), lots_of[mine_lot], lot["inspected"][mine_lot], each[mine_lot]),
            (
                names.index("restocked"),
                lots_of[mine_lot],
                np.where(restocked, lot["finished"], never)[mine_lot],
                each[mine_lot],
            ),
            (
                names.index("disposed"),
                lots_of[mine_lot],
                np.where(restocked, never, lot["finished"])[mine_lot],
                each[mine_lot],
            ),
        ]
        if in_store:
            dropped = way == TOTE
            pieces += [
                (0, everyone[mine], back["requested"][of][mine], none[mine]),
                (names.index("handed_over"), everyone[dropped], back["handed"][of][dropped], none[dropped]),
            ]
        event, row, when, lot_at = gather(pieces)
        recorded, kept = kept_rows(s, rng, when, 300 if in_store else 900)
        event, row, when, lot_at, recorded = event[kept], row[kept], when[kept], lot_at[kept], recorded[kept]
        part, labels = parts(when)
        plan = writer.plan(rng, when, recorded, part, text=in_store)
        event, row, lot_at = event[plan.row], row[plan.row], lot_at[plan.row]
        has_lot = lot_at >= 0
        safe = np.maximum(lot_at, 0)
        graded = has_lot & (event == names.index("inspected"))
        market, area = s.lines["market"][rows["line"][row]], s.lines["area"][rows["line"][row]]
        place = s.network.store_of[market, area] if in_store else np.full(len(row), s.network.site["returns_centre"])
        grade = np.where(graded, lot["grade"][safe], -1)
        grade = np.where((plan.kind == LATE_EDIT) & graded, 1, grade)
        when = spoiled(plan, when)
        when = np.where((plan.kind == LATE_EDIT) & ~graded, when - 900, when)
        asked = (event == 0) & in_store
        wordings = _wording(s, row)
        columns = return_columns(s, row, plan.kind) | {
            "event": words(event, names),
            "lot_no": np.where(has_lot, lot["lot_no"][safe], 1),
            "occurred_at": times(when),
            "recorded_at": times(plan.recorded),
            "units": np.where(has_lot, lot["units"][safe], rows["units"][row]),
            "place_id": words(place, s.network.column("place_id").tolist()),
            "condition": words(grade, "abcd"),
            "inspection_outcome": words(
                np.where(graded, lot["found"][safe], -1), list(s.world.parameters["inspection_outcomes"])
            ),
            "disposition": words(np.where(has_lot, lot["disposition"][safe], -1), DISPOSITIONS),
        }
        select = [
            *event_ids(system),
            f"{PARCEL_ID} AS parcel_id",
            "event",
            iso("occurred_at", text=in_store),
            number("units") if in_store else "units",
            "place_id",
        ]
        if in_store:
            columns |= {
                "method": words(
                    np.where(asked | (event == names.index("handed_over")), METHODS.index("store"), -1), METHODS
                ),
                "reason_raw": words(np.where(asked, wordings[0], -1), wordings[1]),
                "return_type": words(np.where(asked, types(s, row), -1), RETURN_TYPES),
            }
            select += ["method", "reason_raw", "return_type"]
        select += [
            "condition",
            "inspection_outcome",
            "disposition",
            "product AS product_id",
            "country",
            "shop AS shop_id",
            f"'{'stores' if in_store else 'returns_centre'}' AS system",
            iso("recorded_at", text=in_store),
        ]
        name = "stores/return_event.stores{}.csv" if in_store else "returns_centre/return_event.wms{}.parquet"
        writer.write(name, columns, select, plan, labels)


def _wording(s: Simulation, row: Array) -> tuple[Array, list[str]]:
    """First wording of each return line's reason in its market's language."""
    p = s.world.parameters
    names = [p["wordings"][name][language][0] for name in p["wordings"] for language in ("en", "fr")]
    reason = s.rows["reason"][row]
    return np.where(reason >= 0, reason * 2 + world_language(s)[s.lines["market"][s.rows["line"][row]]], -1), names


def chain_elements(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write the transport legs."""
    e, back, p, end = s.elements, s.back, s.world.parameters, s.world.end
    recorded = e["start"] + np.floor(rng.exponential(4 * 3600, len(e["start"])))
    kept = np.flatnonzero(np.isfinite(e["start"]) & (recorded <= end))
    e = {name: values[kept] for name, values in e.items()}
    recorded = recorded[kept]
    part, labels = parts(e["start"])
    plan = writer.plan(rng, e["start"], recorded, part, text=False)
    t = plan.row
    e = {name: values[t] for name, values in e.items()}
    places = s.network.column("place_id").tolist()
    start = np.where(
        plan.kind == CLEAN,
        e["start"],
        spoiled(Plan(np.arange(len(t)), plan.kind, plan.recorded, plan.part), e["start"]),
    )
    at = e["at"]
    columns = {
        "kind": plan.kind,
        "ret_order": back["order_no"][at],
        "ret_no": back["return_no"][at],
        "element_no": e["no"],
        "element_type": words(e["type"], net.ELEMENT_TYPES),
        "role": words(e["role"], net.ROLES),
        "from_place_id": words(e["from"], places),
        "to_place_id": words(e["to"], places),
        "started_at": times(start),
        "ended_at": times(e["end"], end),
        "carrier": words(e["carrier"], [*p["carriers"], p["trunk_carrier"]]),
        "service": words(e["service"], net.SERVICES),
        "mode": words(e["mode"], net.MODES),
        "vehicle": words(e["vehicle"], net.VEHICLES),
        "fuel": words(e["fuel"], net.FUELS),
        "mass_kg": numbers(np.where(plan.kind == LATE_EDIT, np.round(e["mass"] * 1.1, 3), e["mass"])),
        "distance_km": numbers(e["km"]),
        "trip_share": numbers(e["trip_share"]),
        "cost_amount": numbers(e["cost"]),
        "round": pa.array(e["round"], mask=e["round"] < 0),
        "tote": pa.array(e["tote"], mask=e["tote"] < 0),
        "shared": pa.array(e["shared"], mask=e["shared"] < 0),
        "recorded_at": times(plan.recorded),
    }
    select = [
        f"'E' || ret_order || '-' || ret_no || '-' || element_no || {SPOILED} AS element_id",
        f"{PARCEL_ID} AS parcel_id",
        "element_no",
        "element_type",
        "role",
        "from_place_id",
        "to_place_id",
        iso("started_at", text=False),
        iso("ended_at", text=False),
        "carrier",
        "service",
        "mode",
        "vehicle",
        "fuel",
        "mass_kg",
        "distance_km",
        "trip_share",
        "cost_amount::DECIMAL(12, 2) AS cost_amount",
        "CASE WHEN cost_amount IS NOT NULL THEN 'EUR' END AS currency",
        (
            "CASE WHEN tote IS NOT NULL THEN 'TOTE-' || tote WHEN round IS NOT NULL THEN 'ROUND-' || round END AS"
            " movement_id"
        ),
        "shared AS movement_parcels",
        "'transport' AS system",
        iso("recorded_at", text=False),
    ]
    writer.write("transport/chain_element{}.parquet", columns, select, plan, labels)
