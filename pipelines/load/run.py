"""A load from files to a published build, and telling who is to be told."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb

from pipelines.access import load_readers
from pipelines.errors import BackhaulError, SourceError
from pipelines.load import history, pace, scorecard, within
from pipelines.load.faults import is_disk_full, is_of_disk, is_of_machine, note_published, put_aside
from pipelines.load.judge import heal_logs, judge_future_again, judge_landed
from pipelines.load.land import asks, begin, check_known, checked_namespace, files_of, land
from pipelines.load.publish import publish
from pipelines.load.raw import sweep
from pipelines.load.report import Progress, Report
from pipelines.load.upkeep import delete_old_raw, end_rotation
from pipelines.receiving import taking as receiving
from pipelines.settings import Settings
from pipelines.warehouse import build, keys, state
from pipelines.warehouse.log_files import Logs
from pipelines.warehouse.sql import memory_short
from pipelines.why import why


def load(
    settings: Settings,
    paths: Sequence[Path] = (),
    *,
    source: str | None = None,
    namespace: str | None = None,
    exported_at: datetime | None = None,
    is_whole: bool = False,
    rebuild: bool = False,
    is_trial: bool = False,
    progress: Progress = lambda _: None,
) -> Report:
    """Take files in and publish a build that holds them; without paths, finish what has landed.

    A `source` that asks a database needs no paths. `is_whole` reads it whole, and withdraws what is not there any more.

    `exported_at` says when the files were exported (UTC), where neither they nor the mapping say so: of two versions of
    a row the later export's wins. `rebuild` makes a build though nothing new has landed: the choice of factors has
    changed. `is_trial` stops once the rows are judged.

    Then the alert rules are evaluated, who is to be told is told, and subscriptions that are due are sent. Raises
    SourceError when the files asked for were put aside (all else is done first), CheckFailed when a blocking check
    finds rows that are no new load's fault, WarehouseDamaged for what is damaged and cannot be made again,
    WarehouseLocked when another load is writing.
    """
    request = _Request(list(map(Path, paths)), source, checked_namespace(namespace), exported_at, is_whole)
    report, refusal = _load(settings, request, rebuild, is_trial, progress)
    if not is_trial:
        try:
            _tell(settings, report, progress)
            _send(settings, report, progress)
        except OSError as error:
            note_published(report, error)
            raise
    if refusal is not None:
        for sentence in report.healed:
            refusal.add_note(sentence)
        raise refusal
    return report


def _tell(settings: Settings, report: Report, progress: Progress) -> None:
    """Tell who is to be told of a build's alerts, once a build.

    Also when the load that published it was killed before.
    """
    state_file = state.State(settings.warehouse)
    try:
        if report.build_id is None or state_file.value("told_build") == report.build_id:
            return
        from pipelines import alerts  # metrics are read only when there is something new
        from pipelines.alerts.sources import tell_problems

        progress(why("step_telling"))
        problems = scorecard.problems(settings)
        report.alerts += problems.values()
        report.unreached = alerts.tell(settings) + tell_problems(settings, problems)
        with build.writing(settings.warehouse, settings.short_wait_s):
            state_file.remember("told_build", report.build_id)
    finally:
        state_file.close()


def _send(settings: Settings, report: Report, progress: Progress) -> None:
    """Send the subscriptions that are due: those of each load, and those whose hour has come."""
    from pipelines import subscriptions  # a trial sends nothing

    if report.build_id is None or not subscriptions.waiting(settings):
        return
    progress(why("step_sending"))
    try:
        outcomes = subscriptions.send(settings)
    except BackhaulError as error:  # the build is published, whatever hinders the mail
        report.unreached.append(str(error))
        return
    report.sent = [one.sentence() for one in outcomes if not one.problem]
    report.unreached += [one.sentence() for one in outcomes if one.problem]


@dataclass(frozen=True)
class _Request:
    """What a load is asked for."""

    paths: list[Path]
    source: str | None
    namespace: str | None
    exported_at: datetime | None
    is_whole: bool

    def __bool__(self) -> bool:
        """Say whether anything new is to be taken in."""
        return bool(self.paths) or self.is_whole or asks(self.source)

    def begin(self, settings: Settings, state_file: state.State, report: Report) -> str:
        """Write down what is asked for; give the load's id."""
        if self.is_whole and not asks(self.source):
            raise SourceError(
                "--whole reads a database whole, and no --source was given that asks one. Files say it themselves, by"
                " `export: whole` in their mapping."
            )
        files = files_of(self.paths, settings, self.source, report) if self.paths else []
        return begin(state_file, files, self.source, self.namespace, self.exported_at, is_whole=self.is_whole)


def _load(
    settings: Settings,
    request: _Request,
    rebuild: bool,
    is_trial: bool,
    progress: Progress,
) -> tuple[Report, BackhaulError | None]:
    """Load; also give the error of the load that was asked for, when it was put aside."""
    with build.writing(settings.warehouse, settings.wait_s):
        restored = state.put_back(settings.warehouse)
        state_file = state.State(settings.warehouse)
        kind = "first" if build.current_id(settings.warehouse) is None else "later"
        paced = pace.timed(progress, state_file, kind)
        work = _Work(settings, state_file, Report(None, healed=[restored] if restored else []), paced)
        try:
            batches, told = receiving.take(settings) if not is_trial else ([], [])
            held = work.look(is_deep=not request and not batches)
            work.report.notes += told
            asked = None
            if request or batches or state_file.loads_with("landing", "landed") or settings.next_key_file.exists():
                keys.read(settings, state_file)
            if request:
                asked = request.begin(settings, state_file, work.report)
            received = work.receive(batches)
            for row in state_file.loads_with("landing"):
                work.go_on(row, land)
            work.let_go(received)
            is_ripe = judge_future_again(settings, state_file)
            while True:
                is_reordered = work.judge() or is_ripe
                if is_trial:
                    return work.report, work.failures.get(asked or "")
                work.publish(held, rebuild=rebuild, is_reordered=is_reordered)
                if not state_file.loads_with("landed"):
                    break
            work.finish()
            if work.report.is_new_build:
                pace.keep(paced, state_file, kind)
            return work.report, work.failures.get(asked or "")
        except duckdb.Error as error:
            if is_disk_full(error):
                raise OSError(errno.ENOSPC, "No space left on device", str(settings.warehouse)) from error
            if isinstance(error, duckdb.OutOfMemoryException):
                raise memory_short(error) from error
            if is_of_disk(error):
                raise OSError(errno.EIO, "Cannot be read or written", str(settings.warehouse)) from error
            raise
        except OSError as error:
            note_published(work.report, error)
            raise
        finally:
            if work.draft is not None:
                work.draft.discard()
            state_file.close()


