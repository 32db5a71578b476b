"""The same shaping as one lazy query of polars."""

import sys
from pathlib import Path

import polars as pl

files, out = Path(sys.argv[1]), sys.argv[2]
TIME = pl.Datetime("us", "UTC")
EVENT = ["event_id", "return_line_id", "order_line_id", "event", "units", "return_type", "occurred_at", "recorded_at"]
IDS = {"order_line_id": pl.String, "return_line_id": pl.String, "exchanged_from_line_id": pl.String}


def csv(pattern: str, times: tuple[str, ...]) -> pl.LazyFrame:
    rows = pl.scan_csv(files / pattern, schema_overrides=IDS, infer_schema_length=10_000)
    return rows.with_columns(pl.col(times).str.to_datetime(time_zone="UTC", time_unit="us"))


def newest(rows: pl.LazyFrame, key: str) -> pl.LazyFrame:
    return rows.sort("recorded_at").unique(key, keep="last")


zones = pl.scan_csv(files / "catalogue" / "shop.csv").select("shop_id", "time_zone").collect()
ordered = newest(csv("shop/order_line*.csv", ("ordered_at", "recorded_at")), "order_line_id").join(
    zones.lazy(), on="shop_id"
)
local = pl.coalesce(
    pl.when(pl.col("time_zone") == zone).then(pl.col("ordered_at").dt.convert_time_zone(zone).dt.date())
    for zone in zones["time_zone"].unique()
)
is_exchange = pl.col("exchanged_from_line_id").is_not_null()
lines = ordered.select(
    "order_line_id",
    is_exchange.alias("is_exchange"),
    pl.when(is_exchange | pl.col("shipped_at").is_null())
    .then(0)
    .otherwise(pl.col("units") - pl.col("units_cancelled"))
    .alias("sold"),
    local.dt.truncate("1mo").alias("month"),
)
portal = pl.scan_ndjson(files / "portal" / "*.ndjson", infer_schema_length=10_000).with_columns(
    pl.col("occurred_at", "recorded_at").str.to_datetime(time_zone="UTC", time_unit="us")
)
systems = [csv(f"{name}/*.csv", ("occurred_at", "recorded_at")) for name in ("carrier", "stores")]
centre = pl.scan_parquet(files / "returns_centre" / "*.parquet").with_columns(
    pl.col("occurred_at", "recorded_at").cast(TIME), pl.lit(None, pl.String).alias("return_type")
)
events = newest(
    pl.concat([rows.select(EVENT) for rows in (*systems, portal, centre)], how="vertical_relaxed"), "event_id"
)
each = events.group_by("return_line_id", "event").agg(pl.col("units").sum(), pl.col("occurred_at").min())
of_line = events.group_by("return_line_id").agg(pl.col("return_type", "order_line_id").drop_nulls().first())
refunds = (
    csv("finance/refund_line*.csv", ("refunded_at",))
    .filter(pl.col("return_line_id").is_not_null())
    .group_by("return_line_id")
    .agg(pl.col("refunded_at").min())
)
happened = {name: (pl.col("event") == name).any().alias(name) for name in ("carrier_scan", "lost")}
returned = (
    each.group_by("return_line_id")
    .agg(
        pl.col("units").max(),
        pl.col("occurred_at").filter(pl.col("event") == "received").min().alias("received_at"),
        pl.col("event").is_in(["cancelled", "rejected", "expired"]).any().alias("stopped"),
        pl.col("event").is_in(["received", "inspected", "restocked", "disposed"]).any().alias("came"),
        *happened.values(),
    )
    .join(of_line, on="return_line_id")
    .join(refunds, on="return_line_id", how="left")
    .with_columns(
        (
            ~pl.col("stopped")
            & (pl.col("refunded_at").is_not_null() | pl.col("came") | (pl.col("carrier_scan") & ~pl.col("lost")))
        ).alias("is_confirmed")
    )
)
back = (
    returned.filter("is_confirmed", pl.col("return_type").is_in(["withdrawal", "commercial", "exchange"]))
    .join(lines.filter(~pl.col("is_exchange")), on="order_line_id")
    .group_by("month")
    .agg(pl.col("units").sum().alias("part"))
)
rate = lines.group_by("month").agg(pl.col("sold").sum().alias("whole")).join(back, on="month", how="left")
promise = (
    returned.filter(pl.col("refunded_at") >= pl.col("received_at"))
    .group_by(pl.col("received_at").dt.date().dt.truncate("1mo").alias("month"))
    .agg(
        (pl.col("refunded_at") <= pl.col("received_at") + pl.duration(days=14)).sum().alias("part"),
        pl.len().alias("whole"),
    )
)
cost = (
    newest(pl.scan_parquet(files / "transport" / "*.parquet"), "element_id")
    .group_by(pl.col("started_at").dt.date().dt.truncate("1mo").alias("month"))
    .agg(pl.col("cost_amount").cast(pl.Float64).sum().alias("part"), pl.col("cost_amount").count().alias("whole"))
)
shape = (pl.col("part").cast(pl.Float64).fill_null(0.0), pl.col("whole").cast(pl.Int64))
numbers = {"rate": rate, "promise": promise, "cost": cost}
answer = pl.concat(
    pl.collect_all([rows.select(pl.lit(name).alias("number"), "month", *shape) for name, rows in numbers.items()])
)
answer.filter(pl.col("whole") > 0).sort("number", "month").write_csv(out)
