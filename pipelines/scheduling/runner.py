"""The runner: sees to what is due, one step at a time, and writes down how it went.

Of a step that was missed, while the machine slept or a round took long, one run makes up for all. A step that fails
does not keep the next ones from running, and is due again at the next round. Where everything has gone well the address
of the ping is asked for: who watches it hears of a machine that is gone, too, by hearing nothing.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from filelock import FileLock, Timeout

from pipelines.errors import WarehouseLocked
from pipelines.scheduling import status
from pipelines.scheduling.schedule import Schedule, Step
from pipelines.scheduling.status import Outcome, Runs
from pipelines.settings import Settings, private, write_whole

PASSES = (3, 4, 5)
"""Ends that may pass: another command writes, something does not answer, a fault. 1 and 2 are the same again."""
TIMED_OUT = 124  # as the command timeout(1) ends
LONGEST_WAIT = timedelta(minutes=15)  # before a retry
PATIENCE_S = 30.0  # that a step which is told to end has for it
NAP_S = 20.0  # between two looks at the clock, which sleep and summer time move
MOST_OUTPUT = 1 << 20  # bytes that are kept of what a step printed
PING_S, PINGS = 10.0, 3


def now() -> datetime:
    """Give the time (UTC, without zone)."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass
class Runner:
    """One schedule of one warehouse. `at` and `sleep` are the clock that tests set."""

    settings: Settings
    schedule: Schedule
    at: Callable[[], datetime] = now
    sleep: Callable[[float], None] = time.sleep

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the schedule of this warehouse. Raises WarehouseLocked where another runner does."""
        folder = self.settings.runs_folder
        with private():
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock", mode=0o600, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise WarehouseLocked(
                f"Another `backhaul run` is under way for {self.settings.warehouse}. Wait until it ends, or stop it."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def forever(self) -> None:
        """See to what is due until interrupted."""
        with self.alone():
            while True:
                self.round()
                while (left := (self.schedule.clock.following(self.at()) - self.at()).total_seconds()) > NAP_S:
                    self.sleep(NAP_S)
                    if self.due():
                        break
                else:
                    self.sleep(max(left, 0.1))

    def once(self) -> bool:
        """See to what is due now; say whether everything that must go well does."""
        with self.alone():
            self.round()
        return not status.read(self.settings).failing(self.schedule)

    def due(self) -> list[Step]:
        """List the steps that are due and have not been tried in this round."""
        at, runs = self.at(), status.read(self.settings)
        tick = self.schedule.clock.newest(at)
        found = []
        for step in self.schedule.steps:
            last = runs.steps.get(step.name)
            if last is None or (last.done < step.clock.newest(at) and last.tried < tick):
                found.append(step)
        return found

    def round(self) -> None:
        """Run what is due, write down how it went, and ask for the ping's address where all is well."""
        steps = self.due()
        for step in steps:
            self._run(step)
        if steps:
            runs = status.read(self.settings)
            is_well = not runs.failing(self.schedule)
            self._keep(replace(runs, rounded_at=self.at(), ping=self._ping() if is_well and self.schedule.ping else ""))

    def _keep(self, runs: Runs) -> None:
        status.write(self.settings, self.schedule, runs, self.at())

    def _run(self, step: Step) -> None:
        """Run a step until it has gone well or may not be tried again."""
        begun, runs = self.at(), status.read(self.settings)
        last = runs.steps.get(step.name)
        due, tick = step.clock.newest(begun), self.schedule.clock.newest(begun)
        missed = step.clock.missed(last.done, begun) if last and last.done > datetime.min else 0
        self._keep(replace(runs, running=step.name))
        code, sentence, attempts, wait = 0, "", 0, step.wait
        while True:
            attempts += 1
            code, sentence = self._attempt(step)
            if not (code in (*PASSES, TIMED_OUT) or code < 0) or attempts > step.retries:
                break
            self.sleep(wait.total_seconds())
            wait = min(2 * wait, LONGEST_WAIT)
        is_well, ended = code == 0, self.at()
        before = last.failing_since if last else None
        outcome = Outcome(
            done=due if is_well else last.done if last else datetime.min,
            tried=tick,
            began_at=begun,
            ended_at=ended,
            exit_code=code,
            attempts=attempts,
            missed=missed,
            sentence=sentence,
            failing_since=None if is_well else before or begun,
            well_at=ended if is_well else last.well_at if last else None,
        )
        runs = status.read(self.settings)
        self._keep(replace(runs, running="", steps={**runs.steps, step.name: outcome}))

    def _attempt(self, step: Step) -> tuple[int, str]:
        """Run a step once: how it ended, and the last sentence that it said of it."""
        output = self.settings.runs_folder / f"{step.name}.log"
        environment = {**os.environ, "BACKHAUL_WAREHOUSE": str(self.settings.warehouse.absolute())}
        with private(), output.open("wb") as said:
            process = subprocess.Popen(
                command(step.words),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
                start_new_session=True,
            )
        try:
            code = process.wait(step.timeout.total_seconds())
        except subprocess.TimeoutExpired:
            code = TIMED_OUT
            _end(process)
        except BaseException:  # the runner is told to end
            _end(process)
            raise
        return code, _last_line(output) if code != TIMED_OUT else f"It took longer than {step.timeout}."

    def _ping(self) -> str:
        """Ask for the address of the ping; say what became of it."""
        problem = ""
        for number in range(PINGS):
            try:
                answer = httpx.get(self.schedule.ping, timeout=PING_S, follow_redirects=False)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem = type(error).__name__
            else:
                if answer.is_success:
                    return "ok"
                problem = f"it answered {answer.status_code}"
            if number + 1 < PINGS:
                self.sleep(2.0**number)
        return f"failed: {problem}"


def command(words: tuple[str, ...]) -> list[str]:
    """Give the command that runs a verb: this Python, these packages, wherever they are installed."""
    module = f"{__name__.rsplit('.', 2)[0]}.cli"
    return [sys.executable, "-m", module, *words]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Tell a step and what it has started to end, and end them where they do not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(output: Path) -> str:
    """Give the last line that a step printed, and cut its output to what is kept."""
    content = output.read_bytes()
    if len(content) > MOST_OUTPUT:
        content = content[-MOST_OUTPUT:]
        write_whole(output, content)
    lines = [line for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""
