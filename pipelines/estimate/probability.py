"""The probability that a line comes back: when its model is fitted, judged and replaced, and the lines it scores.

Here: the hand-over between the counts of a build (probability_counts), the models (models/model_training.py) and the
tables. One model a source. Lines are scored in batches of columns, so that memory does not grow with the shop.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import scipy  # loads its parts when they are first asked for
from numpy.typing import NDArray

from models.model_judgement import FEWEST_LINES, MOST_LEVEL_SD, MOST_WHOLE, Leak
from models.return_features import COUNTS, FEWEST_KNOWN, LEVEL, features_of, matrix_of
from models.return_probability import Lines, ReturnProbability
from pipelines.estimate.probability_counts import LABEL_LAG_DAYS, counts, forget
from pipelines.estimate.probability_leaks import rewritten
from pipelines.estimate.probability_state import keep
from pipelines.settings import Settings
from pipelines.warehouse.rules import OBSERVED_SQL
from pipelines.warehouse.sql import quote
from pipelines.why import why

REFIT_DAYS = 28
_SAMPLE = 150_000
_BATCH = 16_384  # lines read and scored at once: their columns stay near the processor
_WRITTEN = 1_000_000  # lines written at once: the database moves smaller parts twice
_FEWEST_RETURNS = 500
_CUTS = ("country", "category", "customer")
_Array = NDArray[np.float64]

if TYPE_CHECKING:
    from models.model_training import Judgement, Training


@dataclass(frozen=True)
class Version:
    """One model as a build keeps it; `why_not` says why it is not used, and is empty where it is."""

    model_id: str
    source: str
    fitted_at: datetime
    is_used: bool
    why_not: str
    model: ReturnProbability
    parameters: dict[str, Any]


def probability(connection: duckdb.DuckDBPyConnection, settings: Settings, where_line: str) -> None:
    """Insert estimate_return_probability for sold lines matching `where_line` (a predicate on order_line_key).

    One model a source, refitted when none was fitted within 28 days of observed time, else the one in use scores. A
    source without customers or with too few returns has none. A model that does not predict later lines better than
    past rates do, or expects something else than came, is recorded as not used, with the reason, and writes no rows;
    one that expects no better than the one in use is recorded and does not take its place. Lines ordered before enough
    was known have none either.
    """
    del settings
    sources = connection.execute(f"SELECT source, observed_until FROM ({OBSERVED_SQL}) t ORDER BY source").fetchall()
    for source, observed_until in sources:
        known, returned, wanted = connection.execute(
            f"SELECT count(customer_key), (SELECT count(confirmed_at) FROM fact_return_line WHERE source ="
            f" {quote(source)}), count(*) FILTER ({where_line}) FROM fact_order_line WHERE source = {quote(source)} AND"
            " units_sold > 0"
        ).fetchall()[0]
        if not known or observed_until is None or returned < _FEWEST_RETURNS:
            continue
        current, is_fresh = current_version(connection, source), _is_fresh(connection, source, observed_until)
        if is_fresh and (current is None or not wanted):
            continue
        counted = where_line if is_fresh else "TRUE"
        counts(connection, source, observed_until, counted)
        if not is_fresh:
            fitted = _fit(connection, source, observed_until, current)
            if fitted is not None and current is not None and fitted.model_id != current.model_id:
                _clear(connection, source)
                where_line = "TRUE"
            current = fitted or current
        if current is not None and current.is_used:
            score(connection, current, where_line)
            keep(connection, source, observed_until, has_all=counted == "TRUE")
        forget(connection)


def _clear(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    """Take away the rows of a source's earlier model: all of its lines are scored anew."""
    connection.execute(
        f"DELETE FROM estimate_return_probability WHERE order_line_key IN (SELECT order_line_key FROM fact_order_line"
        f" WHERE source = {quote(source)})"
    )


def versions(connection: duckdb.DuckDBPyConnection, source: str) -> list[Version]:
    """Give the models of a source, the newest first."""
    rows = connection.execute(f"""
        SELECT model_id, fitted_at, is_used, parameters FROM model_version
        WHERE model = 'return_probability' AND json_extract_string(parameters, '$.source') = {quote(source)}
        ORDER BY fitted_at DESC
        """).fetchall()
    return [version_of(*row) for row in rows]


def version_of(model_id: str, fitted_at: datetime, is_used: bool, parameters: str) -> Version:
    """Read one model of a build."""
    given = json.loads(parameters)
    model = ReturnProbability.of(given["model"])
    return Version(model_id, given["source"], fitted_at, bool(is_used), given["why_not"], model, given)


def current_version(connection: duckdb.DuckDBPyConnection, source: str) -> Version | None:
    """Give the model in use: the newest that was promoted; None where there is none."""
    return next((v for v in versions(connection, source) if v.parameters["is_promoted"]), None)


