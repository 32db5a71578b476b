"""What is asked of a metric: by which dimensions, over which days, as of when, for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, NamedTuple

from pipelines.warehouse.engine import period_start

Day = date | datetime | None

Values = Mapping[str, Sequence[Any]]
Where = Values | None  # allowed values a dimension
ALIASES = {
    "market": "country",
    "shop": "shop_id",
    "product": "product_id",
    "style": "style_id",
    "promise": "promise_id",
    "place": "place_id",
    "site": "place_id",
    "reason": "return_reason",
    "status": "data_status",
    "several_sizes": "has_several_sizes",
}

FINE = ("product_id", "style_id", "size")  # so many groups that counting by them and days first saves little
TAKEN = ("reason", "status")  # columns of an answer: these two dimensions are answered under their full names


class Text(NamedTuple):
    """A text in the two languages of the screens."""

    en: str
    fr: str


@dataclass(frozen=True)
class Scope:
    """What the reader may see: values allowed per dimension; empty is everything."""

    allowed: Values = field(default_factory=dict)


EVERYTHING = Scope()


def time_grain(name: str) -> bool:
    """Say whether a dimension is a time grain."""
    return name in period_start.grains


def as_instant(day: date | datetime | None) -> datetime | None:
    """Give the observation time meant by a day: its end; an instant is itself."""
    if day is None or isinstance(day, datetime):
        return day
    return datetime.combine(day, time.max)
