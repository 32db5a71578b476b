"""A scorecard a source: its rows, how many are accepted, its newest event, its silence, and what its columns became.

What is usual is told from the source's own loads, so a source of a few loads has no usual yet. A problem is a code with
its parts, and stands until a load of the source, or the clock, says otherwise.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import duckdb
from sqlalchemy import select

from pipelines.settings import Settings
from pipelines.sources import NamedRows
from pipelines.warehouse import build, sql, state, state_tables
from pipelines.why import why

LOOKED_AT = 50  # rows by which it is told what a column holds
MOSTLY = 0.8  # of these
NUMBER, TIME, TEXT, EMPTY, UNUSED = "number", "time", "text", "empty", "unused"
_NUMBER = re.compile(r"[+-]?\d[\d ,.]*([eE][+-]?\d+)?")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}( .*)?")
_PERSONAL = re.compile(r"@|[0-9]([^0-9]*[0-9]){4}")  # no heading: the first row of a file without one
EARLIER = 5  # loads of a log that say what its columns usually are
FEWEST_GAPS = 4  # between loads, before a silence can be longer than usual
LONGER = 1.5  # times the longest gap of late
GAPS = 20  # between loads that are looked at
SHARE_LOST = 0.05  # more of a load's rows in quarantine than of earlier loads'
FEWEST_ROWS = 30  # of a load, before its share is told


@dataclass(frozen=True)
class Scorecard:
    """How one source does: rows of all its loads and of the newest, shares 0 to 1, times UTC.

    `usual_gap` is the longest time between two of its late loads, None while there are too few. `problems` are
    sentences, by what they are: silence, share, new, missing, retyped.
    """

    source: str
    loads: int
    rows: int
    share_accepted: float | None
    last_rows: int
    last_share_accepted: float | None
    last_loaded_at: datetime
    newest_event_at: datetime | None
    silent_for: timedelta
    usual_gap: timedelta | None
    problems: tuple[tuple[str, str], ...] = ()

    @property
    def is_silent(self) -> bool:
        """Say whether nothing came for longer than usual."""
        return self.usual_gap is not None and self.silent_for > LONGER * self.usual_gap


def kinds(connection: duckdb.DuckDBPyConnection, named: NamedRows) -> dict[str, str]:
    """Say what each column of a log's rows holds, by its first rows: a number, a time, text, nothing; or it is unused.

    >>> from pipelines.warehouse.sql import connect
    >>> rows = NamedRows("refund", "SELECT '2,5' AS amount, 'x' AS note, NULL AS due, DATE '2026-01-02' AS day")
    >>> kinds(connect(folders=[]), rows)
    {'amount': 'number', 'note': 'text', 'due': 'empty', 'day': 'time'}
    """
    found = connection.execute(f"SELECT * FROM ({named.sql}) LIMIT {LOOKED_AT}")
    names = [column[0] for column in found.description or ()]
    told = dict(zip(names, zip(*found.fetchall(), strict=True), strict=False))
    held = {name: _kind(told.get(name, ())) for name in names if not name.startswith("_")}
    unused = [name for name in named.ignored_columns if name not in held and not _PERSONAL.search(name)]
    return held | dict.fromkeys(unused, UNUSED)


def _kind(values: Iterable[Any]) -> str:
    texts = [text for value in values if value is not None and (text := str(value).strip())]
    if not texts:
        return EMPTY
    counted = Counter(NUMBER if _NUMBER.fullmatch(t) else TIME if _TIME.fullmatch(t) else TEXT for t in texts)
    kind, most = counted.most_common(1)[0]
    return kind if most >= MOSTLY * len(texts) else TEXT


def scorecards(settings: Settings, now: datetime | None = None) -> list[Scorecard]:
    """Give the scorecard of every source that was loaded, in the order of their names, as of a time (UTC)."""
    return _cards(settings, now or state.now(), _newest_events(settings))


def problems(settings: Settings, now: datetime | None = None) -> dict[str, str]:
    """Give the problems of sources, as `by_key` does; for these the state is enough."""
    return by_key(_cards(settings, now or state.now(), {}))


def _cards(settings: Settings, now: datetime, events: Mapping[str, datetime]) -> list[Scorecard]:
    """Give the scorecard of every source; `events` are their newest in the build."""
    c, made = state_tables.load_count.c, state_tables.load.c
    asked = (
        select(state_tables.load_count, made.started_at)
        .join(state_tables.load, made.load_id == c.load_id)
        .where(made.status.in_(("logged", "published")))
        .order_by(c.load_id)
    )
    with closing(state.State(settings.warehouse)) as state_file:
        found = state_file.rows(asked)
    by_source: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_source.setdefault(row["source"], []).append(row)
    return [_of(source, rows, events.get(source), now) for source, rows in sorted(by_source.items())]


def by_key(cards: Iterable[Scorecard]) -> dict[str, str]:
    """Give the problems of sources by what tells one from another: a silence that lasts is one, however long."""
    return {
        f"{card.source}|{what}{'' if what in ('silence', 'share') else '|' + sentence}": sentence
        for card in cards
        for what, sentence in card.problems
    }


def _newest_events(settings: Settings) -> dict[str, datetime]:
    """Give the time of the newest event of each source in the build that readers see."""
    build_id = build.current_id(settings.warehouse)
    if build_id is None or not build.is_there(settings.warehouse, build_id):
        return {}
    with sql.open_file(build.build_path(settings.warehouse, build_id)) as connection:
        found = connection.execute("SELECT source, max(last_occurred_at) FROM build_source GROUP BY 1").fetchall()
    return {source: at for source, at in found if at is not None}


def _of(source: str, rows: Sequence[Mapping[str, Any]], event: datetime | None, now: datetime) -> Scorecard:
    """Judge one source by its rows of the state, a row a load and log."""
    loads: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        loads.setdefault(row["load_id"], []).append(row)
    counts = [_counted(of_load) for of_load in loads.values()]
    times = [of_load[0]["started_at"] for of_load in loads.values()]
    gaps = [later - earlier for earlier, later in pairwise(times)][-GAPS:]
    usual = max(gaps) if len(gaps) >= FEWEST_GAPS else None
    read, good = (sum(n) for n in zip(*counts, strict=True))
    last_read, last_good = counts[-1]
    earlier_read, earlier_good = read - last_read, good - last_good
    card = Scorecard(
        source,
        len(loads),
        read,
        good / read if read else None,
        last_read,
        last_good / last_read if last_read else None,
        times[-1],
        event,
        now - times[-1],
        usual,
    )
    problems = list(_drift(source, rows))
    if card.last_share_accepted is not None and last_read >= FEWEST_ROWS:
        usually = earlier_good / earlier_read if earlier_read else 1.0
        if usually - card.last_share_accepted > SHARE_LOST:
            said = why("source_share", source=source, share=1 - card.last_share_accepted, usual=f"{1 - usually:.1%}")
            problems.insert(0, ("share", said))
    if card.is_silent and usual is not None:
        said = why("source_silent", source=source, silent=_lasted(card.silent_for), usual=_lasted(usual))
        problems.insert(0, ("silence", said))
    return Scorecard(**{**vars(card), "problems": tuple(problems)})


def _counted(of_load: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Count the rows that a load read, and those not in quarantine; rows made from others are not counted again."""
    own = [row for row in of_load if not row["is_derived"]]
    read = sum(row["read"] or 0 for row in own)
    return read, read - sum(row["quarantined"] or 0 for row in own)


