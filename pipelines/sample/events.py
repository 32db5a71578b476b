"""Return events as portal, carriers, sites and stores tell them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sample.chain import ELEMENT_TYPES, FUELS, MODES, ROLES, SERVICES, VEHICLES
from pipelines.sample.draws import Array, Columns, Rng
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


PORTAL_COLUMNS = [
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
STORE_COLUMNS = [
    *event_ids("stores"),
    f"{PARCEL_ID} AS parcel_id",
    "event",
    iso("occurred_at"),
    number("units"),
    "place_id",
    "method",
    "reason_raw",
    "return_type",
    "condition",
    "inspection_outcome",
    "disposition",
    "product AS product_id",
    "country",
    "shop AS shop_id",
    "'stores' AS system",
    iso("recorded_at"),
]
CARRIER_COLUMNS = [
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
CHAIN_COLUMNS = [
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
    "CASE WHEN tote IS NOT NULL THEN 'TOTE-' || tote WHEN round IS NOT NULL THEN 'ROUND-' || round END AS movement_id",
    "shared AS movement_parcels",
    "'transport' AS system",
    iso("recorded_at", text=False),
]


@dataclass
class EventFile:
    """The events of one file in the order they are written, with its plan; `when` in the order of before the plan."""

    event: Array
    row: Array
    lot: Array
    when: Array
    plan: Plan
    labels: list[str]

    def __getitem__(self, cut: slice) -> "EventFile":
        """Give some of the events, as they are written."""
        return EventFile(self.event[cut], self.row[cut], self.lot[cut], self.when, self.plan[cut], self.labels)


def return_events(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write the return events of portal, carriers, stores and returns centre."""
    _portal(rng, s, writer)
    _carriers(rng, s, writer)
    _sites(rng, s, writer)


def _event_file(
    rng: Rng, s: Simulation, writer: Writer, pieces: list[tuple[int, Array, Array, Array]], lag: float, *, text: bool
) -> EventFile:
    """Stack a system's events, leave out what is recorded after the end, and plan their file."""
    stacked = []
    for code, row, when, lot in pieces:
        recorded, kept = kept_rows(s, rng, when, lag)
        stacked.append((np.full(int(kept.sum()), code), row[kept], when[kept], lot[kept], recorded[kept]))
    event, row, when, lot, recorded = map(np.concatenate, zip(*stacked, strict=True))
    part, labels = parts(when)
    plan = writer.plan(rng, when, recorded, part, text=text)
    return EventFile(event[plan.row], row[plan.row], lot[plan.row], when, plan, labels)


def _portal_moments(s: Simulation) -> dict[str, Array]:
    """Give by event of the portal when it happens to each return line, in seconds."""
    rows, back = s.rows, s.back
    of = rows["of"]
    replaced = np.full(len(s.lines["order"]), np.inf)
    swapped = np.flatnonzero(s.lines["exchanged_from"] >= 0)
    replaced[s.lines["exchanged_from"][swapped]] = s.lines["ordered_at"][swapped]
    return {
        "requested": back["requested"][of],
        "approved": back["approved"][of],
        "rejected": back["rejected"][of],
        "label_issued": np.where(back["way"][of] == TOTE, np.inf, back["label"][of]),
        "cancelled": back["cancelled"][of],
        "expired": back["expired"][of],
        "exchanged": np.where(rows["is_exchanged"], replaced[rows["line"]], np.inf),
    }


def _texts(s: Simulation, row: Array, texts: Mapping[str, Any]) -> tuple[Array, list[str]]:
    """Give each row's wording of its reason in its market's language as a position, and the wordings.

    `texts` has by reason and language (`fr`, `en`) a list of wordings, of which the row's variant takes one.
    """
    wordings: list[str] = []
    names = list(s.world.parameters["wordings"])
    first, count = (np.zeros((len(names), 2), np.int64) for _ in range(2))
    for i, name in enumerate(names):
        for french, language in ((1, "fr"), (0, "en")):
            first[i, french], count[i, french] = len(wordings), len(texts[name][language])
            wordings += texts[name][language]
    is_french = world_language(s)[s.lines["market"][s.rows["line"][row]]]
    reason = np.maximum(s.rows["reason"][row], 0)
    return first[reason, is_french] + s.rows["variant"][row] % count[reason, is_french], wordings


def _portal_reasons(s: Simulation, file: EventFile, asked: Array) -> pa.Array:
    """Word the reason that each request states; its first version, edited later, says another reason."""
    at, wordings = _texts(s, file.row, s.world.parameters["wordings"])
    reason = np.where(asked & (s.rows["reason"][file.row] >= 0), at, -1)
    is_french = world_language(s)[s.lines["market"][s.rows["line"][file.row]]]
    other = np.where(is_french, wordings.index("Autre"), wordings.index("Other"))
    return words(np.where((file.plan.kind == LATE_EDIT) & asked, other, reason), wordings)


