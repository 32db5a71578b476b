"""Alerts: rules on metrics, evaluated at the end of each load, told once.

A rule names a metric and a test: above or below a bound, worse (better) than the days before beyond noise, or, for
`promise_at(P)`, a published promise that can surely no longer be kept with P. It is evaluated over the latest days up
to the observation time, for the whole or for each value of a dimension. An alert lasts from the build that shows it to
the one that does not; who is to be told is told once, and again only when it had gone and came back. An address that
cannot be reached is tried again at the next evaluation, and never fails a load.

Noise: the days before are read as they were known at the same age, so that young days are compared with equally young
ones; the chance of a false "worse" is FALSE_ALARMS for a rule in one evaluation, shared out among its cells.
"""

import http.client
import ipaddress
import json
import smtplib
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from email.message import EmailMessage
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import numpy as np
import pandas as pd
from sqlalchemy import Connection, func, insert, select, update

from models import rates as rate_models
from pipelines import analyses, metrics
from pipelines.errors import AlertError, BackhaulError, UnknownMetric
from pipelines.metrics.bind import observed as observed_until
from pipelines.metrics.question import ALIASES, TAKEN, Question
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import current_build, writing
from pipelines.warehouse.engine import Build, looked_up
from pipelines.why import of_other, together, why

FALSE_ALARMS = 0.01
TIMEOUT = 10.0  # seconds for one address
SHIPPED = (
    {"metric": "refunds_due_soon", "test": "above", "bound": 0.0, "days": 0},
    {"metric": "legal_refund_kept", "test": "worse", "days": 28},
    {"metric": "promise_kept", "test": "worse", "by": ("promise_id",), "days": 28},
    {"metric": "days_to_refund(0.5)", "test": "worse", "days": 28},
    {"metric": "promise_at(0.9)", "test": "unkeepable", "where": {"promise_id": ("refund",)}, "days": 0},
)
"""Rules a warehouse begins with.

Refunds the law wants within days, and promises that are kept less often than before.
"""


