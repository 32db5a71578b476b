"""Metrics of emissions and of what becomes of goods. Declarations only."""

from dataclasses import replace

from sqlalchemy import and_, func, literal_column, or_, true

from pipelines.metrics.declare import FactTable, Measure, Metric, Sum, always, both, measure
from pipelines.metrics.facts import (
    LEGS,
    LOT_AVOIDED,
    LOT_CARBON,
    LOT_LEGS,
    LOTS,
    RECOVERIES,
    leg_carbon,
    legs,
    lot_avoided,
    lot_carbon,
    lots,
    recoveries,
)
from pipelines.metrics.facts.conditions import money, returned, sold, units
from pipelines.metrics.finish import shares
from pipelines.metrics.finish.doubt import CELL, doubted
from pipelines.metrics.question import Text
from pipelines.metrics.sums import together
from pipelines.warehouse.engine import Expression, double
from pipelines.warehouse.rules import Sql, Time
from pipelines.why import why

KG = measure("kg", Sum(LEGS, lambda _: leg_carbon.c.kg_co2e), Sum(LOT_CARBON, lambda _: lot_carbon.c.kg_co2e))
_BY_RETURN = replace(
    LEGS, dimensions={n: d for n, d in LEGS.dimensions.items() if n != "carrier"}
)  # a leg's is not the return's
KG_OF_RETURNS = measure(
    "kg", Sum(_BY_RETURN, lambda _: leg_carbon.c.kg_co2e), Sum(LOT_CARBON, lambda _: lot_carbon.c.kg_co2e)
)
PRIMARY = measure(
    "primary",
    Sum(LEGS, lambda _: leg_carbon.c.kg_co2e * func.coalesce(leg_carbon.c.primary_share, 0.0)),
    Sum(LOT_CARBON, lambda _: lot_carbon.c.kg_co2e_primary),
)
REPORTED = measure(
    "reported",
    Sum(LEGS, lambda _: leg_carbon.c.kg_co2e, lambda _: leg_carbon.c.status == literal_column("'measured'")),
    Sum(LOT_CARBON, lambda _: lot_carbon.c.kg_co2e_measured),
)


def _by_cell(name: str, amount: Sql, when: Sql | None = None, base: FactTable = LEGS) -> Measure:
    """Sum a figure of legs, of a return's where legs do not know a dimension; each sum tells cells of doubt apart."""
    return measure(name, Sum(base, amount, when), Sum(LOT_LEGS, lambda now: lot_carbon.c.share * amount(now), when))


def _coverage(base: FactTable) -> tuple[Measure, Measure]:
    """Count the legs, and those whose emissions are not or not wholly known.

    Lots of parcels, where legs do not know a dimension.
    """
    return (
        measure("legs", Sum(base, always), Sum(LOT_CARBON, always)),
        measure(
            "unknown",
            Sum(base, always, lambda _: leg_carbon.c.kg_co2e.is_(None)),
            Sum(LOT_CARBON, always, lambda _: lot_carbon.c.is_whole.is_not(true())),
        ),
    )


KG_LEGS = measure("kg", Sum(LEGS, lambda _: leg_carbon.c.kg_co2e))
COVERAGE_LEGS = (
    measure("legs", Sum(LEGS, always)),
    measure("unknown", Sum(LEGS, always, lambda _: leg_carbon.c.kg_co2e.is_(None))),
)
COVERAGE, COVERAGE_OF_RETURNS = _coverage(LEGS), _coverage(_BY_RETURN)


def _decided(now: Time) -> Expression:
    return and_(now.happened(lots.c.inspected_at), lots.c.outcome.is_not(None))


def _outcome(name: str) -> Sql:
    return lambda _: lots.c.outcome == literal_column(f"'{name}'")


def _is(activity: str) -> Sql:
    return lambda _: leg_carbon.c.activity == literal_column(f"'{activity}'")


def _on_the_way(_: Time) -> Expression:
    return leg_carbon.c.activity.in_([literal_column(f"'{a}'") for a in ("transport", "hub", "packaging")])


