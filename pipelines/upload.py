"""Files that come through the page: what they are, what they would give, and their load.

The same functions as the command line's. Files are copied to a private folder for as long as one step takes. Their
names come from people: only the last part is kept, without signs that mean something to a shell or a file system. What
is on the page is no concern of this module.
"""

import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from pipelines.errors import BackhaulError, SourceError
from pipelines.load import Report, load
from pipelines.settings import Settings
from pipelines.sources import fits, mapping_source, recognise
from pipelines.sources.mapping import Mapping
from pipelines.sources.propose import Proposal, guess, propose
from pipelines.sources.shipped import Recognised
from pipelines.warehouse import state

if TYPE_CHECKING:
    import pandas as pd


LONGEST_NAME = 100
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class File:
    """One file as it came: the name somebody gave it, and its bytes."""

    name: str
    content: bytes | memoryview


@dataclass(frozen=True)
class Group:
    """Files that are loaded together, by their safe names.

    By a source that knows them, by a mapping, or by one still to be looked over. A `doubt` says what the proposal does
    not see.
    """

    names: tuple[str, ...]
    source: str = ""
    mapping: str = ""
    mapping_name: str = "mapping"
    proposal: Proposal | None = None
    doubt: str = ""

    @property
    def is_known(self) -> bool:
        """Tell whether there is nothing to look over."""
        return self.proposal is None

    @property
    def text(self) -> str:
        """The mapping as it is written to a file; empty where the source is code."""
        return self.proposal.yaml if self.proposal else self.mapping


@dataclass
class Outcome:
    """What a trial or a load gave: how rows were judged, which were quarantined, or why it ended."""

    reports: list[Report] = field(default_factory=list)
    quarantined: "pd.DataFrame | None" = None
    problem: str = ""


def safe_name(name: str) -> str:
    """Give the last part of a file's name, of letters, digits, blanks and a few plain signs.

    >>> safe_name("../../etc/passwd"), safe_name("Commandes n°1.csv"), safe_name(".."), safe_name("a;rm -rf.csv")
    ('passwd', 'Commandes n_1.csv', 'file', 'a_rm -rf.csv')
    """
    last = re.split(r"[\\/]", unicodedata.normalize("NFC", name))[-1]
    plain = re.sub(r"[^\w .()+-]", "_", last).strip(" .")
    return plain[-LONGEST_NAME:].strip(" .") or "file"


def named(files: Sequence[File]) -> list[File]:
    """Give the files safe names; equal ones are numbered."""
    taken: set[str] = set()
    safe = []
    for file in files:
        name, number = safe_name(file.name), 2
        stem, suffix = Path(name).stem, Path(name).suffix
        while name.lower() in taken:
            name, number = f"{stem}-{number}{suffix}", number + 1
        taken.add(name.lower())
        safe.append(File(name, file.content))
    return safe


def check_size(files: Sequence[File], settings: Settings) -> None:
    """Raise SourceError for more than the page takes at once."""
    size = sum(len(file.content) for file in files)
    if size > settings.upload_mb * MEGABYTE:
        raise SourceError(
            f"The files hold {size / MEGABYTE:,.0f} MB and the page takes {settings.upload_mb:,} MB at once. "
            "Load them on the command line: backhaul load FILE --source MAPPING."
        )


