"""Metrics of emissions and of what becomes of goods. Declarations only."""

from dataclasses import replace

from sqlalchemy import and_, literal_column, or_, true

from pipelines.metrics import finish
from pipelines.metrics.base import Base, Measure, Metric, Sql, Sum, Text, Time, always, both, measure
from pipelines.metrics.bases import LEGS, LOT_CARBON, LOTS, leg_carbon, lot_carbon, lots, returned, sold, units
from pipelines.warehouse.engine import Expression

KG = measure("kg", Sum(LEGS, lambda _: leg_carbon.c.kg_co2e), Sum(LOT_CARBON, lambda _: lot_carbon.c.kg_co2e))
_BY_RETURN = replace(
    LEGS, dimensions={n: d for n, d in LEGS.dimensions.items() if n != "carrier"}
)  # a leg's is not the return's
KG_OF_RETURNS = measure(
    "kg", Sum(_BY_RETURN, lambda _: leg_carbon.c.kg_co2e), Sum(LOT_CARBON, lambda _: lot_carbon.c.kg_co2e)
)
PRIMARY = measure(
    "primary",
    Sum(LEGS, lambda _: leg_carbon.c.kg_co2e, lambda _: leg_carbon.c.status == literal_column("'measured'")),
    Sum(LOT_CARBON, lambda _: lot_carbon.c.kg_co2e_measured),
)


def _coverage(base: Base) -> tuple[Measure, Measure]:
    """Count the legs (or lots of parcels, where legs do not know a dimension), and those whose emissions are not or not wholly known."""
    return (
        measure("legs", Sum(base, always), Sum(LOT_CARBON, always)),
        measure(
            "unknown",
            Sum(base, always, lambda _: leg_carbon.c.kg_co2e.is_(None)),
            Sum(LOT_CARBON, always, lambda _: lot_carbon.c.is_whole.is_not(true())),
        ),
    )


COVERAGE, COVERAGE_OF_RETURNS = _coverage(LEGS), _coverage(_BY_RETURN)


def _decided(now: Time) -> Expression:
    return and_(now.happened(lots.c.inspected_at), lots.c.outcome.is_not(None))


def _outcome(name: str) -> Sql:
    return lambda _: lots.c.outcome == literal_column(f"'{name}'")


def _fate(key: str, outcome: str, name: Text, sentence: Text, good: str) -> Metric:
    return Metric(
        key, name, sentence, f"inspected units {outcome.replace('_', ' ')}", "inspected units whose fate is decided", f"{outcome} / inspected", "share", "return", good,
        ("return", "stage_inspected", "disposition"),
        (measure("fate", Sum(LOTS, units(), both(_decided, _outcome(outcome)))), measure("inspected", Sum(LOTS, units(), _decided))),
        finish.ratio_of("fate", "inspected", interval=True, nothing="nothing inspected in this selection"), family="circularity",
    )  # fmt: skip


METRICS = (
    Metric(
        "kg_co2e", Text("Emissions of returns", "Émissions des retours"),
        Text("Greenhouse gases of the way back of the returns asked for on these days, energy supply included.", "Gaz à effet de serre du trajet retour des retours demandés ces jours-là, amont énergétique compris."),
        "kg CO2e of the legs", "", "sum of leg emissions", "kg CO2e", "return", "down", ("return", "leg"), (KG, *COVERAGE), finish.covered(finish.total), family="carbon",
    ),
    Metric(
        "kg_co2e_per_100_sold", Text("Emissions per 100 units sold", "Émissions pour 100 unités vendues"),
        Text("Emissions of the returns of these sales, per 100 units sold.", "Émissions des retours de ces ventes, pour 100 unités vendues."),
        "kg CO2e of the legs", "units sold", "100 x kg / sold", "kg CO2e per 100 units", "order", "down", ("order", "return", "leg"),
        (KG, measure("sold", sold()), *COVERAGE), finish.covered(finish.ratio_of("kg", "sold", per=100.0, nothing="nothing sold in this selection")), family="carbon",
    ),
    Metric(
        "kg_co2e_per_return", Text("Emissions per unit returned", "Émissions par unité retournée"),
        Text("Emissions per unit that came back; it falls when people send more back in one parcel.", "Émissions par unité revenue ; baisse quand un colis en contient davantage."),
        "kg CO2e of the legs", "units that came back", "kg / units", "kg CO2e per unit", "return", "down", ("return", "leg"),
        (KG_OF_RETURNS, measure("confirmed", returned(basis="return")), *COVERAGE_OF_RETURNS), finish.covered(finish.ratio_of("kg", "confirmed", nothing="nothing came back in this selection")), family="carbon",
    ),
    Metric(
        "primary_data_share", Text("Share from measured data", "Part issue de mesures"),
        Text("Share of the emissions that rests on measured distance and weight, not on defaults.", "Part des émissions qui repose sur des distances et poids mesurés, et non sur des valeurs par défaut."),
        "kg CO2e from measured inputs", "kg CO2e", "measured / all", "share", "return", "up", ("return", "leg"), (PRIMARY, KG, *COVERAGE),
        finish.covered(finish.ratio_of("primary", "kg", counted=False, nothing="no emissions in this selection")), family="carbon",
    ),
    _fate("resold_as_new_share", "resold_as_new", Text("Resold as new", "Revendu comme neuf"),
        Text("Share of the inspected units that go back on sale as new.", "Part des unités contrôlées remises en vente comme neuves."), "up"),
    _fate("refurbished_share", "refurbished", Text("Refurbished or second choice", "Reconditionné ou second choix"),
        Text("Share of the inspected units that are repaired, refurbished or sold at a lower grade.", "Part des unités contrôlées réparées, reconditionnées ou vendues en second choix."), "none"),
    _fate("donated_share", "donated", Text("Donated", "Donné"),
        Text("Share of the inspected units that are given away.", "Part des unités contrôlées données."), "none"),
    _fate("recycled_share", "recycled", Text("Recycled", "Recyclé"),
        Text("Share of the inspected units that are recycled.", "Part des unités contrôlées recyclées."), "down"),
    _fate("destroyed_share", "destroyed", Text("Destroyed", "Détruit"),
        Text("Share of the inspected units that are destroyed.", "Part des unités contrôlées détruites."), "down"),
    Metric(
        "pending_inspection_units", Text("Received, fate not decided", "Reçues, sort non décidé"),
        Text("Units received that wait for inspection or a decision.", "Unités reçues en attente de contrôle ou de décision."),
        "units received and undecided", "", "sum of units", "units", "return", "down", ("return", "stage_received"),
        (measure("pending", Sum(LOTS, units(), both(lambda now: now.happened(lots.c.received_at), lambda now: or_(now.open(lots.c.inspected_at), lots.c.outcome.is_(None))))),), family="circularity",
    ),
)  # fmt: skip