def _decline_reasons(s: Simulation, file: EventFile) -> pa.Array:
    """Name why a request is declined: even over the stated shares, and the same for a given order."""
    shares = s.world.parameters["decline_reasons"]
    upto = np.cumsum(list(shares.values()))
    spread = (s.rows["order_no"][file.row] * 0.6180339887) % 1
    at = np.searchsorted(upto, spread).clip(max=len(upto) - 1)
    return words(np.where(file.event == PORTAL.index("rejected"), at, -1), list(shares))


def _portal(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write what the portal tells of returns that are asked for online: the request and what is decided."""
    rows, back = s.rows, s.back
    of = rows["of"]
    online = np.flatnonzero((back["way"][of] != TILL) & (back["way"][of] != BOUNCED))
    none = np.full(len(online), -1)
    moments = _portal_moments(s)
    pieces = [(code, online, moments[name][online], none) for code, name in enumerate(PORTAL)]
    file = _event_file(rng, s, writer, pieces, 40, text=True)
    when = spoiled(file.plan, file.when, is_early=True)
    writer.write_planned(
        "portal/return_event.portal{}.ndjson",
        lambda cut: _portal_columns(s, file[cut], when[cut]),
        PORTAL_COLUMNS,
        file.plan,
        file.labels,
    )
    asked = (file.event == PORTAL.index("requested")) & (file.plan.kind == CLEAN)
    without_order = (rows["stray"][file.row] > 0) & asked
    writer.note("portal/return_event.portal.ndjson", "without_order", int(without_order.sum()))


def _portal_columns(s: Simulation, file: EventFile, when: Array) -> dict[str, Any]:
    """Give the columns of the portal's events."""
    rows, back, p, of = s.rows, s.back, s.world.parameters, s.rows["of"]
    event, row, plan = file.event, file.row, file.plan
    asked = event == PORTAL.index("requested")
    note, note_words = _texts(s, row, p["notes"])
    when = np.where((plan.kind == LATE_EDIT) & ~asked, when - 60, when)
    is_decision = np.isin(event, [PORTAL.index("approved"), PORTAL.index("rejected")])
    return return_columns(s, row, plan.kind) | {
        "event": words(event, PORTAL),
        "lot_no": np.ones(len(row), np.int64),
        "occurred_at": times(when),
        "recorded_at": times(plan.recorded),
        "units": rows["units"][row],
        "carrier": words(np.where(asked, back["carrier"][of[row]], -1), [*p["carriers"], p["trunk_carrier"]]),
        "method": words(np.where(asked, back["method"][of[row]], -1), METHODS),
        "reason_raw": _portal_reasons(s, file, asked),
        "note_terms": words(np.where(asked & rows["has_note"][row], note, -1), note_words),
        "return_type": words(np.where(asked, types(s, row), -1), RETURN_TYPES),
        "has_parcel": rows["kind"][row] != VOID,
        "customer": pa.array(s.lines["customer"][rows["line"][row]] + 100000, mask=rows["stray"][row] == 0),
        "decline_reason": _decline_reasons(s, file),
        "is_manual": is_decision & back["is_manual"][of[row]],
    }


def _carriers(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write what the carriers scan: hand over, first scan, losses, and deliveries refused or uncollected."""
    rows, back = s.rows, s.back
    of, way, kind = rows["of"], s.back["way"][rows["of"]], rows["kind"]
    never = np.full(len(of), np.inf)
    moments = {
        "handed_over": np.where(way == PARCEL, back["handed_shown"][of], never),
        "carrier_scan": np.where(way == BOUNCED, never, back["scan_shown"][of]),
        "lost": back["lost"][of],
        "delivery_refused": np.where(kind == REFUSED, back["requested"][of], never),
        "uncollected": np.where(kind == UNCOLLECTED, back["requested"][of], never),
    }
    everyone, none = np.arange(len(of)), np.full(len(of), -1)
    pieces = [(code, everyone, moments[name], none) for code, name in enumerate(CARRIER)]
    file = _event_file(rng, s, writer, pieces, 5400, text=True)
    when = spoiled(file.plan, file.when, is_early=True)
    writer.write_planned(
        "carrier/return_event.carrier{}.csv",
        lambda cut: _carrier_columns(s, file[cut], when[cut]),
        CARRIER_COLUMNS,
        file.plan,
        file.labels,
    )
    scanned = (back["scanned"] <= s.world.end) & back["is_missed"]
    writer.note("carrier/return_event.carrier.csv", "missing_scan", int(scanned.sum()))


def _carrier_columns(s: Simulation, file: EventFile, when: Array) -> dict[str, Any]:
    """Give the columns of the carriers' events: places of hand over and of the first scan."""
    rows, back, p = s.rows, s.back, s.world.parameters
    event, row, plan = file.event, file.row, file.plan
    market, area = s.lines["market"][rows["line"][row]], s.lines["area"][rows["line"][row]]
    hub = s.network.hub_of[market, area]
    carrier, method = back["carrier"][rows["of"][row]], back["method"][rows["of"][row]]
    inside = np.minimum(np.maximum(carrier, 0), len(p["carriers"]) - 1)
    point = s.network.point_of[inside, np.maximum(method, 0), market, area]
    place = np.where(event == 0, point, np.where(event == 1, hub, -1))
    when = np.where(plan.kind == LATE_EDIT, when - 3600, when)
    return return_columns(s, row, plan.kind) | {
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


def _sites(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write tills and tote drops to the stores' file, receipt to disposal to the returns centre's."""
    _stores(rng, s, writer)
    _returns_centre(rng, s, writer)


def _site_pieces(s: Simulation, names: tuple[str, ...], *, in_store: bool) -> list[tuple[int, Array, Array, Array]]:
    """List the events of goods at a site, from receipt to restocking or disposal, of tills or of everything else."""
    back, lot, of = s.back, s.lot, s.rows["of"]
    at_till = back["way"][of] == TILL
    mine = np.flatnonzero(at_till == in_store)
    lots = np.flatnonzero(at_till[lot["row"]] == in_store)
    restocked = np.isin(np.array(DISPOSITIONS)[lot["disposition"]], RESTOCKED)[lots]
    inspected, finished = lot["inspected"][lots], lot["finished"][lots]
    row = lot["row"][lots]
    return [
        (names.index("received"), mine, back["received"][of][mine], np.full(len(mine), -1)),
        (names.index("inspected"), row, inspected, lots),
        (names.index("restocked"), row, np.where(restocked, finished, np.inf), lots),
        (names.index("disposed"), row, np.where(restocked, np.inf, finished), lots),
    ]


def _site_columns(s: Simulation, file: EventFile, names: tuple[str, ...], place: Array, when: Array) -> dict[str, Any]:
    """Give the columns that stores and returns centre have in common: event, lot, place, grade and disposition."""
    row, lot, plan = file.row, s.lot, file.plan
    has_lot, at = file.lot >= 0, np.maximum(file.lot, 0)
    graded = has_lot & (file.event == names.index("inspected"))
    grade = np.where(graded, lot["grade"][at], -1)
    grade = np.where((plan.kind == LATE_EDIT) & graded, 1, grade)
    outcome = np.where(graded, lot["found"][at], -1)
    when = np.where((plan.kind == LATE_EDIT) & ~graded, when - 900, when)
    return return_columns(s, row, plan.kind) | {
        "event": words(file.event, names),
        "lot_no": np.where(has_lot, lot["lot_no"][at], 1),
        "occurred_at": times(when),
        "recorded_at": times(plan.recorded),
        "units": np.where(has_lot, lot["units"][at], s.rows["units"][row]).astype(np.int64),
        "place_id": words(place, s.network.column("place_id").tolist()),
        "condition": words(grade, "abcd"),
        "inspection_outcome": words(outcome, list(s.world.parameters["inspection_outcomes"])),
        "disposition": words(np.where(has_lot, lot["disposition"][at], -1), DISPOSITIONS),
    }


def _stores(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write the stores' file: returns at tills, and drops into totes."""
    rows, back = s.rows, s.back
    of = rows["of"]
    tills, dropped = (np.flatnonzero(back["way"][of] == way) for way in (TILL, TOTE))
    pieces = [
        *_site_pieces(s, STORES, in_store=True),
        (STORES.index("requested"), tills, back["requested"][of][tills], np.full(len(tills), -1)),
        (STORES.index("handed_over"), dropped, back["handed"][of][dropped], np.full(len(dropped), -1)),
    ]
    file = _event_file(rng, s, writer, pieces, 300, text=True)
    when = spoiled(file.plan, file.when)
    writer.write_planned(
        "stores/return_event.stores{}.csv",
        lambda cut: _store_columns(s, file[cut], when[cut]),
        STORE_COLUMNS,
        file.plan,
        file.labels,
    )


def _store_columns(s: Simulation, file: EventFile, when: Array) -> dict[str, Any]:
    """Give the columns of the stores' events, with the method of what is handed in and the reason that is asked for."""
    row, line = file.row, s.rows["line"][file.row]
    asked = file.event == STORES.index("requested")
    with_method = asked | (file.event == STORES.index("handed_over"))
    reason, wordings = _wording(s, row)
    place = s.network.store_of[s.lines["market"][line], s.lines["area"][line]]
    return _site_columns(s, file, STORES, place, when) | {
        "method": words(np.where(with_method, METHODS.index("store"), -1), METHODS),
        "reason_raw": words(np.where(asked, reason, -1), wordings),
        "return_type": words(np.where(asked, types(s, row), -1), RETURN_TYPES),
    }


def _returns_centre(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write the returns centre's file: receipt, inspection, restocking and disposal of all that does not stay."""
    file = _event_file(rng, s, writer, _site_pieces(s, CENTRE, in_store=False), 900, text=False)
    when, centre = spoiled(file.plan, file.when), s.network.site["returns_centre"]
    select = [
        *event_ids("wms"),
        f"{PARCEL_ID} AS parcel_id",
        "event",
        iso("occurred_at", text=False),
        "units",
        "place_id",
        "condition",
        "inspection_outcome",
        "disposition",
        "product AS product_id",
        "country",
        "shop AS shop_id",
        "'returns_centre' AS system",
        iso("recorded_at", text=False),
    ]

    def columns(cut: slice) -> dict[str, Any]:
        return _site_columns(s, file[cut], CENTRE, np.full(len(file.row[cut]), centre), when[cut])

    writer.write_planned("returns_centre/return_event.wms{}.parquet", columns, select, file.plan, file.labels)


def _wording(s: Simulation, row: Array) -> tuple[Array, list[str]]:
    """First wording of each return line's reason in its market's language."""
    p = s.world.parameters
    names = [p["wordings"][name][language][0] for name in p["wordings"] for language in ("en", "fr")]
    reason = s.rows["reason"][row]
    return np.where(reason >= 0, reason * 2 + world_language(s)[s.lines["market"][s.rows["line"][row]]], -1), names


def chain_elements(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write the transport legs."""
    e = s.elements
    recorded = e["start"] + np.floor(rng.exponential(4 * 3600, len(e["start"])))
    kept = np.flatnonzero(np.isfinite(e["start"]) & (recorded <= s.world.end))
    start = e["start"][kept]
    part, labels = parts(start)
    plan = writer.plan(rng, start, recorded[kept], part, text=False)
    started = spoiled(plan, start)

    def columns(cut: slice) -> dict[str, Any]:
        rows = plan[cut]
        return _chain_columns(s, {name: values[kept[rows.row]] for name, values in e.items()}, rows, started[cut])

    writer.write_planned("transport/chain_element{}.parquet", columns, CHAIN_COLUMNS, plan, labels)


def _chain_columns(s: Simulation, e: Columns, plan: Plan, started: Array) -> dict[str, Any]:
    """Give the columns of the planned elements `e`; an element's first version, edited later, weighs a tenth more."""
    back, p, at = s.back, s.world.parameters, e["at"]
    places = s.network.column("place_id").tolist()
    return {
        "kind": plan.kind,
        "ret_order": back["order_no"][at],
        "ret_no": back["return_no"][at],
        "element_no": e["no"].astype(np.int64),
        "element_type": words(e["type"], ELEMENT_TYPES),
        "role": words(e["role"], ROLES),
        "from_place_id": words(e["from"], places),
        "to_place_id": words(e["to"], places),
        "started_at": times(started),
        "ended_at": times(e["end"], s.world.end),
        "carrier": words(e["carrier"], [*p["carriers"], p["trunk_carrier"]]),
        "service": words(e["service"], SERVICES),
        "mode": words(e["mode"], MODES),
        "vehicle": words(e["vehicle"], VEHICLES),
        "fuel": words(e["fuel"], FUELS),
        "mass_kg": numbers(np.where(plan.kind == LATE_EDIT, np.round(e["mass"] * 1.1, 3), e["mass"])),
        "distance_km": numbers(e["km"]),
        "trip_share": numbers(e["trip_share"]),
        "cost_amount": numbers(e["cost"]),
        "round": _positive(e["round"]),
        "tote": _positive(e["tote"]),
        "shared": _positive(e["shared"]),
        "recorded_at": times(plan.recorded),
    }


def _positive(values: Array) -> pa.Array:
    """Give whole numbers; below 0 is empty."""
    return pa.array(values.astype(np.int64), mask=values < 0)