@contextmanager
def stored(files: Sequence[File]) -> Iterator[list[Path]]:
    """Copy files to a folder that only this user can read, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="backhaul-upload-") as folder:
        paths = [Path(folder) / file.name for file in named(files)]
        for path, file in zip(paths, files, strict=True):
            _write(path, file.content)
        yield paths


def _write(path: Path, content: bytes | memoryview) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def examine(files: Sequence[File], settings: Settings, *, is_proposed: bool = False) -> list[Group]:
    """Find out what files are.

    A source's that knows them, one of a mapping given with them, loaded by before or shipped, or to be proposed.
    `is_proposed` proposes a mapping for what an earlier or a shipped mapping would fit. Raises SourceError for a file
    that cannot be read.
    """
    check_size(files, settings)
    with stored(files) as paths:
        given = [p for p in paths if p.suffix.lower() in (".yaml", ".yml")]
        data = [p for p in paths if p not in given]
        if not data:
            raise SourceError("There is no data file among these. Give the files that hold orders and returns.")
        if len(given) > 1:
            raise SourceError(
                f"There are {len(given)} mappings ({given[0].name}, {given[1].name}). Give one at a time, with its"
                " files."
            )
        if given:
            return [Group(_names(data), mapping=_checked(given[0]), mapping_name=given[0].stem)]
        if group := _known(data, settings, is_proposed=is_proposed):
            return [group]
        groups: dict[str, Group] = {}
        unknown: list[Path] = []
        for path in data:
            group = _known([path], settings, is_proposed=is_proposed)
            if group is None:
                unknown.append(path)
            else:
                key = group.source or group.mapping
                groups[key] = replace(group, names=(*groups[key].names, path.name)) if key in groups else group
        return [*groups.values(), *([_proposed(unknown)] if unknown else [])]


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(path.name for path in paths)


def _known(paths: list[Path], settings: Settings, *, is_proposed: bool) -> Group | None:
    """Find the source of files, or the mapping they were loaded by before; None when nothing knows them."""
    try:
        source = recognise(paths)
    except SourceError:
        source = None
    if source is not None and not isinstance(source, Mapping):
        return Group(_names(paths), source=source.name)
    if is_proposed:
        return None
    for mapping in state.mappings(settings) if settings.warehouse.exists() else []:
        if fits(mapping_source(mapping), paths):
            return Group(_names(paths), mapping=mapping.read_text(encoding="utf-8"), mapping_name=mapping.stem)
    return None if source is None else Group(_names(paths), mapping=source.text, mapping_name=source.path.stem)


def _checked(mapping: Path) -> str:
    """Read a mapping that somebody gave; one that asks a database is refused."""
    if Mapping(mapping).queries:
        raise SourceError(
            f"{mapping.name} asks a database. Load it on the command line: backhaul load FILE --source {mapping.name}."
        )
    return mapping.read_text(encoding="utf-8")


def _proposed(paths: list[Path]) -> Group:
    """Propose one mapping for files, under a name without the export's date: the next export is of the same source."""
    try:
        proposal, doubt = propose(paths), ""
    except SourceError as error:
        proposal, doubt = guess(paths), str(error)
    name = re.sub(r"[\W_]*\d[\d\W_]{3,}", "", paths[0].stem)
    proposal = replace(proposal, name=name or paths[0].stem, known=(Recognised(), ()))
    return Group(_names(paths), proposal=proposal, doubt=doubt)


def trial(files: Sequence[File], groups: Sequence[Group], settings: Settings) -> Outcome:
    """Judge the rows of files without loading them: in a warehouse of its own, which is thrown away."""
    with tempfile.TemporaryDirectory(prefix="backhaul-trial-") as folder:
        return _run(
            files, groups, replace(settings, warehouse=Path(folder) / "warehouse"), lambda _: None, is_trial=True
        )


class Loading(Thread):
    """One load of files, in a thread of its own: it ends well though the reader has left the page.

    `exported_on` is the day the files were exported, where they do not say so themselves. `steps` are what it has done
    so far and does now; `outcome` is there at the end.
    """

    def __init__(
        self, files: Sequence[File], groups: Sequence[Group], settings: Settings, exported_on: date | None = None
    ) -> None:
        super().__init__(name="backhaul-upload")
        self.files, self.groups, self.settings, self.exported_on = tuple(files), tuple(groups), settings, exported_on
        self.steps: list[str] = []
        self.outcome: Outcome | None = None

    def run(self) -> None:
        """Load the files."""
        try:
            self.outcome = _run(
                self.files, self.groups, self.settings, self.steps.append, is_trial=False, exported_on=self.exported_on
            )
        finally:
            self.files = ()
            self.outcome = self.outcome or Outcome(
                problem=(
                    "The load ended with a fault of the program. Nothing was published; readers keep the last build."
                )
            )


def _run(
    files: Sequence[File],
    groups: Sequence[Group],
    settings: Settings,
    progress: Callable[[str], None],
    *,
    is_trial: bool,
    exported_on: date | None = None,
) -> Outcome:
    """Load each group, or without any finish and make again what has landed; list what was quarantined."""
    outcome, since = Outcome(), state.now()
    exported_at = datetime.combine(exported_on, time.min) if exported_on else None
    with stored(files) as paths:
        try:
            if not groups:
                outcome.reports.append(load(settings, progress=progress))
            for group in groups:
                source = group.source
                if group.text:
                    mapping = paths[0].parent / "mapping" / f"{group.mapping_name}.yaml"
                    mapping.parent.mkdir(mode=0o700, exist_ok=True)
                    mapping.unlink(missing_ok=True)
                    _write(mapping, group.text.encode())
                    source = str(mapping)
                mine = [p for p in paths if p.name in group.names]
                outcome.reports.append(
                    load(settings, mine, source=source, exported_at=exported_at, is_trial=is_trial, progress=progress)
                )
        except BackhaulError as error:
            outcome.problem = str(error)
        except OSError as error:
            outcome.problem = (
                f"{error.strerror or error}: {error.filename or settings.warehouse}. Nothing was published; readers"
                " keep the last build."
            )
    if (settings.warehouse / "state.sqlite").exists():
        outcome.quarantined = state.quarantined(settings, since)
    return outcome
