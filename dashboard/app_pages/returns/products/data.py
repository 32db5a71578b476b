"""What the page products asks; nothing is drawn here."""

import datetime as dt
from typing import Any

import pandas as pd

from dashboard.shared import access
from dashboard.shared.memory import remembered
from dashboard.shared.names import styles
from dashboard.shared.queries import SHOWN_STYLES, PageQuestion, Source, opened, question_of, stands_alone
from dashboard.shared.whole import whole_shop
from pipelines import analyses
from pipelines.people import actions as actions_people
from pipelines.people import actions as pipelines_actions
from pipelines.people import work
from pipelines.settings import Settings
from pipelines.sources import note_label
from pipelines.warehouse.engine import looked_up

TOLD = pipelines_actions.TOLD
NAMED = 5  # of what an action was done to, in the list of actions


def first_ranked(ranked: pd.DataFrame, order: str) -> pd.DataFrame:
    """Give the first SHOWN_STYLES by "money" at stake, as they come, or by "relative" rate.

    Products of few units last in both.
    """
    if order == "relative":
        ranked = ranked.sort_values(["is_small", "relative"], ascending=[True, False], kind="stable", ignore_index=True)
    return ranked.head(SHOWN_STYLES)


def acted_on(asked: Source, ranked: pd.DataFrame) -> pd.DataFrame:
    """Lay the newest action about each style beside a ranking.

    Columns: action (its kind) and action_status, empty without one.
    """
    newest: dict[str, actions_people.Action] = {}
    for action in actions(asked):
        for style in action.scope.get("style_id", ()):
            newest.setdefault(style, action)
    kinds = {style: action.kind for style, action in newest.items()}
    statuses = {style: action.status for style, action in newest.items()}
    return ranked.assign(
        action=looked_up(ranked["style_id"], kinds), action_status=looked_up(ranked["style_id"], statuses)
    )


def to_look_at(ranked: pd.DataFrame) -> pd.DataFrame:
    """Mark the products to look at: the column is_listed."""
    return work.to_look_at(ranked)


@remembered
def product(asked: PageQuestion, style_id: str) -> analyses.ProductProfile:
    """Gather what the page of one style shows."""
    return analyses.product_profile(opened(asked.source), style_id, question_of(asked, "product_return_rate"))


def noted(frame: pd.DataFrame, language: str) -> pd.DataFrame:
    """Say the themes of customers' notes in a language."""
    return frame.assign(theme=[note_label(theme, language) for theme in frame["theme"]])


def actions(asked: Source) -> list[actions_people.Action]:
    """List what people did, newest first; read anew each time."""
    return [] if asked.scope else actions_people.actions(Settings(warehouse=asked.warehouse))


def action_list(asked: Source) -> pd.DataFrame:
    """Lay out what people did.

    Columns: action_id, kind, about, effective_on, owner, due_on, action_status, expected_money, note.
    """
    names = styles(asked)
    rows = [
        {
            "action_id": a.action_id,
            "kind": a.kind,
            "about": _about([names.get(v, v) for values in a.scope.values() for v in values]),
            "effective_on": a.effective_on,
            "owner": a.owner,
            "due_on": a.due_on,
            "action_status": a.status,
            "expected_money": a.expected_money,
            "note": a.note,
        }
        for a in actions(asked)
    ]
    return pd.DataFrame(
        rows,
        columns=[
            "action_id",
            "kind",
            "about",
            "effective_on",
            "owner",
            "due_on",
            "action_status",
            "expected_money",
            "note",
        ],
    )


def _about(named: list[str]) -> str:
    """Write the first few of what an action was done to, and how many more there are."""
    more = f" + {len(named) - NAMED}" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + more


def measured(asked: PageQuestion, kind: str, action_id: int | None = None) -> pipelines_actions.Measured:
    """Measure what followed one action, or all actions of a kind together, on what each was done to."""
    stands_alone(asked)
    logged = actions(asked.source)
    return _measured(asked.source, tuple((a.action_id, a.updated_at) for a in logged), kind, action_id)


@remembered
def _measured(
    asked: Source, logged: tuple[tuple[int, dt.datetime], ...], kind: str, action_id: int | None
) -> pipelines_actions.Measured:
    among = actions(asked)
    if action_id is None:
        return pipelines_actions.measure_kind(opened(asked), kind, among)
    one = next(a for a in among if a.action_id == action_id)
    return pipelines_actions.measure_action(opened(asked), one, among)


def suggested(asked: PageQuestion) -> pd.DataFrame:
    """List what the catalogue says was done and nobody logged.

    Columns: style_id, kind, effective_on, before, after, products, name.
    """
    stands_alone(asked)
    found = pipelines_actions.suggested_actions(opened(asked.source), actions(asked.source))
    return found.assign(name=looked_up(found["style_id"], styles(asked.source)))


def log_action(asked: Source, kind: str, style_ids: list[str], **values: Any) -> int:
    """Log what was done to styles and give its number; raises BackhaulError with what is wrong."""
    scope = {"style_id": style_ids}
    pipelines_actions.check_scope(opened(asked), kind, scope)
    access.saved("action", kind)
    return actions_people.log_action(whole_shop(asked), kind, scope, **values).action_id


def finish_action(asked: Source, action_id: int, effective_on: dt.date | None) -> None:
    """Say that an open action is done, and since when; raises BackhaulError without a day."""
    access.saved("action", str(action_id), "done")
    actions_people.update_action(whole_shop(asked), action_id, status="done", effective_on=effective_on)


def withdraw_action(asked: Source, action_id: int) -> None:
    """Take an action back: it is kept, and neither listed nor measured."""
    access.saved("action", str(action_id), "withdrawn")
    actions_people.withdraw_action(whole_shop(asked), action_id)
