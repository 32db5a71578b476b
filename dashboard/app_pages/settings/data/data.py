"""What the page data asks; nothing is drawn here."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dashboard.shared import access
from dashboard.shared.memory import remembered
from dashboard.shared.queries import Source
from dashboard.shared.whole import changing, kept, whole_shop
from pipelines import metrics, upload
from pipelines.analyses import unlocks
from pipelines.load import differences as load_differences
from pipelines.load import history, quarantine, scorecard
from pipelines.metrics import Metric
from pipelines.receiving import taking
from pipelines.warehouse import state
from pipelines.warehouse.schema import LOG

Missing = unlocks.Missing
Cell = quarantine.Cell
Entry = history.Entry
Differences = load_differences.Differences
Scorecard = scorecard.Scorecard
Waiting = taking.Waiting
LISTED = 500  # rows in quarantine that are shown one by one


def catalogue() -> tuple[Metric, ...]:
    """Give every metric's declaration."""
    return metrics.catalogue()


def loads(asked: Source) -> pd.DataFrame:
    """List loads with the rows read, accepted, duplicate and quarantined."""
    return kept(asked, state.loads)


def unread_fields(asked: Source) -> pd.DataFrame:
    """Count fields that could not be read, of accepted rows."""
    return kept(asked, state.unread_fields)


def quarantined(asked: Source) -> pd.DataFrame:
    """List rows in quarantine one by one, newest load first."""
    return kept(asked, lambda settings: pd.DataFrame(quarantine.rows(settings, limit=LISTED)))


def cells(asked: Source, row: Mapping[str, Any]) -> list[Cell]:
    """Give what may be shown of a quarantined row, the columns at fault first."""
    return quarantine.look(whole_shop(asked), row)


def choices(thing: str, column: str) -> tuple[str, ...]:
    """List the values that a column can take; none where it is free."""
    return tuple(LOG.tables[thing].columns[column].info["values"] or ())


def is_personal(thing: str, column: str) -> bool:
    """Say whether a column is one that no fix may hold."""
    columns = LOG.tables[thing].columns
    return column not in columns or columns[column].info["text"] in quarantine.PERSONAL


def fix(asked: Source, row: Mapping[str, Any], values: Mapping[str, str], note: str, *, everywhere: bool) -> list[int]:
    """Keep a fix of a row, or of its wording wherever its source writes it; gives the numbers of the fixes."""
    settings = whole_shop(asked)
    by = access.saved("quarantine_fixed", str(row["thing"]), *values).name
    if everywhere:
        ((column, value),) = values.items()
        return quarantine.fix_wording_of(settings, row, column, value, by, note=note)
    return quarantine.fix_row(settings, row, values, by, note=note)


def leave_out(asked: Source, row: Mapping[str, Any], note: str) -> list[int]:
    """Say that a quarantined row is none."""
    settings = whole_shop(asked)
    return quarantine.leave_out(settings, row, access.saved("quarantine_left_out", str(row["thing"])).name, note=note)


def fixes(asked: Source) -> pd.DataFrame:
    """List the fixes that stand, newest first."""
    return kept(asked, lambda settings: pd.DataFrame(quarantine.made(settings)))


def take_back(asked: Source, fix_id: int) -> None:
    """Take a fix back."""
    quarantine.withdraw_fix(whole_shop(asked), fix_id, access.saved("quarantine_undone", str(fix_id)).name)


def waiting(asked: Source) -> int:
    """Count fixes that no load was validated with yet."""
    return 0 if asked.scope else quarantine.waiting(whole_shop(asked))


def replayed(asked: Source) -> upload.Loading:
    """Have the loads of new fixes validated again; gives the load that does it, to be started."""
    settings = changing(asked, "quarantine_replayed")
    quarantine.send_back(settings)
    return upload.Loading((), (), settings)


def scorecards(asked: Source) -> list[Scorecard]:
    """Give the scorecard of every source; none within a scope."""
    return [] if asked.scope else scorecard.scorecards(whole_shop(asked))


def hooks(asked: Source) -> list[Waiting]:
    """Count what web hooks told and no load has taken, by hook; none within a scope."""
    return [] if asked.scope else taking.waiting(whole_shop(asked))


def entries(asked: Source) -> list[Entry]:
    """List builds, newest first, with what each took in; none within a scope."""
    return [] if asked.scope else history.history(whole_shop(asked), keys=())


@remembered
def differences(asked: Source, first: str, second: str) -> Differences:
    """Compare two kept builds."""
    return load_differences.compare(whole_shop(asked), first, second)


def rollback(asked: Source, build_id: str) -> list[str]:
    """Have readers see an earlier build; gives the loads that it does not hold."""
    settings = changing(asked, f"rolled_back:{build_id}")
    return history.rollback(settings, build_id, access.current().name)
