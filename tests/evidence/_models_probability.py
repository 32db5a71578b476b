"""The return probability in worlds whose truth is known: a gate that noise does not pass, leaks that are named.

And the distance to who knows all, calibration, and a past that no future changes. The worlds, tests/return_worlds.py,
are written apart from the models and the sample shop. A model is fitted on lines up to a day and says what it expects
of lines ordered at least 35 days later.
"""

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.model_judgement import area_under_curve, calibration_error
from models.model_training import GAP_DAYS, train
from models.return_features import COUNTS
from pipelines.estimate.probability import batches, current_version, lines_of, probability, score
from pipelines.estimate.probability_counts import counts, forget
from pipelines.settings import Settings
from tests import return_worlds
from tests.evidence import Claim
from tests.evidence._trust_endpoint import served

NOISE_SHOPS, NOISE_LINES, SEEDS = 100, (8_000, 30_000), 5
DESIGN_LINES, FITTING_LINES, SCORED_LINES = 200_000, 100_000, 1_000_000
ASKED = 50  # times that the endpoint is asked
FIRST_SEED = 71_000
Array = NDArray[np.float64]


def used(frame: pd.DataFrame) -> tuple[bool, list[str]]:
    """Load a world's model; say whether it is used, and what features it refused."""
    with return_worlds.as_build(frame) as connection:
        probability(connection, Settings(), "TRUE")
        rows = connection.execute("SELECT is_used, parameters FROM model_version").fetchall()
    return (bool(rows[0][0]), [leak["feature"] for leak in json.loads(rows[0][1])["leaks"]]) if rows else (False, [])


@dataclass(frozen=True)
class Said:
    """What was expected of later lines, by the model, by who knows all, and by the product's past rate."""

    kind: str
    returned: Array
    model: Array
    oracle: Array
    product: Array

    def auc(self) -> tuple[float, float, float]:
        """Give the areas of model, oracle and product rate."""
        return tuple(area_under_curve(self.returned, p) for p in (self.model, self.oracle, self.product))  # type: ignore[return-value]

    def errors(self) -> tuple[float, float]:
        """Give the calibration errors of model and oracle."""
        return calibration_error(self.returned, self.model), calibration_error(self.returned, self.oracle)


def counted(connection: duckdb.DuckDBPyConnection) -> None:
    """Count what every line of a world knew."""
    until = connection.execute("SELECT max(last_occurred_at) FROM build_source").fetchall()[0][0]
    counts(connection, "shop", until, "TRUE")


def said(frame: pd.DataFrame, judged: float = 0.85) -> Said:
    """Train on the earlier days and ask of the lines of the later ones, at least 35 days after the last one learnt."""
    with return_worlds.as_build(frame) as connection:
        counted(connection)
        lines, rates, _ = lines_of(connection, "shop_n >= 200")
        keys = connection.execute(
            "SELECT order_line_key FROM probability_count WHERE shop_n >= 200 ORDER BY 1"
        ).fetchnumpy()["order_line_key"]
    first = np.quantile(lines.day, judged)
    seen, later = (lines.day <= first - GAP_DAYS) & (lines.day >= lines.day.min() + GAP_DAYS), lines.day > first
    training = train(lines.of(seen), {n: r[seen] for n, r in rates.items()})
    p = 1 / (1 + np.exp(-training.model.margin(lines.x[later])))
    truth = frame["p"].to_numpy()[keys][later]
    return Said(training.model.kind, lines.share[later], p, truth, rates["product"][later])


def claims() -> Iterator[Claim]:
    """Prove the gate, the leaks, the distance to the oracle, calibration, and the speed."""
    yield from of_noise()
    yield from of_leaks()
    yield from of_worlds()
    yield of_the_past()
    yield of_speed()
    yield from of_endpoint()


def of_noise() -> Iterator[Claim]:
    """Claim that noise is seldom used."""
    for lines in NOISE_LINES:
        found = [used(return_worlds.noise(FIRST_SEED + i, lines))[0] for i in range(NOISE_SHOPS)]
        yield Claim(
            f"Return probability in {NOISE_SHOPS} shops of {lines:,} lines whose returns are noise: used",
            "in at most 5%",
            f"{np.mean(found):.0%}",
            float(np.mean(found)) <= 0.05,
        )


def of_leaks() -> Iterator[Claim]:
    """Claim that a rewritten amount and a column filled by the return are named, and the columns of honest worlds not.

    `units` stands for a count that returns lower; it is written as what was left.
    """
    shops, named, honest = 10, 0, 0
    for i in range(shops):
        frame = return_worlds.design(FIRST_SEED + i, 12_000)
        honest += bool(used(frame)[1])
        rewritten = frame.assign(net=frame["net"].where(~frame["returned"], 0.0))
        gift = frame.assign(gift=frame["returned"])
        named += "price" in used(rewritten)[1] and "is_gift" in used(gift)[1]
    yield Claim(
        f"A net amount that is rewritten at the return, and a mark set by it: named and refused ({shops} shops)",
        "both in every shop, and nothing in the shops as they are",
        f"{named} of {shops}; {honest} shops with a feature refused wrongly",
        named == shops and honest == 0,
    )