def _is_fresh(connection: duckdb.DuckDBPyConnection, source: str, until: datetime) -> bool:
    """Say whether a model was fitted of late, whether it was promoted or not."""
    found = connection.execute(f"""
        SELECT count(*) FROM model_version
        WHERE model = 'return_probability' AND json_extract_string(parameters, '$.source') = {quote(source)}
            AND fitted_at > TIMESTAMP '{until}' - INTERVAL {REFIT_DAYS} DAY
        """).fetchall()
    return bool(found[0][0])


def batches(connection: duckdb.DuckDBPyConnection, where: str, rows: int = _BATCH) -> Iterator[dict[str, Any]]:
    """Give the keys and counts of counted lines matching `where`, so many at once, as columns; missing numbers as NaN.

    A batch is read when it is asked for: until the last one the connection answers nothing else.
    """
    names = ", ".join(f"{c}::DOUBLE AS {c}" for c in COUNTS)
    counted = connection.execute(f"SELECT order_line_key, {names} FROM probability_count WHERE {where}")
    for batch in counted.to_arrow_reader(rows):
        yield dict(zip(batch.schema.names, map(column_of, batch.columns), strict=True))


def column_of(column: pa.Array) -> Any:
    """Give an arrow column as an array, missing numbers as NaN."""
    if pa.types.is_floating(column.type) and column.null_count:
        column = column.fill_null(float("nan"))
    return column.to_numpy(zero_copy_only=False)


def score(connection: duckdb.DuckDBPyConnection, version: Version, where_line: str) -> None:
    """Insert the probabilities of counted lines that know enough; those that are written at once are held in memory."""
    counted = connection.execute("SELECT count(*) FROM probability_count").fetchall()[0][0]
    for first in range(0, counted, _WRITTEN):
        some = f"rowid >= {first} AND rowid < {first + _WRITTEN} AND ({where_line})"
        found = [pa.record_batch(_scored(batch, version.model)) for batch in batches(connection, some)]
        if not found:
            continue
        connection.register("scored_line", pa.Table.from_batches(found))
        connection.execute(
            "INSERT INTO estimate_return_probability BY NAME SELECT *, ? AS model_id FROM scored_line",
            [version.model_id],
        )
        connection.unregister("scored_line")


def _scored(lines: dict[str, Any], model: ReturnProbability) -> dict[str, Any]:
    """Give keys and probabilities of those lines that know enough."""
    features, rates = features_of(lines)
    margin, usual = model.margins(features)
    scored = {
        "order_line_key": lines["order_line_key"],
        "probability": scipy.special.expit(margin),
        "buyer_probability": scipy.special.expit(usual),
        "base_rate": rates["product"],
    }
    known = np.isfinite(features[LEVEL])
    return scored if known.all() else {name: values[known] for name, values in scored.items()}


def lines_of(connection: duckdb.DuckDBPyConnection, where: str) -> tuple[Lines, dict[str, _Array], dict[str, Any]]:
    """Give counted lines by their keys: as lines to learn from, their past rates, and the texts they are judged by."""
    names = f"{', '.join(f'{c}::DOUBLE AS {c}' for c in COUNTS)}, day, month, returned, {', '.join(_CUTS)}"
    table = connection.execute(
        f"SELECT {names} FROM probability_count WHERE {where} ORDER BY order_line_key"
    ).to_arrow_table()
    found = {name: column_of(table.column(name).combine_chunks()) for name in table.column_names}
    features, rates = features_of(found)
    day, month = (found[n].astype(np.int64) for n in ("day", "month"))
    lines = Lines(matrix_of(features), found["returned"].astype(np.float64), day, month)
    return lines, rates, {name: found[name] for name in _CUTS}


def _fit(
    connection: duckdb.DuckDBPyConnection, source: str, observed_until: datetime, current: Version | None
) -> Version | None:
    """Fit anew and record it in model_version.

    Gives the model to score with: the new one, or the one in use where that expects later lines as well or better;
    None where there are too few returns.
    """
    learnt = _learnt(connection, source)
    if learnt is None:
        return None
    training, lines = learnt
    is_promoted = current is None or not current.is_used or _is_better(current, training, lines)
    fitted = _version(training, source, observed_until, is_promoted=is_promoted)
    _record(connection, fitted)
    return fitted if is_promoted else current


