"""What all files of the sample shop rest on: the simulation, ids and columns."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.sample import network as net
from pipelines.sample.draws import Array, Columns, Rng
from pipelines.sample.files import words
from pipelines.sample.shop import COLOURS_A_STYLE, HEADLINE, MARKETPLACE, SKU_STEP, STORE, VOID, World

RETURN_TYPES = ("withdrawal", "commercial", "exchange", "conformity", "seller_error", "refused", "uncollected")
RESTOCKED = ("as_new", "b_stock", "marked_down", "repaired", "refurbished")


@dataclass
class Simulation:
    """Everything drawn, before it is written."""

    world: World
    styles: Columns
    who: Columns
    lines: Columns
    result: Columns
    network: net.Network
    rows: Columns
    back: Columns
    lot: Columns
    elements: Columns
    names: list[str] = field(default_factory=list)


def sku_names(s: Simulation) -> list[str]:
    """Product ids by SKU position (style * 32 + colour * 8 + size), worked out once."""
    if not s.names:
        s.names = _sku_names(s)
    return s.names


def _sku_names(s: Simulation) -> list[str]:
    p, names = s.world.parameters, []
    sizes = [p["sizes"][row["sizes"]]["names"] for row in p["categories"].values()]
    for style, category in enumerate(s.styles["category"].tolist()):
        code = f"{s.world.categories[category][:2].upper()}{style + 1:04d}"
        names += [
            (
                f"{code}-{colour + 1}-{sizes[category][size]}"
                if colour < COLOURS_A_STYLE and size < len(sizes[category])
                else ""
            )
            for colour in range(4)
            for size in range(8)
        ]
    return names


def sku(lines: Columns, line: Array | slice = slice(None)) -> Array:
    """SKU position of each line, or of some."""
    position: Array = lines["style"][line] * SKU_STEP + lines["colour"][line] * 8 + lines["size"][line]
    return position


def shop_names(world: World) -> list[str]:
    """Shops: online, stores and marketplace of each market."""
    return [f"{kind}-{market}" for kind in ("online", "stores", "marketplace") for market in world.markets]


def shop(s: Simulation, line: Array) -> Array:
    """Give the shop of lines: the market's own site, its store or the marketplace."""
    channel = s.lines["channel"][line]
    kind = np.where(channel == STORE, 1, np.where(channel == MARKETPLACE, 2, 0))
    return kind * len(s.world.markets) + s.lines["market"][line]


def return_columns(s: Simulation, row: Array, kind: Array) -> dict[str, Any]:
    """Ids of return lines, as numbers that SQL makes text of."""
    rows, back, lines = s.rows, s.back, s.lines
    of, line = rows["of"][row], rows["line"][row]
    stray = rows["stray"][row]
    return {
        "kind": kind,
        "ret_order": rows["order_no"][row],
        "ret_no": back["return_no"][of],
        "row_no": rows["no"][row],
        "line_no": lines["line_no"][line],
        "stray": stray,
        "product": words(np.where(stray > 0, sku(lines, line), -1), sku_names(s)),
        "country": words(np.where(stray > 0, lines["market"][line], -1), s.world.markets),
        "shop": words(np.where(stray > 0, shop(s, line), -1), shop_names(s.world)),
    }


RETURN_ID = "'R' || ret_order || '-' || ret_no"
LINE_ID = f"{RETURN_ID} || '-' || row_no"
PARCEL_ID = "'P' || ret_order || '-' || ret_no"
ORDER_LINE_ID = "CASE stray WHEN 1 THEN NULL ELSE ret_order || '-' || line_no END"
SPOILED = "CASE kind WHEN 3 THEN '-n' WHEN 4 THEN '-i' WHEN 5 THEN '-b' ELSE '' END"


def event_ids(system: str) -> list[str]:
    """Give the SELECT's columns that number an event of a system."""
    return [
        (
            f"'{system}-' || ret_order || '-' || ret_no || '-' || row_no || '-' || event || CASE WHEN lot_no > 1 THEN"
            f" '-' || lot_no ELSE '' END || {SPOILED} AS event_id"
        ),
        f"{LINE_ID} AS return_line_id",
        f"{RETURN_ID} AS return_id",
        f"{ORDER_LINE_ID} AS order_line_id",
    ]


def kept_rows(s: Simulation, rng: Rng, when: Array, lag: float) -> tuple[Array, Array]:
    """When events are recorded (seconds), and which are on this side of the curtain."""
    recorded = when + np.floor(rng.exponential(lag, len(when)))
    return recorded, np.isfinite(when) & (recorded <= s.world.end)


def types(s: Simulation, row: Array) -> Array:
    """Give the return type of each row."""
    kind, of = s.rows["kind"][row], s.rows["of"][row]
    headline = np.where(s.rows["is_exchanged"][row], 2, s.back["type"][of])
    return np.where((kind == HEADLINE) | (kind == VOID), headline, kind + 2)


def world_language(s: Simulation) -> Array:
    """1 where a market's wordings are French."""
    is_french: Array = (s.world.market("language") == "fr").astype(np.int64)
    return is_french
