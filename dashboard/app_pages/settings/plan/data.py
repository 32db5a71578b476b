"""What the page plan asks; nothing is drawn here."""

import pandas as pd

from dashboard.i18n import Words
from dashboard.shared import access, findings, plan, planned, timeline, views
from dashboard.shared.queries import PageQuestion, Source, metric, opened
from dashboard.shared.whole import changing, whole_shop
from pipelines import metrics, targets
from pipelines.metrics.bind import unit
from pipelines.people import annotations, saved_views

TARGETS = ["target_id", "name", "of", "value", "since", "until", "note"]
NOTES = ["annotation_id", "on", "kind", "text", "of", "by"]


def taking() -> list[str]:
    """List the numbers that take a target."""
    return [one.key for one in metrics.catalogue() if not targets.refusal(one.key)]


def target_list(words: Words, asked: Source) -> pd.DataFrame:
    """List the targets that stand, by number, part of the shop and day, each ended where the next takes over."""
    known, build = plan.set_targets(asked), opened(asked)
    cells = dict.fromkeys((one.metric, one.cell) for one in known)
    rows = [
        {
            "target_id": one.target_id,
            "name": findings.name(words, key),
            "of": planned.of_cell(words, one.where),
            "value": words.quantity(one.value, unit(build, metric(key))),
            "since": pd.Timestamp(one.since),
            "until": pd.NaT if one.until.year == 9999 else pd.Timestamp(one.until),
            "note": one.note,
        }
        for key, cell in cells
        for one in targets.versions(known, key, cell)
        if one.until is not None
    ]
    return pd.DataFrame(rows, columns=TARGETS)


def note_list(words: Words, asked: PageQuestion) -> pd.DataFrame:
    """List the notes that the filters of the view let through, newest first."""
    rows = [
        {
            "annotation_id": one.annotation_id or None,
            "on": pd.Timestamp(one.begins_on),
            "kind": words.value("note_kind", one.kind),
            "text": timeline.sentence(words, one),
            "of": planned.of_cell(words, one.where),
            "by": words("note.by_warehouse" if one.is_automatic else "note.by_people"),
        }
        for one in reversed(plan.notes(asked))
    ]
    return pd.DataFrame(rows, columns=NOTES)


def withdraw_target(asked: Source, target_id: int) -> None:
    """Take a target back: it stays on record and judges nothing."""
    targets.withdraw_target(changing(asked, "target_withdrawn"), target_id)


def withdraw_note(asked: Source, annotation_id: int) -> None:
    """Take a note back: it stays on record and is not shown."""
    access.saved("note_withdrawn")
    annotations.withdraw_annotation(whole_shop(asked), annotation_id)


def rename_view(asked: Source, view_id: int, name: str) -> None:
    """Give a saved view another name."""
    access.saved("view_renamed")
    saved_views.rename(views.settings_of(asked), views.reader(), view_id, name)


def withdraw_view(asked: Source, view_id: int) -> None:
    """Take a saved view from the list."""
    access.saved("view_withdrawn")
    saved_views.withdraw(views.settings_of(asked), views.reader(), view_id)