KG_CELLS = _by_cell("kg", lambda _: leg_carbon.c.kg_co2e)
KG_CELLS_OF_RETURNS = _by_cell("kg", lambda _: leg_carbon.c.kg_co2e, base=_BY_RETURN)
PRIMARY_CELLS = _by_cell("primary", lambda _: leg_carbon.c.kg_co2e * func.coalesce(leg_carbon.c.primary_share, 0.0))
REPORTED_CELLS = _by_cell(
    "reported", lambda _: leg_carbon.c.kg_co2e, lambda _: leg_carbon.c.status == literal_column("'measured'")
)
TONNE_KM_CELLS = _by_cell(
    "kg", lambda _: func.coalesce(leg_carbon.c.kg_co2e_tonne_km, leg_carbon.c.kg_co2e), _on_the_way
)
together((KG_CELLS, *COVERAGE), (KG_CELLS,), (PRIMARY_CELLS, KG_CELLS), (REPORTED_CELLS, KG_CELLS), (TONNE_KM_CELLS,))
PARCELS = measure("parcels", Sum(LEGS, lambda _: legs.c.parcel_key, distinct=True))
AVOIDED = tuple(
    measure(name, Sum(LOT_AVOIDED, lambda _, c=column: lot_avoided.c[c]))  # type: ignore[misc]
    for name, column in (
        ("avoided", "kg_co2e_avoided_central"),
        ("least", "kg_co2e_avoided_low"),
        ("most", "kg_co2e_avoided_high"),
    )
)


def _made_of(now: Time) -> Expression:
    return double(lots.c.units) * double(lots.c.weight_kg)


def _fates(key: str, name: Text, what: Text, unit: str, amount: Sql, *needs: str) -> Metric:
    """Declare the shares of inspected goods by disposition, counted one way."""
    return Metric(
        key,
        name,
        Text(
            f"Share of the {what.en} of inspected goods by disposition.",
            f"Part {what.fr} des articles contrôlés selon leur devenir.",
        ),
        f"{unit} of the disposition",
        f"{unit} of all dispositions",
        "disposition / inspected",
        "share",
        "return",
        "none",
        ("return", "stage_inspected", "disposition", *needs),
        (measure("fate", Sum(LOTS, amount, _decided)),),
        shares.share_of_whole(
            "fate", ("disposition", "outcome"), why("nothing_inspected"), interval=key == "fate_share"
        ),
        family="circularity",
        whole=("disposition", "outcome"),
    )


def _fate(key: str, outcome: str, name: Text, sentence: Text, good: str) -> Metric:
    return Metric(
        key,
        name,
        sentence,
        f"inspected units {outcome.replace('_', ' ')}",
        "inspected units with a disposition",
        f"{outcome.replace('_', ' ')} / inspected",
        "share",
        "return",
        good,
        ("return", "stage_inspected", "disposition"),
        (
            measure("fate", Sum(LOTS, units(), both(_decided, _outcome(outcome)))),
            measure("inspected", Sum(LOTS, units(), _decided)),
        ),
        shares.ratio_of("fate", "inspected", interval=True, nothing=why("nothing_inspected")),
        family="circularity",
    )


