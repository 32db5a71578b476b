"""The same shaping as an analyst writes it in pandas."""

import sys
from pathlib import Path

import pandas as pd

files, out = Path(sys.argv[1]), sys.argv[2]
IDS = {"order_line_id": str, "return_line_id": str, "exchanged_from_line_id": str}
EVENT = ["event_id", "return_line_id", "order_line_id", "event", "units", "return_type", "occurred_at", "recorded_at"]


def newest(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    return rows.sort_values("recorded_at").drop_duplicates(key, keep="last")


def month(times: pd.Series) -> pd.Series:
    return times.dt.tz_localize(None).dt.to_period("M").dt.to_timestamp()


lines = pd.concat(
    pd.read_csv(file, dtype=IDS, parse_dates=["ordered_at", "recorded_at"], low_memory=False)
    for file in sorted((files / "shop").glob("order_line*.csv"))
)
lines = newest(lines, "order_line_id").merge(pd.read_csv(files / "catalogue" / "shop.csv")[["shop_id", "time_zone"]])
lines["month"] = pd.concat(
    month(times.dt.tz_convert(str(zone))) for zone, times in lines.groupby("time_zone")["ordered_at"]
)
lines["is_exchange"] = lines["exchanged_from_line_id"].notna()
lines["sold"] = (lines["units"] - lines["units_cancelled"]).where(
    ~lines["is_exchange"] & lines["shipped_at"].notna(), 0
)

parts = [
    pd.read_csv(file, dtype=IDS, parse_dates=["occurred_at", "recorded_at"], low_memory=False)
    for system in ("carrier", "stores")
    for file in sorted((files / system).glob("*.csv"))
]
parts += [pd.read_json(file, lines=True, dtype=IDS) for file in sorted((files / "portal").glob("*.ndjson"))]
parts += [pd.read_parquet(file) for file in sorted((files / "returns_centre").glob("*.parquet"))]
for part in parts:
    for column in ("occurred_at", "recorded_at"):
        part[column] = pd.to_datetime(part[column], utc=True)
events = newest(pd.concat(part.reindex(columns=EVENT) for part in parts), "event_id")

units = events.pivot_table(index="return_line_id", columns="event", values="units", aggfunc="sum")
happened = units.notna()
returned = events.groupby("return_line_id")[["return_type", "order_line_id"]].first()
returned["units"] = units.max(axis=1)
returned["received_at"] = events[events["event"] == "received"].groupby("return_line_id")["occurred_at"].min()
refund_lines = pd.concat(
    pd.read_csv(file, dtype=IDS, parse_dates=["refunded_at"]) for file in (files / "finance").glob("refund_line*.csv")
)
returned["refunded_at"] = refund_lines.groupby("return_line_id")["refunded_at"].min()
came = happened[["received", "inspected", "restocked", "disposed"]].any(axis=1)
stopped = happened[["cancelled", "rejected", "expired"]].any(axis=1)
scanned = happened["carrier_scan"] & ~happened["lost"]
returned["is_confirmed"] = ~stopped & (returned["refunded_at"].notna() | came | scanned)

headline = returned[returned["is_confirmed"] & returned["return_type"].isin(["withdrawal", "commercial", "exchange"])]
back = headline.merge(lines.loc[~lines["is_exchange"], ["order_line_id", "month"]], on="order_line_id")
rate = pd.DataFrame(
    {"part": back.groupby("month")["units"].sum(), "whole": lines.groupby("month")["sold"].sum()}
).fillna(0)
paid = returned[returned["refunded_at"] >= returned["received_at"]]
in_time = paid["refunded_at"] <= paid["received_at"] + pd.Timedelta(days=14)
promise = in_time.groupby(month(paid["received_at"])).agg(part="sum", whole="count")
legs = newest(
    pd.concat(pd.read_parquet(file) for file in sorted((files / "transport").glob("*.parquet"))), "element_id"
)
costs = legs["cost_amount"].astype(float)
cost = costs.groupby(month(legs["started_at"])).agg(part="sum", whole="count")

numbers = pd.concat({"rate": rate, "promise": promise, "cost": cost}, names=["number", "month"])
numbers[numbers["whole"] > 0].sort_index().to_csv(out, date_format="%Y-%m-%d")
