"""Metrics of promises and stage times. Declarations only."""

from sqlalchemy import and_, literal_column

from pipelines.metrics import finish
from pipelines.metrics.base import Measure, Metric, Only, Sum, Text, Time, always, measure
from pipelines.metrics.bases import PROMISES, RISKS, STAGE_PAIRS, promises, risks, stage_base
from pipelines.warehouse.engine import Expression


def _legal(_: Time) -> Expression:
    return promises.c.promise_id == literal_column("'legal_refund'")


def _due_soon(now: Time) -> Expression:
    due = promises.c.due_at
    running = [now.open(promises.c[c]) for c in ("ended_at", "stopped_at")]
    return and_(_legal(now), due > now.at, due <= now.after(5), now.happened(promises.c.handed_over_at), *running)


RETURNS = measure("returns", Sum(PROMISES, always))
LEGAL = measure("returns", Sum(PROMISES, always, _legal))
STAGES = stage_base("stages", STAGE_PAIRS)


def _waits(name: str, start: str, end: str) -> Measure:
    return measure("waits", Sum(stage_base(name, {name.replace("_", "-"): (start, end)}), always))


def _started(now: Time) -> Expression:
    return now.happened(promises.c.started_at)


def _in(*states: str) -> Only:
    return lambda base, _, now: base.details["state"](now).in_([literal_column(f"'{s}'") for s in states])


_KEPT = {"numerator": _in("kept"), "denominator": _in("kept", "broken")}


def _state(key: str, state: str, name: Text, sentence: Text, good: str) -> Metric:
    return Metric(
        key, name, sentence, f"returns x promises {state}", "", f"count of state {state}", "count", "return", good, ("return", "policy"), (RETURNS,), finish.in_state(state),
        None, ("state",), family="promises", only={"numerator": _in(state)},
    )  # fmt: skip


def _wait(key: str, name: Text, sentence: Text, start: str, end: str) -> Metric:
    return Metric(
        key, name, sentence, "days waited by those that complete", "", "Aalen-Johansen quantile, conditional on completing", "days", "return", "down",
        ("return", f"stage_{start}", f"stage_{end}"), (_waits(key, f"{start}_at", f"{end}_at"),), finish.wait_quantile, 0.9, ("cause", "hours"), family="promises",
    )  # fmt: skip


METRICS = (
    Metric(
        "promise_kept", Text("Promise kept", "Promesse tenue"),
        Text("Share of the promises already due that were kept; one row a return and promise.", "Part des promesses déjà échues qui ont été tenues ; une par retour et promesse."),
        "promises kept", "promises due", "kept / (kept + broken)", "share", "return", "up", ("return", "policy"), (RETURNS,), finish.kept, None, ("state",), family="promises", only=_KEPT,
    ),
    _state("promise_broken", "broken", Text("Promises broken", "Promesses non tenues"),
        Text("Promises past their time, still open and lost ones included.", "Promesses dépassées, y compris encore ouvertes ou perdues."), "down"),
    _state("promise_undetermined", "undetermined", Text("Running, on time", "En cours, dans les temps"),
        Text("Promises that are not due yet.", "Promesses pas encore échues."), "none"),
    _state("promise_expired", "expired", Text("Never handed over", "Jamais remis"),
        Text("Promises whose customer never handed the parcel over.", "Promesses dont le client n'a jamais remis le colis."), "none"),
    Metric(
        "legal_refund_kept", Text("Legal refund date kept", "Délai légal de remboursement tenu"),
        Text("Share of the withdrawals already due that were refunded within the 14 days of Directive 2011/83/EU.", "Part des rétractations échues remboursées dans les 14 jours de la directive 2011/83/UE."),
        "withdrawals refunded in time", "withdrawals due", "kept / (kept + broken) of legal_refund", "share", "return", "up", ("return", "stage_requested", "stage_refunded"), (LEGAL,), finish.kept, None, ("state",), family="promises", only=_KEPT,
    ),
    Metric(
        "refunds_due_soon", Text("Refunds due within 5 days", "Remboursements dus sous 5 jours"),
        Text("Open withdrawals whose legal refund date falls within five days.", "Rétractations ouvertes dont la date légale de remboursement tombe sous cinq jours."),
        "open legal refunds due within 5 days", "", "count", "count", "return", "down", ("return", "stage_requested", "stage_refunded"), (measure("due", Sum(PROMISES, always, _due_soon)),), family="promises",
    ),
    Metric(
        "stage_days", Text("Days per stage, p{percent}", "Jours par étape, p{percent}"),
        Text("Days within which this share of the returns that complete a stage have done so.", "Jours dans lesquels cette part des retours qui terminent l'étape l'ont terminée."),
        "days waited by those that complete", "", "Aalen-Johansen quantile, conditional on completing", "days", "return", "down", ("return", "stage_received|stage_refunded"),
        (measure("waits", Sum(STAGES, always)),), finish.wait_quantile, 0.9, ("cause", "hours"), required=("stage",), family="promises",
    ),
    _wait("days_to_refund", Text("Days to refund, p{percent}", "Jours jusqu'au remboursement, p{percent}"),
        Text("Days from the request within which this share of customers have their money.", "Jours depuis la demande dans lesquels cette part des clients a son argent."), "requested", "refunded"),
    _wait("days_to_refund_from_receipt", Text("Days from receipt to refund, p{percent}", "Jours de la réception au remboursement, p{percent}"),
        Text("Days from receipt within which this share of customers have their money.", "Jours depuis la réception dans lesquels cette part des clients a son argent."), "received", "refunded"),
    _wait("days_to_restock", Text("Days to restock, p{percent}", "Jours jusqu'à la remise en stock, p{percent}"),
        Text("Days from the request within which this share of the restocked units are back on sale.", "Jours depuis la demande dans lesquels cette part des unités remises en stock est de nouveau en vente."), "requested", "restocked"),
    _wait("days_to_restock_from_receipt", Text("Days from receipt to restock, p{percent}", "Jours de la réception à la remise en stock, p{percent}"),
        Text("Days from receipt within which this share of the restocked units are back on sale.", "Jours depuis la réception dans lesquels cette part des unités remises en stock est de nouveau en vente."), "received", "restocked"),
    Metric(
        "promise_at", Text("Promise you could make ({percent}%)", "Promesse possible ({percent} %)"),
        Text("Shortest duration that would be kept this often, from the promise's own start; a lost parcel breaks any.", "Durée la plus courte qui serait tenue aussi souvent, depuis le départ de la promesse ; un colis perdu la rompt toujours."),
        "days from start to end of the promise", "", "Aalen-Johansen quantile, losses counting as broken", "days", "return", "down", ("return", "policy"),
        (measure("waits", Sum(PROMISES, always, _started)),), finish.promise_that_holds, 0.95, ("cause", "hours"), required=("promise_id",), family="promises",
    ),
    Metric(
        "breach_risk", Text("Risk of breaking", "Risque de rupture"),
        Text("Mean probability that an open, not yet due promise will be broken.", "Probabilité moyenne qu'une promesse ouverte et pas encore échue soit rompue."),
        "sum of probabilities", "open promises", "mean probability", "share", "return", "down", ("return", "policy"),
        (measure("expected", Sum(RISKS, lambda _: risks.c.probability)), measure("open", Sum(RISKS, always))), finish.ratio_of("expected", "open", nothing="no open promise in this selection"), family="promises",
    ),
)  # fmt: skip
