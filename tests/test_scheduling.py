"""What runs on schedule: when it is due, what is done where it fails, how it is shown, and the files beside it."""

import ast
import configparser
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from pipelines.cli.live import verbs
from pipelines.errors import ScheduleError, WarehouseLocked
from pipelines.scheduling import runner, status
from pipelines.scheduling.schedule import Clock, Schedule, Step, read
from pipelines.settings import Settings
from tests.conftest import ends

DEPLOY = Path(__file__).parents[1] / "docs" / "deploy"
START = datetime(2026, 3, 2, 10, 20)
HOUR = timedelta(hours=1)


class Shop:
    """A runner whose clock stands still, and whose steps end as they are told to."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *steps: Step, ping: str = "") -> None:
        self.at, self.slept, self.ran = START, list[float](), list[str]()
        self.ends: dict[str, list[int]] = {}
        self.settings = Settings(warehouse=tmp_path / "warehouse")
        self.schedule = Schedule(Clock(HOUR, timedelta(), "Europe/Paris"), steps, ping)
        self.runner = runner.Runner(self.settings, self.schedule, lambda: self.at, self.slept.append)
        monkeypatch.setattr(runner.Runner, "_attempt", lambda _, step: self._attempt(step))

    def _attempt(self, step: Step) -> tuple[int, str]:
        self.ran.append(step.name)
        self.at += timedelta(seconds=10)
        code = next(iter(self.ends.get(step.name, [])), 0)
        self.ends[step.name] = self.ends.get(step.name, [])[1:]
        return code, f"It ended with {code} <b>"

    def runs(self) -> status.Runs:
        return status.read(self.settings)


def step(name: str, **more: Any) -> Step:
    return Step(name, (name,), more.pop("clock", Clock(HOUR, timedelta(), "Europe/Paris")), **more)


def test_a_day_has_its_periods_by_the_clock_of_its_zone() -> None:
    daily = Clock(timedelta(days=1), timedelta(hours=6, minutes=30), "Europe/Paris")
    assert daily.newest(datetime(2026, 3, 28, 5, 29)) == datetime(2026, 3, 27, 5, 30)
    assert daily.newest(datetime(2026, 3, 29, 4, 30)) == datetime(2026, 3, 29, 4, 30)  # summer time has begun
    assert daily.following(datetime(2026, 3, 28, 5, 30)) == datetime(2026, 3, 29, 4, 30)
    hourly = Clock(HOUR, timedelta(), "Europe/Paris")
    at = datetime(2026, 10, 24, 20, 1)
    for _ in range(12):  # through the night that has an hour twice
        assert hourly.newest(at) <= at < hourly.following(at) <= at + 2 * HOUR
        at += HOUR
    assert hourly.missed(datetime(2026, 3, 2, 8), datetime(2026, 3, 2, 12, 5)) == 3


def test_steps_run_once_a_period_in_order_and_make_up_for_what_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daily = Clock(timedelta(days=1), timedelta(), "Europe/Paris")
    shop = Shop(tmp_path, monkeypatch, step("pull"), step("load"), step("report", clock=daily))
    assert shop.runner.once()
    assert shop.runner.once()
    assert shop.ran == ["pull", "load", "report"]
    shop.at += 5 * HOUR  # the machine slept
    assert shop.runner.once()
    assert shop.ran[3:] == ["pull", "load"]
    assert shop.runs().steps["load"].missed == 4
    shop.at += timedelta(days=1)
    shop.runner.once()
    assert shop.ran[5:] == ["pull", "load", "report"]


def test_what_may_pass_is_tried_again_and_what_fails_keeps_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, monkeypatch, step("pull", retries=3), step("load"))
    shop.ends = {"pull": [4, 3, 0], "load": [1]}
    assert not shop.runner.once()
    assert shop.ran == ["pull", "pull", "pull", "load"]  # 1 would be the same again
    assert shop.slept == [30, 60]
    runs = shop.runs()
    assert [runs.steps[name].attempts for name in ("pull", "load")] == [3, 1]
    assert [one.name for one in runs.failing(shop.schedule)] == ["load"]
    shop.runner.once()
    assert shop.ran[4:] == []  # not before the next round
    shop.at += HOUR
    shop.ends = {"pull": [-9, -9, -9, -9, -9]}
    assert not shop.runner.once()
    assert shop.ran[4:] == ["pull"] * 4 + ["load"]
    assert shop.runs().steps["pull"].failing_since == datetime(2026, 3, 2, 11, 20, 40)
    shop.at += 3 * HOUR
    assert shop.runner.once()
    assert shop.runs().steps["pull"].missed == 3  # what failed was missed


def test_an_optional_step_keeps_the_ping_not_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(503 if len(asked) == 2 else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/secret"
        shop = Shop(tmp_path, monkeypatch, step("load"), step("copy", is_optional=True), ping=address)
        shop.ends = {"copy": [1]}
        assert shop.runner.once()
        assert shop.runs().ping == "ok"
        shop.at += HOUR
        assert shop.runner.once()  # 503, then well
        assert len(asked) == 3
        shop.at += HOUR
        shop.ends = {"load": [1]}
        assert not shop.runner.once()
        assert len(asked) == 3  # who watches hears nothing
    finally:
        server.shutdown()
        server.server_close()
    shop.at += HOUR
    shop.runner.once()
    (problem,) = shop.runs().problems(shop.schedule, shop.at)
    assert problem == "The ping failed: ConnectError."
    assert "secret" not in (shop.settings.runs_folder / "status.html").read_text()


def test_how_it_went_is_shown_and_a_runner_that_is_gone_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, monkeypatch, step("load"), step("pull"))
    assert [p for p in shop.runs().problems(shop.schedule, shop.at) if "not been run" in p]
    shop.ends = {"pull": [1]}
    shop.runner.once()
    page = (shop.settings.runs_folder / "status.html").read_text()
    assert "1 problem" in page
    assert "It ended with 1 &lt;b&gt;" in page
    assert [row["state"] for row in status.rows(shop.schedule, shop.runs(), shop.at)] == ["done", "failing"]
    shop.at += HOUR
    shop.runner.once()
    assert shop.runs().problems(shop.schedule, shop.at) == []
    gone = shop.runs().problems(shop.schedule, shop.at + 5 * HOUR)
    assert gone == ["No round has ended since 2026-03-02 11:20 UTC."]
    (shop.settings.runs_folder / "runs.json").write_text("{")  # cut by nobody, and no reason to stop
    assert shop.runs() == status.Runs()
    with FileLock(shop.settings.runs_folder / ".lock"), pytest.raises(WarehouseLocked, match="backhaul run"):
        shop.runner.once()


def test_a_runner_goes_on_by_the_clock_and_ends_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, monkeypatch, step("load"))
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        shop.at += timedelta(seconds=seconds)
        if shop.at > START + 1.8 * HOUR and len(shop.ran) == 3:
            raise KeyboardInterrupt
        if len(naps) == 20:
            shop.at += timedelta(minutes=40)  # the machine slept

    shop.runner.sleep = nap
    with pytest.raises(KeyboardInterrupt):
        shop.runner.forever()
    assert shop.runs().steps["load"].tried == START.replace(hour=12, minute=0)
    assert max(naps) <= runner.NAP_S
    assert shop.runner.due() == []
    shop.runner.once()  # nobody holds the lock any more


def test_a_step_is_a_process_that_is_ended_when_it_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(warehouse=tmp_path / "warehouse")
    settings.runs_folder.mkdir()
    one = runner.Runner(settings, Schedule(Clock(HOUR, timedelta(), "Etc/UTC"), ()))
    said = "import os, sys; print(os.environ['BACKHAUL_WAREHOUSE']); sys.exit(3)"
    monkeypatch.setattr(runner, "command", lambda words: [sys.executable, "-c", words[0]])
    assert one._attempt(step(said, timeout=timedelta(seconds=120))) == (3, str(settings.warehouse))
    hangs = replace(step("x"), words=("import time; time.sleep(600)",), timeout=timedelta(seconds=0.2))
    assert one._attempt(hangs)[0] == runner.TIMED_OUT
    killed = replace(step("y"), words=(f"import os; os.kill(os.getpid(), {signal.SIGKILL.value})",))
    assert one._attempt(killed)[0] == -signal.SIGKILL
    monkeypatch.setattr(runner, "MOST_OUTPUT", 20)
    long = replace(step("z"), words=("print('x' * 100, 'end', sep=chr(10))",))
    assert one._attempt(long) == (0, "end")
    assert (settings.runs_folder / "z.log").stat().st_size == 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("every: 7h\nsteps: [{run: load}]", "line 1: `every:` parts a day evenly"),
        ("every: 1h\nat: '06:00'\nsteps: [{run: load}]", "line 2: `at:` goes with"),
        ("zone: Paris\nsteps: [{run: load}]", "line 1: `zone:` is a time zone"),
        ("steps: []", "line 1: `steps:` lists what is run"),
        ("steps:\n- run: laod", "line 2: there is no verb `laod`"),
        ("steps:\n- run: alert nonsense", "line 2: there is no verb `alert`"),
        ("steps:\n- run: serve", "line 2: `serve` does not end by itself"),
        ("steps:\n- run: load\n- run: load x", "line 3: two steps are named `load`"),
        ("every: 1d\nsteps:\n- {run: load, every: 1h}", "line 3: a step is run at most as often"),
        ("steps:\n- {run: load, retries: 99}", "line 2: `retries:` is a number from 0 to 10"),
        ("steps:\n- {run: load, wait: soon}", "line 2: `wait:` is a number and s, m, h or d"),
        ("steps:\n- {run: load, optional: maybe}", "line 2: `optional:` is yes or no"),
        ("steps:\n- {run: load, shell: rm}", "line 2: there is no key `shell`"),
        ("ping: ftp://x\nsteps:\n- run: load", "line 1: `ping:` is an address"),
        ("steps: *all", "line 1"),
        ("load", "line 1: a schedule begins with keys"),
    ],
)
def test_a_schedule_is_read_strictly(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "schedule.yaml"
    file.write_text(text)
    with pytest.raises(ScheduleError, match=re.escape(said)):
        read(file, verbs())


def test_a_schedule_is_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "schedule.yaml"
    file.write_text("every: 15m\nsteps:\n- {run: backhaul alert check --wait 5, name: alerts, timeout: 10m}\n")
    found = read(file, verbs(), "https://example.org/ping")
    assert found.ping == "https://example.org/ping"
    (one,) = found.steps
    assert (one.name, one.words) == ("alerts", ("alert", "check", "--wait", "5"))
    assert one.timeout == timedelta(minutes=10)
    assert one.clock.every == timedelta(minutes=15)


# -- the files of docs/deploy ------------------------------------------------------------------------------------------


def known(command: str) -> list[str]:
    """Give the words of a command of ours, whose verb and options there are."""
    words = shlex.split(command)
    words = words[1:] if Path(words[0]).name == "backhaul" else words
    assert " ".join(words[:2]) in verbs() or words[0] in verbs(), command
    return words


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", ["schedule.yaml", "container-schedule.yaml"])
def test_the_schedules_of_the_docs_are_schedules(name: str) -> None:
    found = read(DEPLOY / name, verbs())
    assert [one.name for one in found.steps[:3]] == ["load", "alert-check", "subscribe-send"]


def test_the_crontab_asks_every_five_minutes() -> None:
    lines = [x for x in (DEPLOY / "backhaul.cron").read_text("utf-8").splitlines() if x and not x.startswith("#")]
    *settings, line = lines
    assert settings == ["BACKHAUL_WAREHOUSE=/srv/backhaul/warehouse"]
    *when, command = line.split(maxsplit=5)
    assert when == ["*/5", "*", "*", "*", "*"]
    assert known(command)[0] == "run"
    assert "%" not in command  # a line end, to cron


@pytest.mark.parametrize("name", ["backhaul-run.service", "backhaul-receive.service"])
def test_the_units_of_systemd_have_no_rights_that_they_need_not(name: str, tmp_path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / name)
    service = unit["Service"]
    known(service["ExecStart"])
    for key, value in {
        "User": "backhaul",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "UMask": "0077",
        "Restart": "always",
    }.items():
        assert service[key] == value, key
    if analyze := shutil.which("systemd-analyze"):
        text = (DEPLOY / name).read_text("utf-8").replace("/opt/backhaul/bin/backhaul", "/bin/true")
        (tmp_path / name).write_text(text)
        done = subprocess.run([analyze, "verify", "--man=no", tmp_path / name], capture_output=True, text=True)
        assert not [line for line in done.stderr.splitlines() if name in line], done.stderr


def test_the_examples_of_airflow_and_dagster_run_what_is_due_and_leave_the_rest_to_the_schedule() -> None:
    commands = []
    for name in ("airflow_dag.py", "dagster_job.py"):
        tree = ast.parse((DEPLOY / name).read_text("utf-8"), name)
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        commands += [text for text in texts if text.startswith("backhaul run")]
        assert "0 * * * *" in texts
    assert commands == ["backhaul run /srv/backhaul/schedule.yaml --once"] * 2
    assert known(commands[0])


def test_what_cron_runs_loads_and_says_how_it_went(tmp_path: Path, tiny_settings: Settings) -> None:
    """The line of the crontab as a shell runs it, on the schedule of the docs without what a night may take."""
    settings = Settings(warehouse=tmp_path / "warehouse")
    for given, copied in ((tiny_settings.warehouse, settings.warehouse), (tiny_settings.raw, settings.raw)):
        shutil.copytree(given, copied)
    shutil.copy(tiny_settings.key_file, settings.key_file)
    content = yaml.safe_load((DEPLOY / "schedule.yaml").read_text("utf-8"))
    content["steps"] = [one for one in content["steps"] if one["run"] in ("load", "alert check")]
    (tmp_path / "schedule.yaml").write_text(yaml.safe_dump(content))
    line = (DEPLOY / "backhaul.cron").read_text("utf-8").splitlines()[-1].split(maxsplit=5)[-1]
    line = line.replace("/srv/backhaul", str(tmp_path)).replace(
        "backhaul run", f"{sys.executable} -m pipelines.cli run"
    )
    environment = {"BACKHAUL_WAREHOUSE": str(settings.warehouse), "PYTHONPATH": str(DEPLOY.parents[1]), "PATH": ""}
    done = subprocess.run(line, shell=True, env=environment, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    runs = status.read(settings)
    assert {name: one.exit_code for name, one in runs.steps.items()} == {"load": 0, "alert-check": 0}
    assert "All steps went well" in (settings.runs_folder / "status.html").read_text()
    assert "Nothing new" in (settings.runs_folder / "load.log").read_text()


def test_the_status_of_a_schedule_is_a_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("run", DEPLOY / "schedule.yaml", "--status", "--warehouse", tmp_path / "warehouse", "--format", "csv")
    code, out, said = ends(capsys, monkeypatch, *asked)
    assert code == 1
    assert "load,not run yet" in out
    assert "No round has ended yet." in said
    code, _, said = ends(capsys, monkeypatch, "run", tmp_path / "none.yaml")
    assert (code, "No such file" in said) == (4, True)


def test_the_containers_have_no_rights_and_are_asked_how_they_are(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"dashboard", "receiver", "runner", "postgres"}
    for name, service in services.items():
        assert service["user"].split(":")[0] not in ("0", "root"), name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert not [key for key in service.get("environment", {}) if "SECRET" in key or key.endswith("PASSWORD")], name
        for volume in service["volumes"]:
            source, target, *_ = volume.split(":")
            assert source in compose["volumes"] or (DEPLOY / source).is_file(), volume
            assert target.startswith(("/data", "/etc/backhaul", "/var/lib/postgresql"))
    for name in ("dashboard", "receiver", "runner"):
        known(shlex.join(services[name]["command"]))
        assert services[name]["build"]["dockerfile"] == "docs/deploy/Containerfile"
    assert known(shlex.join(services["runner"]["healthcheck"]["test"][4:]))[0] == "run"
    for name in ("dashboard", "receiver"):
        compile(services[name]["healthcheck"]["test"][3], name, "exec")


def test_the_image_is_built_from_the_lock_files_and_runs_as_nobody() -> None:
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    root = DEPLOY.parents[1]
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    steps = [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]
    (install,) = [rest for verb, rest in steps if verb == "RUN" and "pip install" in rest]
    assert "--require-hashes -r requirements.lock -r postgres.lock" in install
    assert [rest for verb, rest in steps if verb == "USER"] == ["10001:10001"]
    assert steps[-2:] == [("ENTRYPOINT", '["python", "-m", "pipelines.cli"]'), ("CMD", '["--help"]')]
    for rest in (rest for verb, rest in steps if verb == "COPY" and "--from" not in rest):
        assert all((root / part).exists() for part in rest.split()[:-1]), rest
    script = install.partition(" > postgres.lock")[0]
    done = subprocess.run(script, shell=True, cwd=root, capture_output=True, text=True, check=True)
    pins = re.findall(r"^([a-z-]+)==", done.stdout, re.MULTILINE)
    assert pins == ["psycopg", "psycopg-binary"]
    assert done.stdout.count("--hash=sha256:") > len(pins)


def test_the_hooks_of_the_docs_are_hooks(tmp_path: Path) -> None:
    from pipelines.receiving.hooks import hooks_of

    settings = Settings(warehouse=tmp_path / "warehouse", hook_secrets={})
    shutil.copy(DEPLOY / "hooks.yaml", settings.hooks_file)
    settings.hooks_file.chmod(0o600)
    assert len(hooks_of(settings)) == 8
