"""The components of a returned lot's cost: freight, handling, loss of value, and so on, each with its status.

Here: the rows of estimate_return_cost from a lot's basis (lot_basis.py). Not here: the arithmetic (models/cost.py).
"""

from typing import Any, NamedTuple

from sqlalchemy import Double, Select, and_, case, cast, false, func, literal, null, or_, select, true

from models import carbon, cost
from pipelines.estimate.sql import Columns, euro_rate, status_of, word
from pipelines.factors import parameter, parameters
from pipelines.warehouse.engine import Expression
from pipelines.warehouse.vocabulary import HANDLING


def components(lot: Any, rates: dict[str, float]) -> list[Select[Any]]:
    """Give the SELECTs of components.

    Columns: lot, component, amount, status and how it was found; rows of nothing are left out. Then rows without an
    amount: money that has no exchange rate is missing, and no assumption takes its place.
    """
    return [*_amounts(lot, rates), *_unrated_amounts(lot, has_euro="EUR" in rates)]


class _Estimate(NamedTuple):
    """An amount, its status and how it was found."""

    amount: Expression
    status: str | Expression
    method: str | Expression


def _rows(lot: Any, component: str, estimate: _Estimate, *where: Expression) -> Select[Any]:
    """Give the rows of a component, one a lot that costs something."""
    given = select(
        lot.c.return_lot_key,
        literal(component).label("component"),
        estimate.amount.label("amount"),
        word(estimate.status).label("status"),
        word(estimate.method).label("method"),
    ).where(lot.c.is_costed, *where)
    inner = given.subquery(component)
    return select(*inner.c).where(func.round(inner.c.amount, 4) != 0)


def _unrated(lot: Any, component: str, status: str, *where: Expression) -> Select[Any]:
    """Give the rows of a component without an amount, for money that has no exchange rate."""
    of_money = select(
        lot.c.return_lot_key, literal(component), cast(null(), Double), word(status), literal("no exchange rate")
    )
    return of_money.where(lot.c.is_costed, *where)


def _has_come(c: Columns) -> Expression:
    """Say whether a lot is back at a site."""
    return or_(c.received_at.is_not(None), c.inspected_at.is_not(None), c.restocked_at.is_not(None))


def _has_site(c: Columns) -> Expression:
    """Say whether the site that handled a lot has rates of its own."""
    return or_(*(c[f"rate_{n}"].is_not(None) for n in HANDLING))


def _is_discarded(c: Columns) -> Expression:
    """Say whether a lot was recycled or destroyed."""
    return c.disposition.in_(("recycled", "destroyed"))


def _is_lost(c: Columns) -> Expression:
    """Say whether a lot was lost on the way."""
    return c.lost_at.is_not(None) & c.received_at.is_(None)


def _parcel_share(lot: Any, amount: Expression) -> Expression:
    """Give a lot's share of an amount of its parcel."""
    share: Expression = carbon.allocate(amount, lot.c.weight, lot.c.total_weight)
    return share


def _handling(c: Columns, euro: Expression) -> _Estimate:
    """Give the cost of receiving, checking, repacking and treating a lot: its site's own rates, else usual ones."""
    has_site = _has_site(c)

    def at_site(*names: str, usual: str) -> Expression:
        """Add up the site's own rates where it has any, else give the usual rate."""
        own = sum((func.coalesce(c[f"rate_{n}"], 0.0) for n in names[1:]), func.coalesce(c[f"rate_{names[0]}"], 0.0))
        return case((has_site, own), else_=parameter(usual) * euro)

    checked = or_(c.inspected_at.is_not(None), c.restocked_at.is_not(None))
    repacked = checked & c.disposition.in_(("as_new", "b_stock", "marked_down"))
    mended = c.disposition.in_(("repaired", "refurbished"))
    amount = cost.handling_cost(
        c.units,
        case((_has_come(c), at_site("receipt", usual="handling_receipt")), else_=0.0),
        case((checked, at_site("inspection", "grading", usual="handling_inspection")), else_=0.0)
        + case((and_(has_site, mended), func.coalesce(c.rate_reconditioning, 0.0)), else_=0.0),
        case((repacked, at_site("repacking", "putaway", usual="handling_repacking")), else_=0.0),
        case((_is_discarded(c), 0.0), else_=func.coalesce(c.treatment_cost, 0.0)),
    )
    return _Estimate(
        amount,
        case((has_site, "imputed"), else_="assumed"),
        case((has_site, "rates of the site"), else_="usual rates"),
    )


