"""A shop of two markets whose names tell them apart: whatever is of Germany, and of Germany alone, has `zz` in it.

`of_france` gives the files that a shop of the French rows alone would have: the truth that a reader of France is held
to. Emissions that both share are in neither; `shared` adds them.
"""

import json
from functools import cache

import pandas as pd

from tests import whole_shop
from tests.whole_shop import FIRST, Shop

MARK = "zz"
"""In every name that only the German market has."""


@cache
def whole(orders: int = 120) -> Shop:
    """Make the shop of both markets: made once and shared, never change it."""
    every = whole_shop.whole(orders)
    shop = {thing: rows.copy() for thing, rows in every.items()}
    lines = shop["order_line"]
    lines = shop["order_line"] = lines[lines["country"] != "GB"].copy()
    german = lines["country"] == "DE"
    for name in ("product_id", "carrier", "channel", "seller", "sold_on", "fulfilled_by", "loyalty_tier", "policy_id"):
        lines.loc[german, name] = MARK + lines.loc[german, name].astype(str)
    lines.loc[german, "shop_id"] = "shop-zz"
    lines.loc[german, "customer_id"] = MARK + lines.loc[german, "customer_id"]
    lines.loc[german, "dimensions"] = json.dumps({"zzregion": "zzost"})
    events = shop["return_event"]
    events = shop["return_event"] = events[events["order_line_id"].isin(lines["order_line_id"])].copy()
    german = events["order_line_id"].isin(lines.loc[lines["country"] == "DE", "order_line_id"])
    for name in ("product_id", "carrier", "place_id", "channel", "policy_id", "customer_id"):
        filled = german & events[name].notna()
        events.loc[filled, name] = MARK + events.loc[filled, name].astype(str)
    events.loc[german, "shop_id"] = "shop-zz"
    events.loc[german, "dimensions"] = json.dumps({"zzregion": "zzost"})
    shop["carrier_claim"] = shop["carrier_claim"].assign(parcel_id=["B0", "B1"])
    of_parcel = set(events.loc[german, "parcel_id"])
    for thing in ("chain_element", "carrier_invoice", "carrier_claim"):
        rows = shop[thing]
        rows = shop[thing] = rows[rows["parcel_id"].isin(events["parcel_id"])].copy()
        mine = rows["parcel_id"].isin(of_parcel)
        for name in ("carrier", "from_place_id", "to_place_id", "service"):
            if name in rows:
                rows.loc[mine, name] = MARK + rows.loc[mine, name].astype(str)
        if "movement_id" in rows:
            rows["movement_id"] = rows["movement_id"] + rows["parcel_id"]
    shop["refund"] = shop["refund"][shop["refund"]["order_id"].isin(lines["order_id"])].copy()
    for thing, key in (("refund_line", "order_line_id"),):
        shop[thing] = shop[thing][shop[thing][key].isin(lines["order_line_id"])].copy()
    shop["recovery"] = shop["recovery"][shop["recovery"]["return_line_id"].isin(events["return_line_id"])].copy()
    for thing, names in {
        "product": ("product_id", "style_id", "name", "category", "brand", "supplier", "season", "size_note"),
        "place": ("place_id", "name", "area"),
        "handling_rate": ("place_id",),
    }.items():
        shop[thing] = pd.concat([shop[thing], _marked(shop[thing], names)], ignore_index=True)
    shop["place"].loc[shop["place"]["place_id"].str.startswith(MARK), "country"] = "DE"
    policy = shop["policy"].assign(market="FR")
    shop["policy"] = pd.concat([policy, _marked(policy, ("policy_id",)).assign(market="DE", fee_amount=7)])
    shop["rate_card"].loc[shop["rate_card"]["country"] == "DE", ["rate_id", "carrier"]] = ["zzK2", "zzRelais"]
    shop["carrier_calendar"] = shop["carrier_calendar"].assign(carrier="zzKurier")
    shops = shop["shop"][shop["shop"]["market"] != "GB"].copy()
    shops.loc[shops["market"] == "DE", ["shop_id", "brand", "legal_entity"]] = ["shop-zz", "zzTilleul", "zz GmbH"]
    shop["shop"] = shops
    shop["activity_use"] = shop["activity_use"].iloc[:0]
    lines_back = events.drop_duplicates("return_line_id")
    shop["promised_date"] = _promised(lines_back, shop["promised_date"])
    return shop


def shared(shop: Shop) -> Shop:
    """Add a round that parcels of both markets shared, with its energy."""
    use = whole_shop.whole()["activity_use"].iloc[[0]].assign(movement_id="round", shared_total=None, share=1.0)
    chain = shop["chain_element"].copy()
    chain.loc[chain["role"] == "trunk", "movement_id"] = "round"
    given = ["kg_co2e", "kg_co2e_ttw", "activity_amount", "refrigerant_kg"]
    chain.loc[chain["role"] == "trunk", given] = None
    return {**shop, "chain_element": chain, "activity_use": use}


def of_france(shop: Shop) -> Shop:
    """Keep what a shop of the French rows alone would have."""
    lines = shop["order_line"][shop["order_line"]["country"] == "FR"]
    events = shop["return_event"][shop["return_event"]["order_line_id"].isin(lines["order_line_id"])]
    kept = {
        "order_line": lines,
        "return_event": events,
        "refund": shop["refund"][shop["refund"]["order_id"].isin(lines["order_id"])],
        "refund_line": shop["refund_line"][shop["refund_line"]["order_line_id"].isin(lines["order_line_id"])],
        "policy": shop["policy"][shop["policy"]["market"] == "FR"],
        "rate_card": shop["rate_card"][shop["rate_card"]["country"] == "FR"],
        "carrier_calendar": shop["carrier_calendar"].iloc[:0],
        "shop": shop["shop"][shop["shop"]["market"] == "FR"],
    }
    for thing in ("chain_element", "carrier_invoice", "carrier_claim"):
        kept[thing] = shop[thing][shop[thing]["parcel_id"].isin(events["parcel_id"])]
    for thing in ("recovery", "promised_date"):
        kept[thing] = shop[thing][shop[thing]["return_line_id"].isin(events["return_line_id"])]
    for thing, key in {"product": "product_id", "place": "place_id", "handling_rate": "place_id"}.items():
        kept[thing] = shop[thing][~shop[thing][key].str.startswith(MARK)]
    return {**shop, **kept}


def _marked(rows: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    marked = rows.copy()
    for name in names:
        marked[name] = MARK + marked[name].astype(str)
    return marked


def _promised(lines: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Promise some return lines a day."""
    few = lines.iloc[::3]
    rows = few[["return_line_id", "return_id", "country", "shop_id"]].assign(
        promise_id="shown", to_stage="refunded", promised_on=(FIRST + pd.Timedelta(days=200)).strftime("%Y-%m-%d")
    )
    return rows.reindex(columns=like.columns)
