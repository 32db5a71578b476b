"""Cost of each returned lot, component by component."""

from typing import Any

from sqlalchemy import (
    Date,
    Double,
    Integer,
    Select,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.sql.expression import TableClause

from models import carbon, cost
from pipelines.estimate.factor_list import list_factors
from pipelines.estimate.leg_cost import rated_sum
from pipelines.estimate.sql import (
    ASSUMED,
    IMPUTED,
    MEASURED,
    Connection,
    euro_rate,
    euro_rates,
    fill,
    is_live,
    keep,
    rate_of,
    status_of,
    t,
    wanted,
    word,
)
from pipelines.factors import ledger, parameter, parameters
from pipelines.settings import Settings
from pipelines.warehouse.engine import Expression, double
from pipelines.warehouse.vocabulary import HANDLING

PRICE_UNITS = 10  # units of a style sold in a month, at least, for its selling price to be read


def returns(connection: Connection, settings: Settings, where_lot: str) -> None:
    """Fill estimate_return_carbon and estimate_return_cost for some lots.

    Those matching `where_lot`, a predicate on fact_return_line.

    `where_lot` takes whole parcels. A lot that was cancelled, rejected or expired carries nothing of a parcel that
    others travelled in. Then list in factor_set what this build used; legs come first.
    """
    lot = wanted(connection, "fact_return_line", where_lot)
    few = lot if isinstance(lot, TableClause) else None
    price = keep(connection, "style_price", _style_price(few))
    rates = euro_rates(connection)
    basis = keep(connection, "lot_basis", _lot_basis(lot, price, rates, is_whole=few is None))
    fill(
        connection,
        "estimate_return_carbon",
        select(
            basis.c.return_lot_key,
            carbon.allocate(basis.c.kg_co2e, basis.c.weight, basis.c.total_weight).label("kg_co2e"),
            carbon.allocate(basis.c.kg_co2e_measured, basis.c.weight, basis.c.total_weight).label("kg_co2e_measured"),
            (basis.c.unknown_legs == 0).label("is_whole"),
        ).where(basis.c.unknown_legs.is_not(None)),
    )
    fill(connection, "estimate_return_cost", union_all(*_components(basis, rates)))
    connection.execute("DROP TABLE lot_basis; DROP TABLE style_price")
    list_factors(connection, ledger(settings))


def _lot_basis(lot: Any, price: Any, rates: dict[str, float], *, is_whole: bool) -> Select[Any]:
    """All that a lot's carbon and cost follow from, one row a lot; `is_whole` says that it is of every lot."""

    def of_lots(key: Any) -> Expression:
        return true() if is_whole else key.in_(select(lot.c[key.name]))

    order, policy = t["fact_order_line"], t["dim_policy"]
    leg, leg_carbon, leg_cost = t["fact_return_leg"], t["estimate_leg_carbon"], t["estimate_leg_cost"]
    mass = lot.c.weight_kg * double(lot.c.units)
    live = is_live(lot)
    parcel = (
        select(
            lot.c.parcel_key,
            func.sum(double(lot.c.units)).label("units"),
            func.sum(case((live, double(lot.c.units)))).label("live_units"),
            case((func.count(case((live, 1))) == func.count(case((live, mass))), func.sum(case((live, mass))))).label(
                "live_kg"
            ),
        )
        .where(lot.c.parcel_key.is_not(None))
        .group_by(lot.c.parcel_key)
        .subquery("parcel")
    )
    rank = case((leg_cost.c.status == "measured", MEASURED), (leg_cost.c.status == "imputed", IMPUTED), else_=ASSUMED)
    measured = case((leg_carbon.c.status == "measured", leg_carbon.c.kg_co2e), else_=0.0)
    parts = union_all(
        select(
            leg_carbon.c.leg_key,
            leg_carbon.c.kg_co2e,
            measured.label("kg_co2e_measured"),
            case((leg_carbon.c.kg_co2e.is_(None), 1), else_=0).label("unknown_legs"),
            double(null()).label("freight"),
            cast(null(), Integer).label("freight_rank"),
            literal(0).label("unrated_legs"),
        ),
        select(leg_cost.c.leg_key, null(), null(), null(), double(leg_cost.c.amount), rank, literal(0)).where(
            leg_cost.c.amount != 0
        ),
        select(leg_cost.c.leg_key, null(), null(), null(), null(), null(), literal(1)).where(
            leg_cost.c.amount.is_(None)
        ),
    ).subquery("parts")
    sums: Any = (
        func.sum(parts.c[n]).label(n)
        for n in ("kg_co2e", "kg_co2e_measured", "unknown_legs", "freight", "unrated_legs")
    )
    chain = (
        select(leg.c.parcel_key, *sums, func.max(parts.c.freight_rank).label("freight_rank"))
        .join(parts, parts.c.leg_key == leg.c.leg_key)
        .where(of_lots(leg.c.parcel_key))
        .group_by(leg.c.parcel_key)
        .subquery("chain")
    )
    line, filed = t["fact_carrier_invoice"], t["fact_carrier_claim"]
    duty = (
        select(line.c.parcel_key, rated_sum(line.c.amount, line.c.fx_rate).label("amount"))
        .where(line.c.kind == "duty", line.c.parcel_key.is_not(None))
        .group_by(line.c.parcel_key)
        .subquery("duty")
    )
    claim = (
        select(filed.c.parcel_key, rated_sum(filed.c.paid_amount, filed.c.fx_rate).label("amount"))
        .where(filed.c.paid_amount > 0)
        .group_by(filed.c.parcel_key)
        .subquery("claim")
    )
    hour = t["dim_handling_rate"]
    minute_cost = double(hour.c.minutes) * double(hour.c.hourly_cost) / 60 * rate_of(hour.c.currency, rates)
    handled_at = func.coalesce(lot.c.received_at, lot.c.inspected_at, lot.c.restocked_at)
    site = (
        select(
            lot.c.return_lot_key,
            (func.count() > func.count(rate_of(hour.c.currency, rates))).label("is_unrated"),
            *(func.sum(case((hour.c.activity == n, minute_cost))).label(n) for n in HANDLING),
        )
        .join(
            hour,
            and_(
                hour.c.place_id == lot.c.place_id,
                hour.c.valid_from <= handled_at,
                or_(hour.c.valid_to.is_(None), handled_at < hour.c.valid_to),
            ),
        )
        .group_by(lot.c.return_lot_key)
        .subquery("site")
    )
    recovery = t["fact_recovery"]
    recovered = (
        select(
            recovery.c.return_line_key,
            recovery.c.disposition,
            func.sum(double(recovery.c.units)).label("units"),
            rated_sum(recovery.c.amount, recovery.c.fx_rate).label("amount"),
            func.count(recovery.c.amount).label("amounts"),
            case(
                (func.count(recovery.c.treatment_cost) > 0, rated_sum(recovery.c.treatment_cost, recovery.c.fx_rate)),
                else_=0.0,
            ).label("treatment_cost"),
        )
        .where(recovery.c.units > 0, of_lots(recovery.c.return_line_key))
        .group_by(recovery.c.return_line_key, recovery.c.disposition)
        .subquery("recovered")
    )
    whole = t["fact_return_line"].alias("whole")
    pays_fee = whole.c.return_type.in_(("withdrawal", "commercial"))
    of_return = (
        select(whole.c.return_key, func.sum(double(whole.c.units)).label("units"))
        .where(pays_fee, is_live(whole), whole.c.confirmed_at.is_not(None), of_lots(whole.c.return_key))
        .group_by(whole.c.return_key)
        .subquery("of_return")
    )
    prices = [price.alias(name) for name in ("price_then", "price_now")]
    months = [
        func.date_trunc("month", day)
        for day in (lot.c.ordered_on, cast(func.coalesce(lot.c.restocked_at, lot.c.inspected_at), Date))
    ]
    weight = case(
        (parcel.c.live_kg > 0, case((live, mass), else_=0.0)),
        (parcel.c.live_units > 0, case((live, double(lot.c.units)), else_=0.0)),
        else_=double(lot.c.units),
    )
    total = case(
        (parcel.c.live_kg > 0, parcel.c.live_kg), (parcel.c.live_units > 0, parcel.c.live_units), else_=parcel.c.units
    )
    sold = double(order.c.units_sold + order.c.units_exchanged_in)
    units = double(lot.c.units)

    def of_line(amount: Any) -> Expression:
        return case((sold > 0, cost.share_of(double(amount), units, sold) * order.c.fx_rate))

    def of_recovery(amount: Any) -> Expression:
        return double(cost.share_of(amount, units, recovered.c.units))

    fee_rate = case((policy.c.currency == lot.c.currency, lot.c.fx_rate), else_=rate_of(policy.c.currency, rates))
    fee = case(
        (
            lot.c.return_type.in_(("withdrawal", "commercial")),
            cost.share_of(double(policy.c.fee_amount), units, of_return.c.units) * fee_rate,
        )
    )
    goods = func.coalesce(lot.c.net_amount, lot.c.cost_amount)
    unrated: dict[str, Any] = {  # money of the lot that has no exchange rate
        "goods": and_(lot.c.fx_rate.is_(None), goods.is_not(None)),
        **{
            n: and_(order.c.fx_rate.is_(None), order.c[n].is_not(None), sold > 0)
            for n in ("outbound_cost", "payment_fee", "commission_amount")
        },
        "legs": chain.c.unrated_legs > 0,
        "duty": and_(duty.c.parcel_key.is_not(None), duty.c.amount.is_(None)),
        "claim": and_(claim.c.parcel_key.is_not(None), claim.c.amount.is_(None)),
        "recovery": and_(recovered.c.amounts > 0, recovered.c.amount.is_(None)),
        "treatment": and_(recovered.c.disposition.is_not(None), recovered.c.treatment_cost.is_(None)),
        "site": site.c.is_unrated,
        "fee": and_(lot.c.return_type.in_(("withdrawal", "commercial")), policy.c.fee_amount > 0, fee_rate.is_(None)),
    }
    is_costed = and_(
        or_(lot.c.confirmed_at.is_not(None), lot.c.lost_at.is_not(None)), live, lot.c.return_type != "price_adjustment"
    )
    return (
        select(
            lot.c.return_lot_key,
            is_costed.label("is_costed"),
            lot.c.return_type,
            lot.c.disposition,
            units.label("units"),
            lot.c.received_at,
            lot.c.inspected_at,
            lot.c.restocked_at,
            lot.c.lost_at,
            (double(lot.c.net_amount) * lot.c.fx_rate).label("net"),
            (double(lot.c.cost_amount) * lot.c.fx_rate).label("cost"),
            of_line(order.c.outbound_cost).label("outbound"),
            of_line(order.c.payment_fee).label("payment_fee"),
            of_line(order.c.commission_amount).label("commission"),
            of_recovery(recovered.c.amount).label("recovered"),
            of_recovery(recovered.c.treatment_cost).label("treatment_cost"),
            prices[0].c.price.label("price_then"),
            prices[1].c.price.label("price_now"),
            fee.label("fee"),
            weight.label("weight"),
            total.label("total_weight"),
            chain.c.kg_co2e,
            chain.c.kg_co2e_measured,
            chain.c.unknown_legs,
            chain.c.freight,
            chain.c.freight_rank,
            duty.c.amount.label("duty"),
            claim.c.amount.label("claim"),
            *(site.c[n].label(f"rate_{n}") for n in HANDLING),
            *(func.coalesce(test, false()).label(f"unrated_{n}") for n, test in unrated.items()),
        )
        .select_from(lot)
        .outerjoin(parcel, parcel.c.parcel_key == lot.c.parcel_key)
        .outerjoin(chain, chain.c.parcel_key == lot.c.parcel_key)
        .outerjoin(duty, duty.c.parcel_key == lot.c.parcel_key)
        .outerjoin(claim, claim.c.parcel_key == lot.c.parcel_key)
        .outerjoin(site, site.c.return_lot_key == lot.c.return_lot_key)
        .outerjoin(order, order.c.order_line_key == lot.c.order_line_key)
        .outerjoin(
            recovered,
            and_(recovered.c.return_line_key == lot.c.return_line_key, recovered.c.disposition == lot.c.disposition),
        )
        .outerjoin(policy, policy.c.policy_key == lot.c.policy_key)
        .outerjoin(of_return, of_return.c.return_key == lot.c.return_key)
        .outerjoin(
            prices[0],
            and_(
                prices[0].c.style_id == lot.c.style_id,
                prices[0].c.source == lot.c.source,
                prices[0].c.month == months[0],
            ),
        )
        .outerjoin(
            prices[1],
            and_(
                prices[1].c.style_id == lot.c.style_id,
                prices[1].c.source == lot.c.source,
                prices[1].c.month == months[1],
            ),
        )
    )


def _style_price(few: Any) -> Select[Any]:
    """Mean selling price of a style in a month, in the reporting currency, where enough units were sold.

    Of a few lots' styles, or all.
    """
    order = t["fact_order_line"]
    sold = func.sum(double(order.c.units_sold))
    month = func.date_trunc("month", order.c.ordered_on)
    return (
        select(
            order.c.source,
            order.c.style_id,
            month.label("month"),
            (func.sum(double(order.c.net_amount) * order.c.fx_rate) / sold).label("price"),
        )
        .where(
            order.c.units_sold > 0,
            order.c.line_type == "goods",
            order.c.style_id.is_not(None),
            *([] if few is None else [order.c.style_id.in_(select(few.c.style_id))]),
        )
        .group_by(order.c.source, order.c.style_id, month)
        .having(sold >= PRICE_UNITS)
    )


def _components(lot: Any, rates: dict[str, float]) -> list[Select[Any]]:
    """Give the SELECTs of components.

    Columns: lot, component, amount, status and how it was found; rows of nothing are left out.
    """
    euro = euro_rate(rates)

    def usual(name: str, applies_to: str = "") -> Expression:
        return parameter(name, applies_to) * euro

    def rows(
        component: str, amount: Expression, status: str | Expression, method: str | Expression, *where: Expression
    ) -> Select[Any]:
        given = select(
            lot.c.return_lot_key,
            literal(component).label("component"),
            amount.label("amount"),
            word(status).label("status"),
            word(method).label("method"),
        ).where(lot.c.is_costed, *where)
        inner = given.subquery(component)
        return select(*inner.c).where(func.round(inner.c.amount, 4) != 0)

    def unrated(component: str, status: str | Expression, *where: Expression) -> Select[Any]:
        """Give a row without an amount.

        Money that has no exchange rate is missing, and no assumption takes its place.
        """
        of_money = select(
            lot.c.return_lot_key, literal(component), cast(null(), Double), word(status), literal("no exchange rate")
        )
        return of_money.where(lot.c.is_costed, *where)

    c = lot.c
    has_euro = true() if "EUR" in rates else false()
    came = or_(c.received_at.is_not(None), c.inspected_at.is_not(None), c.restocked_at.is_not(None))
    checked = or_(c.inspected_at.is_not(None), c.restocked_at.is_not(None))
    repacked = checked & c.disposition.in_(("as_new", "b_stock", "marked_down"))
    discarded = c.disposition.in_(("recycled", "destroyed"))
    treatment = case((discarded, 0.0), else_=func.coalesce(c.treatment_cost, 0.0))
    has_site = or_(*(c[f"rate_{n}"].is_not(None) for n in HANDLING))

    def at_site(*names: str, usual_rate: Expression) -> Expression:
        """Add up the site's own rates where it has any, else the usual rate."""
        own = sum((func.coalesce(c[f"rate_{n}"], 0.0) for n in names[1:]), func.coalesce(c[f"rate_{names[0]}"], 0.0))
        return case((has_site, own), else_=usual_rate)

    mended = c.disposition.in_(("repaired", "refurbished"))
    handling = cost.handling_cost(
        c.units,
        case((came, at_site("receipt", usual_rate=usual("handling_receipt"))), else_=0.0),
        case((checked, at_site("inspection", "grading", usual_rate=usual("handling_inspection"))), else_=0.0)
        + case((and_(has_site, mended), func.coalesce(c.rate_reconditioning, 0.0)), else_=0.0),
        case((repacked, at_site("repacking", "putaway", usual_rate=usual("handling_repacking"))), else_=0.0),
        treatment,
    )
    is_lost = c.lost_at.is_not(None) & c.received_at.is_(None)
    as_new = c.disposition == "as_new"
    priced = (c.price_then > 0) & c.price_now.is_not(None)
    known = c.recovered.is_not(None)
    supplied = c.disposition == "return_to_supplier"
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
        (supplied, cost.value_loss(c.cost, c.cost * parameter("recovery", "return_to_supplier"))),
        (c.disposition.is_(None), c.cost * parameter("expected_loss")),
        else_=cost.value_loss(c.cost, c.net * usual_share),
    )
    loss_status = case(
        (is_lost, "imputed"),
        (known, "measured"),
        (as_new, "imputed"),
        (c.disposition == "destroyed", "imputed"),
        else_="assumed",
    )
    loss_method = case(
        (is_lost, "lost on the way"),
        (known, "recovered value"),
        (as_new, "selling price of the style"),
        (c.disposition.is_(None), "treatment not decided"),
        else_="usual recovery",
    )
    disposal_known = c.treatment_cost.is_not(None)
    return [
        rows("outbound_shipping", c.outbound, "measured", "order line"),
        rows(
            "commission",
            c.commission * parameter("commission_kept"),
            "imputed",
            "commission kept by the marketplace",
            c.return_type != "exchange",
        ),
        rows(
            "payment_fee",
            c.payment_fee * parameter("payment_fee_lost"),
            "imputed",
            "fee kept by the processor",
            c.return_type != "exchange",
        ),
        rows(
            "return_freight",
            carbon.allocate(c.freight, c.weight, c.total_weight),
            status_of(c.freight_rank),
            "legs of the parcel",
        ),
        rows("duties", carbon.allocate(c.duty, c.weight, c.total_weight), "measured", "carrier invoice"),
        rows(
            "handling",
            handling,
            case((has_site, "imputed"), else_="assumed"),
            case((has_site, "rates of the site"), else_="usual rates"),
            ~c.unrated_site,
        ),
        rows("carrier_claim", -carbon.allocate(c.claim, c.weight, c.total_weight), "measured", "paid by the carrier"),
        rows("value_loss", loss, loss_status, loss_method, or_(is_lost, ~c.unrated_recovery)),
        rows(
            "disposal",
            func.coalesce(c.treatment_cost, c.units * usual("disposal")),
            case((disposal_known, "measured"), else_="assumed"),
            case((disposal_known, "treatment cost"), else_="usual rate"),
            discarded,
            ~c.unrated_treatment,
        ),
        rows("fee_charged", -c.fee, "imputed", "return policy"),
        unrated("outbound_shipping", "measured", c.unrated_outbound_cost),
        unrated("commission", "imputed", c.unrated_commission_amount, c.return_type != "exchange"),
        unrated("payment_fee", "imputed", c.unrated_payment_fee, c.return_type != "exchange"),
        unrated("return_freight", "measured", c.unrated_legs),
        unrated("duties", "measured", c.unrated_duty),
        unrated(
            "handling",
            "imputed",
            or_(c.unrated_site, and_(c.unrated_treatment, ~discarded), and_(came, ~has_site, ~has_euro)),
        ),
        unrated("carrier_claim", "measured", c.unrated_claim),
        unrated("value_loss", "measured", or_(and_(c.unrated_recovery, ~is_lost), c.unrated_goods)),
        unrated("disposal", "measured", discarded, or_(c.unrated_treatment, and_(~disposal_known, ~has_euro))),
        unrated("fee_charged", "imputed", c.unrated_fee),
    ]
