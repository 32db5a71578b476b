"""Read a warehouse from Python: `backhaul.connect(path)`, then metrics, the rows behind them, and the catalogue.

    import backhaul

    with backhaul.connect("warehouse") as shop:
        shop.metric("ultimate_return_rate", by="category", since="2026-01-01")

Numbers are those of the pages and of the command line. Nothing here writes. The product itself lives in `models`,
`pipelines` and `dashboard`, beside this package in the repository and inside it once installed.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pipelines.errors import BackhaulError
from pipelines.metrics.question import Question

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.warehouse.engine import Build

__all__ = ["BackhaulError", "Warehouse", "connect"]

Day = dt.date | str | None
Where = Mapping[str, Sequence[Any] | str] | None
ANSWER = ("value", "low", "high", "n", "coverage", "unit", "status", "why")


def connect(path: str | Path = "warehouse", *, build: str | None = None) -> "Warehouse":
    """Open the build that readers see of a warehouse, or the one of an id.

    `path` is a warehouse's folder, or the postgresql:// address of a copy, with #SCHEMA when it is not backhaul. What
    is opened stays what it is while loads publish newer ones. Raises WarehouseMissing.
    """
    from pipelines.warehouse.build import current_build, open_build
    from pipelines.warehouse.engine import open_postgresql

    if isinstance(path, str) and path.startswith("postgresql"):
        address, _, schema = path.partition("#")
        return Warehouse(open_postgresql(address, schema or "backhaul"))
    folder = Path(path)
    return Warehouse(current_build(folder) if build is None else open_build(folder, build))


class Warehouse:
    """A warehouse open for reading; a context manager, or closed by `close`."""

    def __init__(self, build: "Build") -> None:
        self._build = build

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the build."""
        self._build.close()

    @property
    def build_id(self) -> str:
        """The id of the build that is read."""
        return str(self._build.info.get("build_id", ""))

    def catalogue(self) -> "pd.DataFrame":
        """List the metrics: key, name, sentence, unit, date basis, the facts each needs, and what it can be cut by."""
        import pandas as pd

        from pipelines import metrics

        return pd.DataFrame(
            {
                "key": m.key,
                "name": m.name.en,
                "sentence": m.sentence.en,
                "unit": m.unit,
                "basis": m.basis,
                "needs": list(m.needs),
                "dimensions": [*metrics.dimensions(m.key), *sorted(metrics.own_dimensions(self._build))],
            }
            for m in metrics.catalogue()
        )

    def metric(
        self,
        key: str,
        *,
        by: str | Sequence[str] = (),
        where: Where = None,
        since: Day = None,
        until: Day = None,
        as_of: Day = None,
        level: float = 0.9,
    ) -> "pd.DataFrame":
        """Answer a metric, one row a group; without `by` exactly one row.

        `by` names dimensions or day, week, month, quarter, year; `where` maps dimensions to values that may stand
        there; `since` and `until` are days of the metric's own basis, `until` included; `as_of` is the day it is seen
        from. Columns: those of `by`, then value, low and high (an interval of `level`), n (what it rests on), coverage
        (0 to 1), unit, status ("ok" or "greyed") and why: the reason for a missing or weakened number, empty where
        there is none. Raises BackhaulError for what is not there: a metric, a dimension, a value.
        """
        from pipelines import metrics

        found = metrics.answer(
            self._build,
            key,
            Question(
                where=self._where(key, where), since=_day(since), until=_day(until), as_of=_day(as_of), level=level
            ),
            by=_names(by),
        )
        groups = [name for name in found.columns if name not in (*ANSWER, "reason", "basis", "caution")]
        return found.rename(columns={"reason": "why"})[[*groups, *ANSWER]]

    def rows(
        self,
        key: str,
        *,
        part: str = "numerator",
        by: str | Sequence[str] = (),
        where: Where = None,
        since: Day = None,
        until: Day = None,
        as_of: Day = None,
        limit: int | None = 1000,
    ) -> "pd.DataFrame":
        """Give the rows behind a metric's numerator or denominator, newest first, `limit` of them (None: all).

        The column `counted` says what each adds, so that its sum is the number's part. Takes and raises what `metric`
        does.
        """
        from pipelines import metrics

        return metrics.rows(
            self._build,
            key,
            Question(where=self._where(key, where), since=_day(since), until=_day(until), as_of=_day(as_of)),
            part=part,
            by=_names(by),
            limit=limit,
        )

    def values(self, key: str, dimension: str) -> list[str]:
        """List the values of a dimension that rows of a metric have."""
        from pipelines import metrics

        return metrics.values_of(self._build, key, dimension)

    def _where(self, key: str, where: Where) -> dict[str, list[str]]:
        from pipelines import metrics

        given = {name: [v] if isinstance(v, str) else [str(x) for x in v] for name, v in (where or {}).items()}
        return metrics.read_filters(self._build, key, given)


def _names(by: str | Sequence[str]) -> tuple[str, ...]:
    return (by,) if isinstance(by, str) else tuple(by)


def _day(day: Day) -> dt.date | None:
    if isinstance(day, str):
        try:
            return dt.date.fromisoformat(day)
        except ValueError:
            raise BackhaulError(f"{day} is not a day; write it as 2026-01-31.") from None
    return day