Step = Callable[[Settings, state.State, dict[str, Any], Report, Progress], bool]


@dataclass
class _Work:
    """A load under way: what it says so far, the loads that were put aside for it, and the build it makes."""

    settings: Settings
    state_file: state.State
    report: Report
    progress: Progress
    failures: dict[str, BackhaulError] = field(default_factory=dict)
    draft: build.Draft | None = None

    def look(self, *, is_deep: bool) -> set[str]:
        """See what is there, and mend what can be mended; give the loads that the build holds."""
        settings, state_file, report = self.settings, self.state_file, self.report
        info = build.readable_info(settings.warehouse)
        if is_deep and info and (problem := build.problem(build.build_path(settings.warehouse, info["build_id"]))):
            report.healed.append(f"The build {info['build_id']} was damaged ({problem}): made again from the logs.")
            info = {}
        report.build_id = info.get("build_id")
        held = set(info.get("loads", "").split())
        check_known(settings, state_file, held)
        build.sweep(settings.warehouse)
        sweep(settings, state_file)
        heal_logs(settings, state_file, report, is_deep=is_deep)
        return held

    def go_on(self, row: dict[str, Any], step: Step) -> bool:
        """Take a load one step further; one that cannot go on is put aside."""
        try:
            return step(self.settings, self.state_file, row, self.report, self.progress)
        except Exception as error:
            if is_of_machine(self.settings, error, row):
                raise
            aside = put_aside(self.settings, self.state_file, row["load_id"], error, self.report)
            self.failures[row["load_id"]] = aside
            return False

    def receive(self, batches: Sequence[receiving.Batch]) -> dict[str, receiving.Batch]:
        """Begin a load of each file that web hooks made; give them by load."""
        return {
            begin(self.state_file, [batch.file], batch.hook.source, batch.hook.namespace, batch.came_at): batch
            for batch in batches
        }

    def let_go(self, received: dict[str, receiving.Batch]) -> None:
        """Let events leave the spool whose raw file is there and flushed, now or since an earlier load."""
        for load_id, batch in received.items():
            (row, *_) = [*self.state_file.loads_with("landed", "failed", load_id=load_id), None]
            if row is not None and not row["files"]:
                continue  # put aside before it landed: it is tried again by the next load
            for file in row["files"] if row else ():
                build.sync(self.settings.raw / file["raw"])
                build.sync((self.settings.raw / file["raw"]).parent)
            receiving.clear(batch)

    def judge(self) -> bool:
        """Judge every landed load, the oldest export first; say whether later exports are to be judged again."""
        is_reordered = False
        while landed := self.state_file.loads_with("landed"):
            if self.draft is None:  # the last build is copied while new rows are judged
                self.draft = build.Draft(self.settings, state.now(), self.report.build_id)
                Thread(
                    target=import_module, args=("..alerts", __package__)
                ).start()  # half a second, beside the database
            row = min(landed, key=lambda r: (r["exported_at"] or datetime.min, r["load_id"]))
            is_reordered |= self.go_on(row, judge_landed)
        return is_reordered

    def publish(self, held: set[str], *, rebuild: bool, is_reordered: bool) -> None:
        """Publish a build where there is anything new, or a load that the last one `held` is gone."""
        published = {row["load_id"] for row in self.state_file.loads_with("published")}
        is_less = bool(held - published)  # a load that the build holds was taken back or put aside
        is_first = self.report.build_id is None
        if self.state_file.loads_with("logged") or is_less or ((rebuild or is_first) and published):
            self.draft = self.draft or build.Draft(self.settings, state.now(), self.report.build_id)
            is_whole = is_reordered or rebuild or held != published
            history.keep_metrics(self.settings, self.state_file)
            self.failures |= publish(
                self.settings, self.state_file, self.draft, self.report, self.progress, is_whole=is_whole
            )

    def finish(self) -> None:
        """Evaluate the alert rules once a build, end a change of key, and clear away what is no longer needed."""
        settings, state_file, report = self.settings, self.state_file, self.report
        if report.build_id is not None and state_file.value("rules_build") != report.build_id:
            from pipelines import alerts  # metrics are read only when there is something new

            self.progress(why("step_alerts"))
            report.alerts = [v.sentence() for v in alerts.record(settings)]
            state_file.remember("rules_build", report.build_id)
        within.refresh(settings, load_readers(settings).scopes)
        end_rotation(settings, state_file)
        if settings.raw_days > 0:
            report.retained = delete_old_raw(settings, state_file, settings.raw_days)
            receiving.drop_old(settings, settings.raw_days)
        unused = Logs(settings, state_file).join()
        state.keep_copy(settings.warehouse)
        for file in unused:  # the state and its copy name another one for their rows
            file.unlink(missing_ok=True)
