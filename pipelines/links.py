"""Links to pages, as messages carry them: the days and the build are pinned, filters stand in codes.

The address of the pages is `BACKHAUL_URL`; without it a link is the path below it. Which addresses there are is the
pages' own matter (`dashboard.shared.places`); a test holds that each of these is one of them.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from urllib.parse import urlencode

from pipelines.settings import Settings

PAGE_OF = {
    "returns": "returns",
    "workload": "returns",
    "products": "products",
    "promises": "delays",
    "money": "margin",
    "carbon": "carbon",
    "circularity": "dispositions",
    "data": "checks",
}
"""The page that says more of a family of metrics."""
FILTERS = frozenset(
    {"country", "channel", "category", "brand", "carrier", "method", "window_days", "return_reason", "style_id", "size"}
    | {"colour", "disposition", "return_channel", "place_id"}
)
"""Dimensions that a page can be filtered by in its address."""

Codes = Mapping[str, str | Iterable[str]]


def link(
    settings: Settings, page: str, codes: Codes, days: tuple[date, date] | None = None, build_id: str | None = None
) -> str:
    """Give the link to a page under filters, on these days of this build.

    >>> from datetime import date
    >>> january = date(2026, 1, 1), date(2026, 1, 31)
    >>> link(Settings(public_url="https://example.org"), "late", {"country": ["FR"]}, january, "000007-x")
    'https://example.org/late?country=FR&period=custom&days=2026-01-01..2026-01-31&build=000007-x'
    """
    whole = {name: value for name, value in codes.items() if not days or name not in ("period", "days")}
    if days:
        whole |= {"period": "custom", "days": f"{days[0]}..{days[1]}"}
    if build_id:
        whole |= {"build": build_id}
    asked = urlencode(whole, doseq=True, safe=".:")
    return f"{settings.public_url}/{page}{f'?{asked}' if asked else ''}"
