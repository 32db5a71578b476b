"""Metrics: every number a person sees, declared once.

`answer` asks one, `compare` asks it twice, `rows` shows what is behind its numerator or denominator, `statistics` is
its SQL; lists, rankings and flows are in `pipelines.analyses`. Declarations are in `catalogue`: returns,
promises, money and carbon; how a declaration becomes SQL is in base, how statistics become answers in finish.
"""

from pipelines.metrics.answer import answer, comparable, compare, read_ahead
from pipelines.metrics.bind import is_known, statistics
from pipelines.metrics.catalogue import catalogue, dimensions, measure_names, metric, our_names, own_dimensions
from pipelines.metrics.cautions import doubt_of, doubted
from pipelines.metrics.coverage import coverage, lacking
from pipelines.metrics.declare import PARTS, Metric
from pipelines.metrics.filters import dimension_values, read_filters, values_of
from pipelines.metrics.question import ANYTHING, EVERYTHING, Question, Scope, Text
from pipelines.metrics.rows import rows, rows_total

__all__ = [
    "ANYTHING",
    "EVERYTHING",
    "PARTS",
    "Metric",
    "Question",
    "Scope",
    "Text",
    "answer",
    "catalogue",
    "comparable",
    "compare",
    "coverage",
    "dimension_values",
    "dimensions",
    "doubt_of",
    "doubted",
    "is_known",
    "lacking",
    "measure_names",
    "metric",
    "our_names",
    "own_dimensions",
    "read_ahead",
    "read_filters",
    "rows",
    "rows_total",
    "statistics",
    "values_of",
]