def _value_loss(c: Columns) -> _Estimate:
    """Give the value that a lot lost: all of it on the way, else net of what it sells for or is usually recovered."""
    is_lost, known = _is_lost(c), c.recovered.is_not(None)
    as_new = c.disposition == "as_new"
    priced = (c.price_then > 0) & c.price_now.is_not(None)
    dispositions = [
        name for parameter_name, name in parameters() if parameter_name == "recovery" and name != "return_to_supplier"
    ]
    usual_share = case(*((c.disposition == name, parameter("recovery", name)) for name in dispositions))
    loss = case(
        (is_lost, c.cost),
        (as_new & known, func.greatest(cost.value_loss(c.net, c.recovered), 0.0)),
        (as_new & priced, func.greatest(cost.markdown(c.net, c.price_then, c.price_now), 0.0)),
        (as_new, 0.0),
        (known, cost.value_loss(c.cost, c.recovered)),
        (
            c.disposition == "return_to_supplier",
            cost.value_loss(c.cost, c.cost * parameter("recovery", "return_to_supplier")),
        ),
        (c.disposition.is_(None), c.cost * parameter("expected_loss")),
        else_=cost.value_loss(c.cost, c.net * usual_share),
    )
    status = case(
        (is_lost, "imputed"),
        (known, "measured"),
        (as_new, "imputed"),
        (c.disposition == "destroyed", "imputed"),
        else_="assumed",
    )
    method = case(
        (is_lost, "lost on the way"),
        (known, "recovered value"),
        (as_new, "selling price of the style"),
        (c.disposition.is_(None), "treatment not decided"),
        else_="usual recovery",
    )
    return _Estimate(loss, status, method)


def _disposal(c: Columns, euro: Expression) -> _Estimate:
    """Give the cost of recycling or destroying a lot: as reported, else the usual one a unit."""
    is_known = c.treatment_cost.is_not(None)
    return _Estimate(
        func.coalesce(c.treatment_cost, c.units * (parameter("disposal", "") * euro)),
        case((is_known, "measured"), else_="assumed"),
        case((is_known, "treatment cost"), else_="usual rate"),
    )


def _amounts(lot: Any, rates: dict[str, float]) -> list[Select[Any]]:
    """Give the SELECTs of the amounts that are known or assumed."""
    c, euro = lot.c, euro_rate(rates)
    commission = _Estimate(c.commission * parameter("commission_kept"), "imputed", "commission kept by the marketplace")
    payment_fee = _Estimate(c.payment_fee * parameter("payment_fee_lost"), "imputed", "fee kept by the processor")
    freight = _Estimate(_parcel_share(lot, c.freight), status_of(c.freight_rank), "legs of the parcel")
    claim = _Estimate(-_parcel_share(lot, c.claim), "measured", "paid by the carrier")
    return [
        _rows(lot, "outbound_shipping", _Estimate(c.outbound, "measured", "order line")),
        _rows(lot, "commission", commission, c.return_type != "exchange"),
        _rows(lot, "payment_fee", payment_fee, c.return_type != "exchange"),
        _rows(lot, "return_freight", freight),
        _rows(lot, "duties", _Estimate(_parcel_share(lot, c.duty), "measured", "carrier invoice")),
        _rows(lot, "handling", _handling(c, euro), ~c.unrated_site),
        _rows(lot, "carrier_claim", claim),
        _rows(lot, "value_loss", _value_loss(c), or_(_is_lost(c), ~c.unrated_recovery)),
        _rows(lot, "disposal", _disposal(c, euro), _is_discarded(c), ~c.unrated_treatment),
        _rows(lot, "fee_charged", _Estimate(-c.fee, "imputed", "return policy")),
    ]


def _unrated_amounts(lot: Any, *, has_euro: bool) -> list[Select[Any]]:
    """Give the SELECTs of the amounts that have no exchange rate; usual rates are in euros and need the euro's."""
    c, euro = lot.c, true() if has_euro else false()
    discarded, is_sold = _is_discarded(c), c.return_type != "exchange"
    unpriced_work = and_(_has_come(c), ~_has_site(c), ~euro)
    unpriced_disposal = and_(~c.treatment_cost.is_not(None), ~euro)
    return [
        _unrated(lot, "outbound_shipping", "measured", c.unrated_outbound_cost),
        _unrated(lot, "commission", "imputed", c.unrated_commission_amount, is_sold),
        _unrated(lot, "payment_fee", "imputed", c.unrated_payment_fee, is_sold),
        _unrated(lot, "return_freight", "measured", c.unrated_legs),
        _unrated(lot, "duties", "measured", c.unrated_duty),
        _unrated(
            lot,
            "handling",
            "imputed",
            or_(c.unrated_site, and_(c.unrated_treatment, ~discarded), unpriced_work),
        ),
        _unrated(lot, "carrier_claim", "measured", c.unrated_claim),
        _unrated(lot, "value_loss", "measured", or_(and_(c.unrated_recovery, ~_is_lost(c)), c.unrated_goods)),
        _unrated(lot, "disposal", "measured", discarded, or_(c.unrated_treatment, unpriced_disposal)),
        _unrated(lot, "fee_charged", "imputed", c.unrated_fee),
    ]
