"""Names of what is coded in the shop's own ids, products and sites; and the zone of its clock."""

from sqlalchemy import func, select

from dashboard.shared.memory import remembered
from dashboard.shared.queries import Source, opened, table
from pipelines.warehouse.star import STAR


@remembered
def styles(asked: Source) -> dict[str, str]:
    """Give the names of styles, as `ranking` writes them."""
    products = table(asked, "dim_product")
    now = products[products["is_current"].astype(bool)].dropna(subset=["style_id"])
    return {str(k): str(v) for k, v in now.groupby("style_id")["name"].min().dropna().items()}


@remembered
def place_names(asked: Source) -> dict[str, str]:
    """Give the names of sites."""
    places = table(asked, "dim_place").drop_duplicates("place_id").dropna(subset=["name"])
    return dict(zip(places["place_id"].astype(str), places["name"].astype(str), strict=True))


@remembered
def zone(asked: Source) -> str:
    """Give the time zone of the shop that sells most, whose clock instants are written by; UTC where none is known."""
    shop, line = STAR.tables["dim_shop"], STAR.tables["fact_order_line"]
    sold = (
        select(shop.c.time_zone, func.count().label("n"))
        .select_from(line.join(shop, line.c.shop_key == shop.c.shop_key))
        .where(shop.c.time_zone.is_not(None))
        .group_by(shop.c.time_zone)
    )
    found = opened(asked).fetch(sold).sort_values(["n", "time_zone"], ascending=[False, True])
    return str(found["time_zone"].iloc[0]) if len(found) else "UTC"