@dataclass(frozen=True)
class Rule:
    """One rule.

    `by` are dimensions evaluated value by value, `where` filters, `days` the latest days (0: all), `to` addresses.
    """

    rule_id: int
    metric: str
    test: str
    bound: float | None = None
    by: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    days: int = 28
    to: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What one cell of a rule says.

    Whether it fires (None: cannot be known, `reason` says why), its numbers and what weakens them (`caution`).
    """

    rule: Rule
    cell: Mapping[str, str]
    fires: bool | None
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    previous: float = np.nan
    unit: str = ""
    since: date | None = None
    until: date | None = None
    reason: str = ""
    caution: str = ""

    def sentence(self) -> str:
        """Say it in English, as mails and the command line do; what the number does not rest on is said with it."""
        return f"{self._said()} (caution: {self.caution})" if self.caution else self._said()

    def _said(self) -> str:
        try:
            name = metrics.metric(self.rule.metric).name.en
        except UnknownMetric:  # a rule from before the metric was renamed
            name = self.rule.metric
        limits = [f"{k} {', '.join(v)}" for k, v in self.rule.where.items()] + [
            f"{k} {v or 'none'}" for k, v in self.cell.items()
        ]
        of = f" ({'; '.join(limits)})" if limits else ""
        span = f", {self.since} to {self.until}" if self.since else ""
        if self.fires is None:
            return f"{name}{of}{span}: not known: {self.reason}"
        between = (
            ""
            if np.isnan(self.low) or np.isnan(self.high)
            else f" ({quantity(self.low, self.unit)} to {quantity(self.high, self.unit)})"
        )
        said = f"{name}{of}{span}: {quantity(self.value, self.unit)}{between}"
        if self.rule.test in ("above", "below"):
            side = self.rule.test if self.fires else f"not {self.rule.test}"
            return f"{said}, {side} {quantity(self.rule.bound or 0.0, self.unit)}"
        if self.rule.test == "unkeepable":
            return (
                f"{said} kept; {self.previous:g} could be promised instead, in its unit"
                if self.fires
                else f"{said}: can be kept"
            )
        compared = f"{quantity(self.previous, self.unit)} in the {self.rule.days} days before"
        return (
            f"{said}, {self.rule.test} than {compared}"
            if self.fires
            else f"{said}; {compared}: not {self.rule.test} beyond noise"
        )


def quantity(value: float, unit: str) -> str:
    """Write a number with its unit.

    >>> quantity(0.8125, "share"), quantity(3, "count"), quantity(12.345, "days")
    ('81.2%', '3', '12.3 days')
    """
    if np.isnan(value):
        return "unknown"
    if unit == "share":
        return f"{value:.1%}"
    written = f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:,.1f}"
    return written if unit in ("count", "") else f"{written} {unit}"


def check_rule(build: Build, rule: Rule) -> None:
    """Raise for a rule that can never speak.

    An unknown metric, dimension or value, a test without its bound, a wrong address.
    """
    chosen = metrics.metric(rule.metric)
    if rule.test not in state.ALERT_TESTS:
        raise AlertError(f"{rule.test!r} is no test of an alert; one of {', '.join(state.ALERT_TESTS)}.")
    if rule.test in ("above", "below") and (rule.bound is None or not np.isfinite(rule.bound)):
        raise AlertError(f"An alert on {rule.metric} {rule.test} a bound needs the bound, in {chosen.unit}.")
    if rule.test == "unkeepable" and not (
        rule.metric.startswith("promise_at") and len(rule.where.get("promise_id", ())) == 1
    ):
        raise AlertError(
            "Unkeepable is said of promise_at, of one promise: give promise_at(0.9) and --where promise_id=refund."
        )
    if rule.test in ("worse", "better"):
        if chosen.good == "none":
            raise AlertError(f"{rule.metric} has no better or worse: give --above or --below a bound.")
        if rule.days < 1:
            raise AlertError("Worse than before needs days to compare: give --days of 1 or more.")
    metrics.read_filters(build, rule.metric, rule.where)
    known = metrics.dimensions(rule.metric, build)
    unknown = [d for d in rule.by if ALIASES.get(d, d) not in known]
    if unknown:
        raise AlertError(f"{rule.metric} cannot be cut by {', '.join(unknown)}. It can be cut by: {', '.join(known)}.")
    for address in rule.to:
        check_address(address)


def check_address(address: str) -> None:
    """Raise AlertError for an address that is neither mailto: nor https:, nor http: on this machine."""
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets that hold no address
        parts = urlsplit("")
    is_mail = parts.scheme == "mailto" and "@" in parts.path
    is_hook = bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts)))
    if not is_mail and not is_hook:
        raise AlertError(
            f"{address[:100]!r} is no address to tell: write mailto:name@example.org or https://host/path."
        )


def _is_here(parts: SplitResult) -> bool:
    """Say whether an address names this machine itself."""
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def rules(settings: Settings, *, with_withdrawn: bool = False) -> list[Rule]:
    """List the rules; a warehouse that never had one begins with SHIPPED, unsent."""
    state_file = state.State(settings.warehouse)
    try:
        return _rules(state_file, with_withdrawn=with_withdrawn)
    finally:
        state_file.close()


def _rules(state_file: state.State, *, with_withdrawn: bool = False) -> list[Rule]:
    t = state_tables.alert_rule
    rows = state_file.rows(select(t).order_by(t.c.rule_id))
    if not rows:
        return [Rule(number, **shipped) for number, shipped in enumerate(SHIPPED, 1)]  # type: ignore[arg-type]
    return [
        Rule(
            r["rule_id"],
            r["metric"],
            r["test"],
            r["bound"],
            tuple(json.loads(r["by"])),
            {k: tuple(v) for k, v in json.loads(r["where"]).items()},
            r["days"],
            tuple(json.loads(r["to"])),
        )
        for r in rows
        if with_withdrawn or r["withdrawn_at"] is None
    ]


def _insert(connection: Connection, rule: Rule) -> int:
    row = {
        **asdict(rule),
        **{n: json.dumps(getattr(rule, n)) for n in ("by", "where", "to")},
        "created_at": state.now(),
    }
    del row["rule_id"]
    done = connection.execute(
        insert(state_tables.alert_rule).values(**row).returning(state_tables.alert_rule.c.rule_id)
    )
    return int(done.scalar_one())


def _keep_shipped(state_file: state.State) -> None:
    """Write the rules that ship down, where there was never one: before the first write about rules."""
    with state_file.transaction() as connection:
        if connection.execute(select(func.count()).select_from(state_tables.alert_rule)).scalar_one() == 0:
            for shipped in SHIPPED:
                _insert(connection, Rule(0, **shipped))  # type: ignore[arg-type]


def add_rule(settings: Settings, build: Build, rule: Rule) -> Rule:
    """Check a rule against a build and keep it; gives it with its number.

    That of an equal one, where it is there already. Raises AlertError and what metrics raise.
    """
    check_rule(build, rule)
    with writing(settings.warehouse, settings.short_wait_s):
        state_file = state.State(settings.warehouse)
        try:
            _keep_shipped(state_file)
            for known in _rules(state_file):
                if replace(known, rule_id=0) == replace(rule, rule_id=0):
                    return known
            with state_file.transaction() as connection:
                return replace(rule, rule_id=_insert(connection, rule))
        finally:
            state_file.close()


def withdraw_rule(settings: Settings, rule_id: int) -> None:
    """Stop evaluating a rule; it and its alerts stay on record, those that last are over.

    Raises AlertError for none of that number.
    """
    with writing(settings.warehouse, settings.short_wait_s):
        state_file = state.State(settings.warehouse)
        try:
            if rule_id not in {r.rule_id for r in _rules(state_file)}:
                raise AlertError(f"There is no rule {rule_id}. `backhaul alert list` shows them.")
            _keep_shipped(state_file)
            t, a = state_tables.alert_rule, state_tables.alert
            with state_file.transaction() as connection:
                connection.execute(update(t).where(t.c.rule_id == rule_id).values(withdrawn_at=state.now()))
                lasting = update(a).where(a.c.rule_id == rule_id, a.c.cleared_at.is_(None))
                connection.execute(lasting.values(cleared_at=state.now()))
        finally:
            state_file.close()


def evaluate(build: Build, rule: Rule) -> list[Verdict]:
    """Say what a rule says of a build: one verdict a cell, the whole without `by`.

    A metric that is greyed, or has no interval where noise must be told, gives a verdict that is not known.
    """
    observed = max(observed_until(build).values(), default=None)
    if observed is None:
        return [Verdict(rule, {}, None, reason="the build holds no event")]
    until = observed.date()
    since = until - timedelta(rule.days - 1) if rule.days else None
    asked = Question(where=rule.where)
    if rule.test == "unkeepable":
        (promise_id,), at = rule.where["promise_id"], metrics.metric(rule.metric).parameter or 0.95
        where = {k: v for k, v in rule.where.items() if k != "promise_id"}
        found_ = analyses.offers(build, promise_id, at, Question(where=where), by_lane=bool(rule.by))
        return [
            Verdict(
                rule,
                dict(o.lane),
                None if o.reason and not np.isfinite(o.kept) else o.is_unkeepable,
                o.kept,
                o.kept_low,
                o.kept_high,
                o.possible,
                "share",
                reason="" if o.caution else o.reason,
                caution=o.reason if o.caution else "",
            )
            for o in found_
        ]
    if rule.test in ("above", "below"):
        found = metrics.answer(build, rule.metric, asked.but(since=since, until=until if since else None), by=rule.by)
        beyond = found["value"] > rule.bound if rule.test == "above" else found["value"] < rule.bound
        return [
            _verdict(rule, row, bool(b), since, until) for row, b in zip(found.to_dict("records"), beyond, strict=True)
        ]
    assert since is not None
    before = observed - timedelta(rule.days)
    first = metrics.answer(build, rule.metric, asked.but(since=since, until=until), by=rule.by)
    level = 1 - FALSE_ALARMS / max(len(first), 1)
    now = metrics.answer(build, rule.metric, asked.but(since=since, until=until, level=level), by=rule.by)
    earlier = asked.but(since=since - timedelta(rule.days), until=since - timedelta(1), as_of=before, level=level)
    then = metrics.answer(build, rule.metric, earlier, by=rule.by)
    names = [ALIASES[b] if b in TAKEN else b for b in rule.by]
    both = (
        now.merge(then, on=names, how="left", suffixes=("", "_then")) if names else now.join(then.add_suffix("_then"))
    )
    if metrics.metric(rule.metric).is_systematic:
        both[["low", "high", "low_then", "high_then"]] = np.nan
    ends = (both[c].to_numpy(float) for c in ("value", "low", "high", "value_then", "low_then", "high_then"))
    gap, low, high, is_noise = rate_models.difference(*ends)
    sign = 1 if (metrics.metric(rule.metric).good == "up") == (rule.test == "better") else -1
    verdicts = []
    for at, row in enumerate(both.to_dict("records")):
        row = {str(k): v for k, v in row.items()}
        if row["status"] == "ok" and not np.isfinite(low[at] + high[at]):
            row |= {"status": "greyed", "reason": of_other("of_days_before", row["reason_then"]) or why("no_interval")}
        verdicts.append(_verdict(rule, row, bool(sign * gap[at] > 0 and not is_noise[at]), since, until))
    return verdicts


def _verdict(rule: Rule, row: Mapping[Any, Any], fires: bool, since: date | None, until: date) -> Verdict:
    cell = {b: "" if pd.isna(row[b]) else str(row[b]) for b in rule.by}
    is_known = row["status"] == "ok"
    return Verdict(
        rule,
        cell,
        fires if is_known else None,
        row["value"],
        row["low"],
        row["high"],
        row.get("value_then", np.nan),
        row["unit"],
        since,
        until if since else None,
        "" if is_known else str(row["reason"]),
        _caution(row) if is_known else "",
    )


def _caution(row: Mapping[Any, Any]) -> str:
    """Say what weakens a number, and the number it is compared with."""
    own = str(row["reason"]) if row["caution"] else ""
    then = str(row["reason_then"]) if row.get("caution_then") and row["reason_then"] != own else ""
    return together(own, of_other("of_days_before", then))


def _verdicts(build: Build, rule: Rule) -> list[Verdict]:
    """Evaluate a rule; one that cannot be asked any more says so instead of stopping a load."""
    try:
        return evaluate(build, rule)
    except BackhaulError as error:
        return [Verdict(rule, {}, None, reason=str(error))]


def check(settings: Settings) -> list[Verdict]:
    """Evaluate every rule on the current build and write nothing: the dry run."""
    with current_build(settings.warehouse) as build:
        return [v for rule in rules(settings) for v in _verdicts(build, rule)]


def record(settings: Settings) -> list[Verdict]:
    """Evaluate every rule on the current build and keep what fires; gives the alerts that are new.

    The caller holds the warehouse for writing. What cannot be known leaves a lasting alert as it is.
    """
    state_file = state.State(settings.warehouse)
    a = state_tables.alert
    fresh: list[Verdict] = []
    try:
        _keep_shipped(state_file)
        with current_build(settings.warehouse) as build:
            at = max(observed_until(build).values(), default=state.now())
            build_id = str(build.info["build_id"])
            verdicts = [v for rule in _rules(state_file) for v in _verdicts(build, rule)]
        lasting = {
            (r["rule_id"], r["cell"]): r["alert_id"] for r in state_file.rows(select(a).where(a.c.cleared_at.is_(None)))
        }
        with state_file.transaction() as connection:
            for v in verdicts:
                cell = json.dumps(dict(v.cell), sort_keys=True)
                known = lasting.pop((v.rule.rule_id, cell), None)
                numbers = {"value": v.value, "low": v.low, "high": v.high, "previous": v.previous}
                seen: dict[str, Any] = {n: float(x) if np.isfinite(x) else None for n, x in numbers.items()}
                seen |= {
                    "seen_at": at,
                    "seen_build": build_id,
                    "unit": v.unit,
                    "since": v.since,
                    "until": v.until,
                    "caution": v.caution,
                }
                if v.fires and known is None:
                    row = {
                        "rule_id": v.rule.rule_id,
                        "cell": cell,
                        "since_at": at,
                        "since_build": build_id,
                        "told": "[]",
                    }
                    connection.execute(insert(a).values(**row, **seen))
                    fresh.append(v)
                elif v.fires:
                    connection.execute(update(a).where(a.c.alert_id == known).values(**seen))
                elif known is not None and v.fires is False:
                    connection.execute(update(a).where(a.c.alert_id == known).values(cleared_at=at))
            for gone in lasting.values():  # its cell is in no row any more
                connection.execute(update(a).where(a.c.alert_id == gone).values(cleared_at=at))
    finally:
        state_file.close()
    return fresh


def alerts(settings: Settings, *, lasting: bool = True) -> pd.DataFrame:
    """List alerts, newest first: those that last, or all.

    `rule` is the Rule, `cell` a mapping; the rest as the table has it.
    """
    names = [c.name for c in state_tables.alert.columns]
    if not (settings.warehouse / "state.sqlite").exists():
        return pd.DataFrame(columns=[*names, "rule"])
    state_file = state.State(settings.warehouse)
    try:
        a = state_tables.alert
        chosen = select(a).order_by(a.c.since_at.desc(), a.c.alert_id)
        found = state_file.read(chosen.where(a.c.cleared_at.is_(None)) if lasting else chosen)
        by_id = {r.rule_id: r for r in _rules(state_file, with_withdrawn=True)}
    finally:
        state_file.close()
    return found.assign(cell=found["cell"].map(json.loads), rule=looked_up(found["rule_id"], by_id))


def verdict_of(row: Mapping[Any, Any]) -> Verdict:
    """Give the verdict that an alert was, from a row of `alerts`."""
    numbers = {n: np.nan if pd.isna(row[n]) else float(row[n]) for n in ("value", "low", "high", "previous")}
    days = {n: None if pd.isna(row[n]) else pd.Timestamp(row[n]).date() for n in ("since", "until")}
    caution = "" if pd.isna(row["caution"]) else str(row["caution"])
    return Verdict(row["rule"], row["cell"], True, unit=str(row["unit"]), caution=caution, **numbers, **days)  # type: ignore[arg-type]


def tell(settings: Settings) -> list[str]:
    """Notify every address of its alerts that did not go out, one message an address.

    Gives a sentence for each that could not be told.
    """
    found = alerts(settings)
    waiting: dict[str, list[dict[str, Any]]] = {}
    for row in ({str(k): v for k, v in r.items()} for r in found.to_dict("records")):
        for address in row["rule"].to:
            if address not in json.loads(row["told"]):
                waiting.setdefault(address, []).append(row)
    failures = []
    for address, rows in waiting.items():
        try:
            send(settings, address, [verdict_of(row) for row in rows])
        except (OSError, smtplib.SMTPException, AlertError, ValueError) as error:
            failures.append(
                f"{_shown(address)} could not be told of {len(rows)} alerts: {error}. It is tried again after the next"
                " load."
            )
            continue
        state_file = state.State(settings.warehouse)
        try:
            with writing(settings.warehouse, settings.short_wait_s), state_file.transaction() as connection:
                for row in rows:
                    row["told"] = json.dumps(sorted({*json.loads(row["told"]), address}))
                    mine = update(state_tables.alert).where(state_tables.alert.c.alert_id == row["alert_id"])
                    connection.execute(mine.values(told=row["told"]))
        finally:
            state_file.close()
    return failures


def _shown(address: str) -> str:
    """Show an address without what may be secret in it."""
    parts = urlsplit(address)
    return address if parts.scheme == "mailto" else f"{parts.scheme}://{parts.hostname}"


def message(verdicts: Sequence[Verdict]) -> tuple[str, str]:
    """Write subject and text of a message about alerts."""
    first = verdicts[0].sentence()
    subject = f"Backhaul: {first}" if len(verdicts) == 1 else f"Backhaul: {len(verdicts)} alerts"
    return subject.replace("\n", " "), "\n".join(f"- {v.sentence()}" for v in verdicts) + "\n"


def send(settings: Settings, address: str, verdicts: Sequence[Verdict]) -> None:
    """Send one message: by SMTP to mailto:, as JSON (`text`, and `alerts` with their numbers) by POST to a web address.

    Raises OSError or SMTPException when it does not arrive, AlertError when no mail server is set.
    """
    check_address(address)
    subject, text = message(verdicts)
    parts = urlsplit(address)
    if parts.scheme == "mailto":
        _mail(settings, parts.path, subject, text)
        return
    body = {"text": f"{subject}\n{text}", "alerts": [payload(v) for v in verdicts]}
    _post(parts, json.dumps(body).encode())


def _post(parts: SplitResult, body: bytes) -> None:
    """Send JSON to a web address, and to no other: a redirect is an answer, a name of a private network is refused.

    The address that was looked at is the one that is called, so that a name cannot change its meaning in between.
    """
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not _is_here(parts) and not all(ipaddress.ip_address(ip).is_global for ip in found):
        raise OSError("it is an address of a private network")
    connection = (
        http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    )
    connection._create_connection = lambda _address, *given: socket.create_connection((found[0], port), *given)  # type: ignore[attr-defined]
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", "User-Agent": "backhaul"})
        status = connection.getresponse().status
    except http.client.HTTPException as error:
        raise OSError("it gave no answer of the web") from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise OSError(f"it answered {status}")


def payload(verdict: Verdict) -> dict[str, Any]:
    """Give an alert as JSON carries it."""
    numbers = {n: getattr(verdict, n) for n in ("value", "low", "high", "previous")}
    rule = verdict.rule
    return {
        "sentence": verdict.sentence(),
        "metric": rule.metric,
        "test": rule.test,
        "bound": rule.bound,
        "where": {k: list(v) for k, v in rule.where.items()},
        "cell": dict(verdict.cell),
        **{n: float(x) if np.isfinite(x) else None for n, x in numbers.items()},
        "unit": verdict.unit,
        "caution": verdict.caution,
        "since": str(verdict.since) if verdict.since else None,
        "until": str(verdict.until) if verdict.until else None,
    }


def _mail(settings: Settings, to: str, subject: str, text: str) -> None:
    server = urlsplit(settings.smtp)
    if server.scheme not in ("smtp", "smtps") or not server.hostname:
        raise AlertError(
            "no mail server is set: give BACKHAUL_SMTP, for example smtp://user:password@mail.example.org:587"
        )
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = settings.mail_from or f"backhaul@{server.hostname}", to, subject
    mail.set_content(text)
    where = (server.hostname, server.port or (465 if server.scheme == "smtps" else 587))
    context = ssl.create_default_context()
    is_wrapped = server.scheme == "smtps"
    with (
        smtplib.SMTP_SSL(*where, timeout=TIMEOUT, context=context)
        if is_wrapped
        else smtplib.SMTP(*where, timeout=TIMEOUT)
    ) as smtp:
        smtp.ehlo()
        if not is_wrapped and smtp.has_extn("starttls"):
            smtp.starttls(context=context)
            smtp.ehlo()
        elif not is_wrapped and server.username:
            raise AlertError(f"{server.hostname} offers no encryption, so the password is not sent: give smtps://")
        if server.username:
            smtp.login(unquote(server.username), unquote(server.password or ""))
        smtp.send_message(mail)
