"""How the steps of a schedule went: kept as JSON beside the warehouse, and shown as a page that needs nothing else."""

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pipelines.scheduling.schedule import Schedule, Step
from pipelines.settings import Settings, write_whole

LATE = timedelta(minutes=10)  # that a round may take beyond its time before the schedule counts as stopped
_TIMES = ("done", "tried", "began_at", "ended_at", "failing_since", "well_at")


@dataclass(frozen=True)
class Outcome:
    """How a step went last. All times are UTC.

    `done` is the period that went well last, `tried` the round of the last try, `missed` how many periods the last run
    made up for.
    """

    done: datetime
    tried: datetime
    began_at: datetime
    ended_at: datetime
    exit_code: int
    attempts: int
    missed: int = 0
    sentence: str = ""
    failing_since: datetime | None = None
    well_at: datetime | None = None


@dataclass(frozen=True)
class Runs:
    """What is known of a schedule: its steps by name, the one that runs, the last round and its ping."""

    steps: Mapping[str, Outcome] = field(default_factory=dict)
    running: str = ""
    rounded_at: datetime | None = None
    ping: str = ""

    def failing(self, schedule: Schedule) -> list[Step]:
        """List the steps that must go well and did not, the last time or ever."""
        return [
            step
            for step in schedule.steps
            if not step.is_optional and ((last := self.steps.get(step.name)) is None or last.failing_since is not None)
        ]

    def problems(self, schedule: Schedule, at: datetime) -> list[str]:
        """Say what is wrong: nothing runs, or a step fails."""
        found = [
            f"{step.name} fails since {last.failing_since:%Y-%m-%d %H:%M} UTC (exit {last.exit_code}): {last.sentence}"
            if (last := self.steps.get(step.name)) and last.failing_since
            else f"{step.name} has not been run yet."
            for step in self.failing(schedule)
        ]
        due = schedule.clock.newest(schedule.clock.newest(at) - timedelta(seconds=1))
        longest = max((step.timeout for step in schedule.steps), default=LATE)
        if self.rounded_at is None or (self.rounded_at < due and at - self.rounded_at > schedule.clock.every + longest):
            said = f"since {self.rounded_at:%Y-%m-%d %H:%M} UTC" if self.rounded_at else "yet"
            found.insert(0, f"No round has ended {said}.")
        if self.ping.startswith("failed"):
            found.append(f"The ping {self.ping}.")
        return found


def read(settings: Settings) -> Runs:
    """Read what is known; nothing where nothing was run, or what is there cannot be read."""
    try:
        content = json.loads((settings.runs_folder / "runs.json").read_text("utf-8"))
        steps = {name: Outcome(**_timed(row)) for name, row in content["steps"].items()}
        at = content["rounded_at"]
        return Runs(steps, content["running"], datetime.fromisoformat(at) if at else None, content["ping"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Runs()


def _timed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: datetime.fromisoformat(v) if k in _TIMES and v else v for k, v in row.items()}


def write(settings: Settings, schedule: Schedule, runs: Runs, at: datetime) -> None:
    """Keep what is known, and draw the page of it."""
    content = {**asdict(runs), "steps": {name: asdict(one) for name, one in runs.steps.items()}}
    text = json.dumps(content, default=lambda one: one.isoformat(), indent=1)
    write_whole(settings.runs_folder / "runs.json", text)
    write_whole(settings.runs_folder / "status.html", page(schedule, runs, at))


def rows(schedule: Schedule, runs: Runs, at: datetime) -> list[dict[str, Any]]:
    """Give a row a step: how it went last, when it is due next."""
    found = []
    for step in schedule.steps:
        last = runs.steps.get(step.name)
        state = "running" if runs.running == step.name else "not run yet"
        if last is not None and runs.running != step.name:
            state = "failing" if last.failing_since else "done"
        found.append(
            {
                "step": step.name,
                "state": state,
                "is_optional": step.is_optional,
                "last_run": last.began_at if last else None,
                "seconds": round((last.ended_at - last.began_at).total_seconds()) if last else None,
                "attempts": last.attempts if last else None,
                "made_up_for": last.missed if last else None,
                "well_at": last.well_at if last else None,
                "next": step.clock.following(at),
                "said": last.sentence if last and last.failing_since else "",
            }
        )
    return found


_HEADINGS = {
    "step": "Step",
    "state": "State",
    "last_run": "Last run",
    "seconds": "Seconds",
    "attempts": "Attempts",
    "made_up_for": "Missed before",
    "well_at": "Last success",
    "next": "Due next",
}
_STYLE = """
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}body{margin:2rem auto;max-width:72rem;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.45rem .7rem;border-bottom:1px solid #8886;
vertical-align:top}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}div{overflow-x:auto}li{margin:.2rem 0}
"""


def page(schedule: Schedule, runs: Runs, at: datetime) -> str:
    """Draw the page: what is wrong first, then each step. It is read by itself again every minute."""
    problems = runs.problems(schedule, at)
    title = f"{len(problems)} problems" if len(problems) > 1 else "1 problem" if problems else "All steps went well"
    optional = [
        f"{r['step']}, optional, fails: {r['said']}" for r in rows(schedule, runs, at) if r["is_optional"] and r["said"]
    ]
    listed = "".join(f"<li>{html.escape(one)}</li>" for one in [*problems, *optional])
    head = "".join(f"<th scope=col>{heading}</th>" for heading in _HEADINGS.values())
    body = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in rows(schedule, runs, at))
    ping = " The ping was answered." if runs.ping == "ok" else ""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<meta http-equiv=refresh content=60><title>Backhaul: {title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><ul>{listed}</ul>"
        f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"<p>Written {_shown(at)}. All times are UTC.{ping}</p></html>\n"
    )


def _cells(row: Mapping[str, Any]) -> Iterator[str]:
    for key in _HEADINGS:
        mark = "" if key == "state" else " class=n"
        yield f"<td{mark}>{html.escape(_shown(row[key]))}</td>"


def _shown(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else "" if value is None else str(value)