def _lasted(time: timedelta) -> str:
    """Write a length of time in hours below two days, else in days.

    >>> _lasted(timedelta(hours=30)), _lasted(timedelta(days=9))
    ('30 h', '9 d')
    """
    hours = time.total_seconds() / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"


def _drift(source: str, rows: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """Say which columns of the newest load of each log are new, missing or hold something else than in earlier ones."""
    logs: dict[str, list[dict[str, str]]] = {}
    newest = rows[-1]["load_id"] if rows else None
    is_new = {row["thing"] for row in rows if row["load_id"] == newest}
    for row in rows:
        if row["columns"]:
            logs.setdefault(row["thing"], []).append(json.loads(row["columns"]))
    for thing, told in sorted(logs.items()):
        last, earlier = told[-1], told[-1 - EARLIER : -1]
        if thing not in is_new or not earlier:
            continue
        known = {name for one in earlier for name in one}
        always = {name for name in earlier[0] if all(one.get(name, EMPTY) != EMPTY for one in earlier)}
        found = {
            "new": [name for name in last if name not in known],
            "missing": [name for name in always if last.get(name, EMPTY) == EMPTY],
            "retyped": [n for n, kind in last.items() if EMPTY not in (kind, was := _was(n, earlier)) and kind != was],
        }
        for what, names in found.items():
            if names:
                listed = ", ".join(sorted(names)[:5]) + (" ..." if len(names) > 5 else "")
                yield what, why(f"source_{what}", source=source, thing=thing, columns=listed)


def _was(name: str, earlier: Sequence[Mapping[str, str]]) -> str:
    """Say what a column held in the earlier loads, where they agree; empty where they do not, or it held nothing."""
    held = {one[name] for one in earlier if one.get(name, EMPTY) != EMPTY}
    return held.pop() if len(held) == 1 else EMPTY