def _learnt(connection: duckdb.DuckDBPyConnection, source: str) -> tuple["Training", Lines] | None:
    """Train on a fixed sample of label-complete lines, two label lags after the first; None with too few returns."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    from models.model_training import train

    usable = (
        f"is_complete AND shop_n >= {FEWEST_KNOWN} AND day >= (SELECT min(day) FROM probability_count) +"
        f" {2 * LABEL_LAG_DAYS}"
    )
    rows, returned = connection.execute(
        f"SELECT count(*), coalesce(sum(returned), 0) FROM probability_count WHERE {usable}"
    ).fetchall()[0]
    if returned < _FEWEST_RETURNS or rows - returned < _FEWEST_RETURNS:
        return None
    sample = f"{usable} AND hash(order_line_key) % {-(-rows // _SAMPLE)} = 0"
    lines, rates, cuts = lines_of(connection, sample)
    with threadpool_limits(1):  # threads that wait for each other after every leaf are slower where other work runs
        return train(lines, rates, cuts, rewritten(connection, source)), lines


def trained(connection: duckdb.DuckDBPyConnection, source: str, observed_until: datetime) -> Version | None:
    """Train on a build as it stands and give the model with its judgement, writing nothing; None with too few returns.

    Lines of a build that is read alone are counted in temporary tables.
    """
    counts(connection, source, observed_until, "TRUE")
    learnt = _learnt(connection, source)
    forget(connection)
    return None if learnt is None else _version(learnt[0], source, observed_until, is_promoted=True)


def _is_better(current: Version, training: "Training", lines: Lines) -> bool:
    """Say whether a model of the new kind expects lines that the one in use has not seen better than that does.

    Both know only lines up to the last one that the model in use was fitted on. With few lines since, the one in use
    stays; where it rests on a feature that is refused now, it does not.
    """
    from models.model_training import is_better
    from models.return_probability import fit

    if set(training.model.refused) - set(current.model.refused):
        return True
    judgement = current.parameters["judgement"]
    early, later = (lines.of(rows) for rows in (lines.day <= judgement["last_day"], lines.day > judgement["last_day"]))
    if later.share.size < FEWEST_LINES:
        return False
    challenger = fit(early, training.model.kind, training.model.refused)
    said = (scipy.special.expit(m.margin(later.x)) for m in (challenger, current.model))
    return is_better(later.share, *said)


def _version(training: "Training", source: str, until: datetime, *, is_promoted: bool) -> Version:
    """Give a new model with why it is or is not used."""
    why_not = why_not_used(training) if is_promoted else why("model_kept")
    parameters = {
        "source": source,
        "why_not": why_not,
        "is_promoted": is_promoted,
        "leaks": [{"feature": leak.feature, "reason": leak_reason(leak)} for leak in training.leaks],
        "level_sd": training.judgement.level_sd if training.judgement else None,
        "calibration_error": training.judgement.calibration.value if training.judgement else None,
        "judgement": training.judgement.plain() if training.judgement else None,
        "model": training.model.plain(),
    }
    model_id = f"return_probability:{source}:{until:%Y-%m-%d}"
    return Version(model_id, source, until, not why_not, why_not, training.model, parameters)


def _record(connection: duckdb.DuckDBPyConnection, version: Version) -> None:
    """Write a model into model_version, in place of one of the same day."""
    judgement = version.parameters["judgement"]
    auc, base = (
        (judgement["auc"], max(judgement["base_auc"].values(), key=lambda a: a or 0)) if judgement else (None,) * 2
    )
    rows = judgement["rows"] if judgement else 0
    given = json.dumps(version.parameters)
    values = [version.model_id, version.fitted_at, rows, auc, base, version.is_used, given]
    connection.execute("DELETE FROM model_version WHERE model_id = ?", [version.model_id])
    connection.execute(
        """
        INSERT INTO model_version (model_id, model, fitted_at, rows, score_name, score, base_score, is_used, parameters)
        VALUES (?, 'return_probability', ?, ?, 'auc', ?, ?, ?, ?)
        """,
        values,
    )


def leak_reason(leak: Leak) -> str:
    """Say why a feature, or the column it rests on, is refused."""
    if leak.how == "pure":
        return why("leak_pure", feature=leak.feature, share=f"{leak.figure:.1%}")
    if leak.how == "rewritten":
        return why("leak_rewritten", feature=leak.feature, share=f"{leak.figure:.1%}")
    return why("leak_alone", feature=leak.feature, figure=leak.figure)


def why_not_used(training: "Training") -> str:
    """Say why a model is not used; empty where it is."""
    judgement = training.judgement
    if judgement is None or not np.isfinite(judgement.gate.low):
        return why("model_short")
    if judgement.auc > MOST_WHOLE:
        return why("model_leaks", figure=judgement.auc)
    if not judgement.gate.is_open:
        return why("model_weak", n=judgement.test_rows, gain=judgement.gate.share, least=judgement.gate.low)
    if judgement.level_sd > MOST_LEVEL_SD:
        return why("model_uneven")
    return _off(judgement)


def _off(judgement: "Judgement") -> str:
    if (off := judgement.off_month()) is None:
        return ""
    shares = {"expected": off.expected, "observed": off.observed}
    if not off.month:
        return why("model_off_later", **shares)
    return why("model_off", month=f"{(off.month - 1) // 12}-{(off.month - 1) % 12 + 1:02d}", **shares)