METRICS = (
    Metric(
        "kg_co2e",
        Text("Emissions of returns", "Émissions des retours"),
        Text(
            "Greenhouse gas emissions of the return transport of the returns requested in this period, energy"
            " supply included.",
            "Émissions de gaz à effet de serre du trajet des retours demandés sur la période, amont "
            "énergétique compris.",
        ),
        "kg CO2e of the legs",
        "",
        "sum of leg emissions",
        "kg CO2e",
        "return",
        "down",
        ("return", "leg"),
        (KG, *COVERAGE),
        shares.covered(doubted(shares.total, KG_CELLS)),
        family="carbon",
        details=CELL,
        is_systematic=True,
    ),
    Metric(
        "kg_co2e_per_100_sold",
        Text("Emissions per 100 units sold", "Émissions pour 100 unités vendues"),
        Text(
            "Emissions of the returns of these sales, per 100 units sold.",
            "Émissions des retours de ces ventes, pour 100 unités vendues.",
        ),
        "kg CO2e of the legs",
        "units sold",
        "100 x kg / sold",
        "kg CO2e per 100 units",
        "order",
        "down",
        ("order", "return", "leg"),
        (KG, measure("sold", sold()), *COVERAGE),
        shares.covered(doubted(shares.ratio_of("kg", "sold", per=100.0, nothing=why("nothing_sold")), KG_CELLS)),
        family="carbon",
        details=CELL,
        is_systematic=True,
    ),
    Metric(
        "kg_co2e_per_return",
        Text("Emissions per unit returned", "Émissions par unité retournée"),
        Text(
            "Emissions per unit returned; lower when one parcel contains more units.",
            "Émissions par unité retournée ; baisse quand un colis en contient davantage.",
        ),
        "kg CO2e of the legs",
        "units returned",
        "kg / units",
        "kg CO2e per unit",
        "return",
        "down",
        ("return", "leg"),
        (KG_OF_RETURNS, measure("confirmed", returned(basis="return")), *COVERAGE_OF_RETURNS),
        shares.covered(doubted(shares.ratio_of("kg", "confirmed", nothing=why("nothing_back")), KG_CELLS_OF_RETURNS)),
        family="carbon",
        details=CELL,
        is_systematic=True,
    ),
    Metric(
        "primary_data_share",
        Text("Share from primary data", "Part de données primaires"),
        Text(
            "Share of the emissions from metered energy or the operator's own figure, and not from average factors.",
            "Part des émissions issue d'énergie mesurée ou d'un chiffre de l'opérateur, et non de facteurs moyens.",
        ),
        "kg CO2e from metered energy and given figures",
        "kg CO2e",
        "primary / all",
        "share",
        "return",
        "up",
        ("return", "leg"),
        (PRIMARY, KG, *COVERAGE),
        shares.covered(
            doubted(
                shares.ratio_of("primary", "kg", counted=False, nothing=why("no_emissions")), PRIMARY_CELLS, KG_CELLS
            )
        ),
        family="carbon",
        is_systematic=True,
    ),
    Metric(
        "reported_inputs_share",
        Text("Share from reported inputs", "Part de données d'activité déclarées"),
        Text(
            "Share of the emissions whose distance, weight or energy was reported, and not assumed; the factor may be"
            " an average.",
            "Part des émissions dont la distance, le poids ou l'énergie est déclaré, et non supposé ; le facteur peut"
            " être une moyenne.",
        ),
        "kg CO2e from reported inputs",
        "kg CO2e",
        "reported / all",
        "share",
        "return",
        "up",
        ("return", "leg"),
        (REPORTED, KG, *COVERAGE),
        shares.covered(
            doubted(
                shares.ratio_of("reported", "kg", counted=False, nothing=why("no_emissions")), REPORTED_CELLS, KG_CELLS
            )
        ),
        family="carbon",
        is_systematic=True,
    ),
    Metric(
        "kg_co2e_per_parcel",
        Text("Emissions per parcel, all-inclusive", "Émissions par colis, tout compris"),
        Text(
            "All emissions of a return parcel: trip, packaging, transport by stop or parcel, sites, "
            "treatment; typical: 0.5 to 1.7 kg.",
            "Toutes les émissions d'un colis de retour : trajet, emballage, transport par arrêt ou colis, "
            "sites, traitement ; valeurs courantes : 0,5 à 1,7 kg.",
        ),
        "kg CO2e of the legs",
        "parcels",
        "kg / parcels",
        "kg CO2e per parcel",
        "return",
        "down",
        ("return", "leg"),
        (KG_LEGS, PARCELS, *COVERAGE_LEGS),
        shares.covered(doubted(shares.ratio_of("kg", "parcels", nothing=why("no_parcel")), KG_CELLS)),
        family="carbon",
        is_systematic=True,
    ),
    Metric(
        "transport_kg_co2e_per_parcel",
        Text(
            "Transport and packaging per parcel, by tonne-kilometre",
            "Transport et emballage par colis, à la tonne-kilomètre",
        ),
        Text(
            "Transport, sites and packaging of a return parcel, every leg by tonne-kilometre; typical: 0.05 "
            "to 0.5 kg. It underestimates stops for light parcels.",
            "Transport, sites et emballage d'un colis de retour, chaque trajet à la tonne-kilomètre ; valeurs"
            " courantes : 0,05 à 0,5 kg. Sous-estime les arrêts pour les colis légers.",
        ),
        "kg CO2e by tonne-kilometres",
        "parcels",
        "kg / parcels",
        "kg CO2e per parcel",
        "return",
        "down",
        ("return", "leg"),
        (
            measure(
                "kg",
                Sum(LEGS, lambda _: func.coalesce(leg_carbon.c.kg_co2e_tonne_km, leg_carbon.c.kg_co2e), _on_the_way),
            ),
            PARCELS,
            *COVERAGE_LEGS,
        ),
        shares.covered(doubted(shares.ratio_of("kg", "parcels", nothing=why("no_parcel")), TONNE_KM_CELLS)),
        family="carbon",
        is_systematic=True,
    ),
    Metric(
        "avoided_kg_co2e",
        Text("Emissions avoided by reuse", "Émissions évitées par le réemploi"),
        Text(
            "Production emissions of the new goods replaced by goods sold second-hand or donated, for a low "
            "to a high displacement rate; never subtracted from emissions.",
            "Émissions de fabrication des articles neufs remplacés par les articles revendus d'occasion ou "
            "donnés, d'un taux de déplacement bas à haut ; jamais déduites des émissions.",
        ),
        "kg CO2e of displaced goods",
        "",
        "displacement x footprint of new goods",
        "kg CO2e",
        "return",
        "up",
        ("return", "disposition"),
        AVOIDED,
        shares.ranged("avoided", "least", "most"),
        family="avoided",
        is_systematic=True,
    ),
    Metric(
        "destroyed_making_kg_co2e",
        Text("Production emissions of destroyed goods", "Émissions de fabrication des articles détruits"),
        Text(
            "Production emissions of the goods that were destroyed; already counted at purchase.",
            "Émissions de fabrication des articles détruits ; déjà comptées à l'achat.",
        ),
        "kg CO2e of destroyed goods",
        "",
        "sum of footprints",
        "kg CO2e",
        "return",
        "down",
        ("return", "disposition"),
        (measure("kg", Sum(LOT_AVOIDED, lambda _: lot_avoided.c.kg_co2e_new, _outcome("destroyed"))),),
        shares.total,
        family="avoided",
    ),
    Metric(
        "packaging_kg",
        Text("Packaging used", "Emballages utilisés"),
        Text(
            "Mass of the packaging bought for returns; waste after one use.",
            "Masse des emballages achetés pour les retours ; déchet après un usage.",
        ),
        "kg of packaging",
        "",
        "sum of masses",
        "kg",
        "return",
        "down",
        ("return", "leg"),
        (measure("kg", Sum(LEGS, lambda _: leg_carbon.c.mass_kg, _is("packaging"))),),
        shares.total,
        family="circularity",
    ),
    _fates(
        "fate_share", Text("Dispositions by units", "Devenir en unités"), Text("units", "des unités"), "units", units()
    ),
    _fates(
        "fate_weight_share",
        Text("Dispositions by weight", "Devenir en poids"),
        Text("weight", "du poids"),
        "kg",
        _made_of,
    ),
    _fates(
        "fate_value_share",
        Text("Dispositions by value", "Devenir en valeur"),
        Text("purchase value", "de la valeur d'achat"),
        "purchase value",
        money(lots, "cost_amount"),
        "unit_cost",
    ),
    Metric(
        "destroyed_without_evidence",
        Text("Destroyed without reason or evidence", "Détruit sans motif ni preuve"),
        Text(
            "Units destroyed without a derogation reason or a reference to evidence (Regulation (EU) 2024/1781).",
            "Unités détruites sans motif de dérogation ou sans référence de preuve (règlement (UE) 2024/1781).",
        ),
        "units destroyed without both",
        "",
        "sum of units",
        "units",
        "return",
        "down",
        ("return", "recovery"),
        (
            measure(
                "units",
                Sum(
                    RECOVERIES,
                    lambda _: recoveries.c.units,
                    lambda _: and_(
                        recoveries.c.disposition == literal_column("'destroyed'"),
                        or_(recoveries.c.derogation_reason.is_(None), recoveries.c.evidence_ref.is_(None)),
                    ),
                ),
            ),
        ),
        shares.total,
        family="circularity",
    ),
    _fate(
        "resold_as_new_share",
        "resold_as_new",
        Text("Resold as new", "Revendu comme neuf"),
        Text(
            "Share of the inspected units that are resold as new.",
            "Part des unités contrôlées revendues comme neuves.",
        ),
        "up",
    ),
    _fate(
        "refurbished_share",
        "refurbished",
        Text("Refurbished or second choice", "Reconditionné ou second choix"),
        Text(
            "Share of the inspected units that are repaired, refurbished or sold at a lower grade.",
            "Part des unités contrôlées réparées, reconditionnées ou vendues en second choix.",
        ),
        "none",
    ),
    _fate(
        "donated_share",
        "donated",
        Text("Donated", "Donné"),
        Text("Share of the inspected units that are donated.", "Part des unités contrôlées données."),
        "none",
    ),
    _fate(
        "recycled_share",
        "recycled",
        Text("Recycled", "Recyclé"),
        Text("Share of the inspected units that are recycled.", "Part des unités contrôlées recyclées."),
        "down",
    ),
    _fate(
        "destroyed_share",
        "destroyed",
        Text("Destroyed", "Détruit"),
        Text("Share of the inspected units that are destroyed.", "Part des unités contrôlées détruites."),
        "down",
    ),
    Metric(
        "pending_inspection_units",
        Text("Received, undecided", "Reçues, devenir non décidé"),
        Text(
            "Units received that wait for inspection or a decision.",
            "Unités reçues en attente de contrôle ou de décision.",
        ),
        "units received and undecided",
        "",
        "sum of units",
        "units",
        "return",
        "down",
        ("return", "stage_received"),
        (
            measure(
                "pending",
                Sum(
                    LOTS,
                    units(),
                    both(
                        lambda now: now.happened(lots.c.received_at),
                        lambda now: or_(now.open(lots.c.inspected_at), lots.c.outcome.is_(None)),
                    ),
                ),
            ),
        ),
        family="circularity",
    ),
)
