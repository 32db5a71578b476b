"""Names of what is coded in the shop's own ids: products and sites."""

from dashboard.shared.queries import Source, remembered, table


@remembered()
def styles(asked: Source) -> dict[str, str]:
    """Give the names of styles, as `ranking` writes them."""
    products = table(asked, "dim_product")
    now = products[products["is_current"].astype(bool)].dropna(subset=["style_id"])
    return {str(k): str(v) for k, v in now.groupby("style_id")["name"].min().dropna().items()}


@remembered()
def place_names(asked: Source) -> dict[str, str]:
    """Give the names of sites."""
    places = table(asked, "dim_place").drop_duplicates("place_id").dropna(subset=["name"])
    return dict(zip(places["place_id"].astype(str), places["name"].astype(str), strict=True))