def of_worlds() -> Iterator[Claim]:
    """Claim the distance to the oracle and the calibration, pooled over seeds."""
    design = [return_worlds.design(FIRST_SEED + i, DESIGN_LINES) for i in range(SEEDS)]
    worlds = {
        "the design's world": (design, 0.045, 0.004),
        "the design's world with a rate that drifts by .5 logit": (
            [return_worlds.design(FIRST_SEED + i, DESIGN_LINES, drift=0.5) for i in range(SEEDS)],
            0.045,
            0.006,
        ),
        "a world of fit, brackets and serial buyers": (
            [return_worlds.fitting(FIRST_SEED + i, FITTING_LINES) for i in range(SEEDS)],
            0.06,
            0.004,
        ),
    }
    for name, (frames, most, more) in worlds.items():
        found = [said(frame) for frame in frames]
        own, oracle, product = (np.array(a) for a in zip(*(s.auc() for s in found), strict=True))
        gap = float((oracle - own).mean())
        kinds = ", ".join(sorted({s.kind for s in found}))
        yield Claim(
            f"AUC in {name} ({SEEDS} seeds): below the latent oracle",
            f"by at most {most}, never above it by .003, at least .035 above the product's rate",
            f"{gap:.3f} ({own.mean():.3f} of {oracle.mean():.3f}; product's rate {product.mean():.3f}; {kinds})",
            gap <= most and bool((own <= oracle + 0.003).all()) and float((own - product).mean()) >= 0.035,
        )
        ours, theirs = (np.array(e) for e in zip(*(s.errors() for s in found), strict=True))
        yield Claim(
            f"The same: calibration error on later lines in {name}",
            f"at most the oracle's + {more}",
            f"{ours.mean():.4f} against {theirs.mean():.4f}",
            float(ours.mean()) <= float(theirs.mean()) + more,
        )


def of_the_past() -> Claim:
    """Claim that what a line knew is the same, bit by bit, when every later label is turned."""
    frame = return_worlds.fitting(FIRST_SEED, 20_000)
    day = int(frame["day"].quantile(0.6))
    turned = frame.assign(returned=np.where(frame["day"] > day - GAP_DAYS, ~frame["returned"], frame["returned"]))
    known = []
    for world in (frame, turned):
        with return_worlds.as_build(world) as connection:
            counted(connection)
            known.append(
                connection.execute(
                    f"SELECT day, {', '.join(COUNTS)} FROM probability_count ORDER BY order_line_key"
                ).df()
            )
    early, late = ([k[k["day"] <= day], k[k["day"] > day]] for k in known)
    past_same, future_same = early[0].equals(late[0]), early[1].equals(late[1])
    return Claim(
        f"What {len(early[0]):,} lines knew when all labels of later lines, and of those 35 days before, are turned",
        "bit-identical; later lines differ",
        f"{'identical' if past_same else 'different'}; later lines {'identical' if future_same else 'differ'}",
        past_same and not future_same,
    )


def of_speed() -> Claim:
    """Claim that lines are scored at most at twice the time of a bare predict over the same matrix."""
    from models.return_features import features_of, matrix_of

    frame = return_worlds.fitting(FIRST_SEED, 60_000)
    with return_worlds.as_build(frame) as connection:
        probability(connection, Settings(), "TRUE")
        version = current_version(connection, "shop")
        counted(connection)
        times = -(-SCORED_LINES // len(frame))
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE probability_count AS SELECT p.* FROM probability_count p, range({times})"
        )
        assert version is not None
        connection.execute("DELETE FROM estimate_return_probability")
        began = time.process_time()
        score(connection, version, "TRUE")
        ours = time.process_time() - began
        bare = 0.0
        for batch in batches(connection, "shop_n >= 200", 100_000):
            x = matrix_of(features_of(batch)[0])
            began = time.process_time()
            version.model.margin(x)
            version.model.margin(x)  # of the line, and of the line had its product been usual
            bare += time.process_time() - began
        forget(connection)
    return Claim(
        f"{times * len(frame):,} lines scored from their counts, against a bare predict of both probabilities",
        "at most twice the time",
        f"{ours / bare:.2f} ({ours:.1f} s of processor against {bare:.1f} s; {version.model.kind})",
        ours <= 2 * bare,
    )


def of_endpoint() -> Iterator[Claim]:
    """Claim how long the endpoint takes for baskets; the median of so many asked one after the other."""
    with served() as (port, key):
        for lines, most_ms in ((1, 10), (1000, 100)):
            asked = [
                {"product_id": f"P{i}", "country": "FR", "customer_id": f"c{i}", "net_amount": 50.0}
                for i in range(lines)
            ]
            body, took = json.dumps({"lines": asked}), []
            for _ in range(ASKED):
                began = time.perf_counter()
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("POST", "/v1/probability", body, {"X-API-Key": key})
                answer = connection.getresponse()
                found = json.loads(answer.read())
                took.append(1000 * (time.perf_counter() - began))
                connection.close()
            is_scored = answer.status == 200 and all(line["probability"] is not None for line in found["lines"])
            middle = float(np.median(took))
            yield Claim(
                f"POST /v1/probability with {lines:,} lines, connection included",
                f"scored, under {most_ms} ms",
                f"{middle:.1f} ms (median of {ASKED}){'' if is_scored else ', not scored'}",
                is_scored and middle < most_ms,
            )
