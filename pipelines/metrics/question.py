"""What is asked of a metric: by which dimensions, over which days, as of when, for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from typing import Any, NamedTuple

from pipelines.errors import UnknownDimension, UnknownValue
from pipelines.warehouse.engine import period_start
from pipelines.warehouse.scope import EVERYTHING as EVERYTHING
from pipelines.warehouse.scope import Scope as Scope

Day = date | datetime | None

Values = Mapping[str, Sequence[Any]]
ALIASES = {
    "market": "country",
    "shop": "shop_id",
    "product": "product_id",
    "style": "style_id",
    "promise": "promise_id",
    "parcel": "parcel_id",
    "place": "place_id",
    "site": "place_id",
    "reason": "return_reason",
    "status": "data_status",
    "several_sizes": "has_several_sizes",
}

FINE = ("product_id", "style_id", "size", "parcel_id")  # so many groups that counting by days first saves little
TAKEN = ("reason", "status")  # columns of an answer: these two dimensions are answered under their full names


class Text(NamedTuple):
    """A text in the two languages of the screens."""

    en: str
    fr: str


@dataclass(frozen=True)
class Question:
    """What is asked of any number: under which filters, of which days, as of when, for whom, how sure.

    `where` maps dimensions to the values that may stand there; `since` and `until` are days on the number's own date
    basis, both included; `as_of` is the time of observation (a day means its end); `scope` is what the reader may see;
    `level` is that of intervals. A number that cannot be asked for one of them says so with `takes`.

    A door gives its reader a build that holds the rows of the scope alone (`load/within`, decision 51): what reads a
    build needs no `scope` to keep to it. Here it narrows one question.
    """

    where: Values = field(default_factory=dict)
    since: Day = None
    until: Day = None
    as_of: Day = None
    scope: Scope = EVERYTHING
    level: float = 0.9

    def but(self, **changes: Any) -> "Question":
        """Give the same question with other fields."""
        return replace(self, **changes)

    def under(self, **values: Sequence[Any]) -> "Question":
        """Give the same question under more filters; one of a dimension takes the place of an earlier one."""
        return replace(self, where={**self.where, **values})

    def undated(self) -> "Question":
        """Give the same question of all days, as they are known now."""
        return replace(self, since=None, until=None, as_of=None)

    def takes(self, name: str, *fields: str) -> "Question":
        """Give itself where it asks for nothing but these fields, filters and scope aside.

        Raises UnknownDimension, which names the first field that `name` cannot be asked for.
        """
        for field_name in ("since", "until", "as_of"):
            if field_name not in fields and getattr(self, field_name) is not None:
                raise UnknownDimension(f"{name} cannot be asked {_ASKED[field_name]}.")
        return self


ANYTHING = Question()
_ASKED = {"since": "from a day on", "until": "up to a day", "as_of": "as of a day"}


def time_grain(name: str) -> bool:
    """Say whether a dimension is a time grain."""
    return name in period_start.grains


def day_written(text: str | None) -> date | None:
    """Read a day as people write it; nothing is no day. Raises UnknownValue.

    >>> day_written("2026-01-31"), day_written(None)
    (datetime.date(2026, 1, 31), None)
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UnknownValue(f"{text} is not a day; write it as 2026-01-31.") from None


def as_instant(day: date | datetime | None) -> datetime | None:
    """Give the observation time meant by a day: its end; an instant is itself."""
    if day is None or isinstance(day, datetime):
        return day
    return datetime.combine(day, time.max)
