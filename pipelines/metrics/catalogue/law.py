"""Metrics of what the law adds. Declarations only."""

from pipelines.metrics.declare import Metric, Sum, measure
from pipelines.metrics.facts.of_law import LATE, added, added_by_assumed_rate, is_late
from pipelines.metrics.finish import law
from pipelines.metrics.question import Text

ADDED = Sum(LATE, added, is_late)
METRICS = (
    Metric(
        "late_refund_surcharge",
        Text("Owed by law for late refunds", "Dû par la loi pour remboursements tardifs"),
        Text(
            "Surcharge set by law on withdrawals not refunded in time and still open (France, L242-4), on the price "
            "with VAT, without delivery.",
            "Majoration légale des rétractations non remboursées à temps et encore ouvertes (France, L242-4), sur le "
            "prix TTC, hors livraison.",
        ),
        "price with VAT x share added by law",
        "",
        "sum of (price with VAT x share of its step)",
        "money",
        "return",
        "down",
        ("return", "price", "vat", "stage_requested|stage_received", "stage_refunded", "late_law", "fx"),
        (measure("surcharge", ADDED), measure("assumed", Sum(LATE, added_by_assumed_rate, is_late))),
        law.surcharge,
        parts={"numerator": ("surcharge",)},
        family="promises",
    ),
)
