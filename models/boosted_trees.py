"""Boosted trees as plain numbers: fitted by scikit-learn, kept as lists, evaluated with numpy.

Here: the hand-over from scikit-learn's histogram gradient boosting to arrays that hold no code, and their sum for many
rows at once. Not here: which features there are and how the result is calibrated (models/return_probability.py).

Every tree has at most 16 leaves, one bit each. A feature's value falls between two thresholds and so rules out some
leaves of each tree: what all features leave is the tree's leaf, the lowest bit that is left (Lucchese et al. 2015,
QuickScorer, SIGIR). So one look-up a feature answers for every tree at once, and no tree is walked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
LEAVES = 16
_BINS = 255  # of scikit-learn, beside one for what is missing
_SAMPLED = 200_000  # rows beyond which it bins a sample
_ROWS = 1024  # rows whose masks fit into a core's own memory


@dataclass(frozen=True)
class Trees:
    """Trees over columns of a matrix: their sum and `baseline` is the score.

    `nodes` holds, a tree after the other, (feature, threshold, left, right) of inner nodes and (-1, value, 0, 0) of
    leaves, `left` and `right` counted within the tree; `sizes` the nodes of each tree. A value at most the threshold
    goes left.
    """

    baseline: float
    features: int
    sizes: tuple[int, ...]
    nodes: tuple[tuple[int, float, int, int], ...] = field(repr=False)

    def plain(self) -> dict[str, Any]:
        """Give them as numbers and lists, for JSON."""
        feature, value, left, right = (list(column) for column in zip(*self.nodes, strict=True)) if self.nodes else []
        return {
            "baseline": self.baseline,
            "features": self.features,
            "sizes": list(self.sizes),
            "feature": feature,
            "value": value,
            "left": left,
            "right": right,
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Trees":
        """Read them back; raises ValueError where they are no trees."""
        nodes = tuple(
            (int(f), float(v), int(a), int(b))
            for f, v, a, b in zip(*(plain[n] for n in ("feature", "value", "left", "right")), strict=True)
        )
        trees = cls(float(plain["baseline"]), int(plain["features"]), tuple(map(int, plain["sizes"])), nodes)
        if sum(trees.sizes) != len(nodes) or any(f >= trees.features for f, *_ in nodes):
            raise ValueError("these numbers are no trees")
        return trees

    @cached_property
    def _masks(self) -> "_Masks":
        return _masks(self)

    def score(self, matrix: ArrayLike) -> Array:
        """Give the score of each row of a matrix without missing values.

        >>> Trees(0.5, 1, (3,), ((0, 2.0, 1, 2), (-1, -1.0, 0, 0), (-1, 1.0, 0, 0))).score([[1], [2], [3]]).tolist()
        [-0.5, -0.5, 1.5]
        """
        x = np.asarray(matrix, dtype=np.float64)
        return np.concatenate([self._masks.score(x[at : at + _ROWS]) for at in range(0, len(x), _ROWS)] or [x[:0, 0]])


@dataclass(frozen=True)
class _Masks:
    """Which leaves of each tree are left by each interval of each feature, and what the leaves add.

    `tables` holds of each feature used: its column, the sorted thresholds, the trees it stands in, in groups of four,
    and the masks (interval x group).
    """

    baseline: float
    groups: int
    tables: tuple[tuple[int, Array, NDArray[np.int64], NDArray[np.uint64]], ...]
    values: NDArray[np.float64]  # tree x leaf, one row after the other
    first: NDArray[np.int64]  # the place of each tree's leaves in them

    def score(self, x: Array) -> Array:
        left = np.full((len(x), self.groups), np.iinfo(np.uint64).max, dtype=np.uint64)
        for column, thresholds, groups, masks in self.tables:
            chosen = masks[np.searchsorted(thresholds, x[:, column], side="left")]
            if groups.size == self.groups:
                left &= chosen
            else:
                left[:, groups] &= chosen
        leaf = np.take(_LOWEST, left.view(np.uint16)) + self.first
        return np.asarray(self.baseline + np.take(self.values, leaf).sum(1))


_LOWEST = np.array([(n & -n).bit_length() - 1 if n else 0 for n in range(1 << LEAVES)], dtype=np.uint8)


def _masks(trees: Trees) -> _Masks:
    """Lay out the trees by feature."""
    groups = -(-max(len(trees.sizes), 1) // 4)
    splits: dict[int, list[tuple[float, int, int]]] = {}
    values = np.zeros((groups * 4, LEAVES))
    at = 0
    for tree, size in enumerate(trees.sizes):
        nodes = trees.nodes[at : at + size]
        leaves, ruled_out = _walk(nodes)
        values[tree, : len(leaves)] = leaves
        for feature, threshold, mask in ruled_out:
            splits.setdefault(feature, []).append((threshold, tree, mask))
        at += size
    tables = []
    for feature, found in sorted(splits.items()):
        thresholds = np.unique([t for t, _, _ in found])
        of = np.unique([tree // 4 for _, tree, _ in found])
        masks = np.full((thresholds.size + 1, of.size * 4), (1 << LEAVES) - 1, dtype=np.uint16)
        for threshold, tree, mask in found:  # a value above the threshold rules out the leaves on the left
            above = int(np.searchsorted(thresholds, threshold)) + 1
            masks[above:, int(np.searchsorted(of, tree // 4)) * 4 + tree % 4] &= np.uint16(mask)
        tables.append((feature, thresholds, of.astype(np.int64), masks.view(np.uint64)))
    first = np.arange(groups * 4, dtype=np.int64) * LEAVES
    return _Masks(trees.baseline, groups, tuple(tables), values.ravel(), first)


def _walk(nodes: Sequence[tuple[int, float, int, int]]) -> tuple[list[float], list[tuple[int, float, int]]]:
    """Give a tree's leaves from left to right, and for each split the mask without the leaves on its left."""
    leaves: list[float] = []
    splits: list[tuple[int, float, int]] = []

    def down(place: int) -> int:
        feature, value, left, right = nodes[place]
        if feature < 0:
            leaves.append(value)
            return 1 << (len(leaves) - 1)
        on_left = down(left)
        splits.append((feature, value, ((1 << LEAVES) - 1) & ~on_left))
        return on_left | down(right)

    down(0)
    if len(leaves) > LEAVES:
        raise ValueError(f"a tree has {len(leaves)} leaves; at most {LEAVES} can be kept")
    return leaves, splits


def boosted(
    x: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike,
    signs: Sequence[int],
    *,
    rounds: int = 160,
    rate: float = 0.06,
    smallest: int = 100,
) -> Trees:
    """Fit gradient boosting of the log loss with known signs (1 rising, -1 falling, 0 any); gives its trees.

    Without early stopping: what it is worth is judged out of time by the caller.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        learning_rate=rate,
        max_iter=rounds,
        max_leaf_nodes=LEAVES - 1,
        min_samples_leaf=smallest,
        l2_regularization=5.0,
        monotonic_cst=list(signs),
        early_stopping=False,
        random_state=0,
    )
    binned, edges = _binned(np.asarray(x, dtype=np.float64), np.asarray(weight, dtype=np.float64))
    model.fit(binned, np.asarray(label), sample_weight=np.asarray(weight))
    trees = trees_of(model)
    nodes = tuple(
        (f, float(edges[f][int(value)]) if f in edges else value, left, right) for f, value, left, right in trees.nodes
    )
    return replace(trees, nodes=nodes)


def _binned(x: Array, weight: Array) -> tuple[Array, dict[int, Array]]:
    """Put the place of its bin in place of each value of columns with more values than bins; give these bins' ends.

    scikit-learn would sort each column once a bin, which takes longer than all the trees; its bins are these. Of very
    many rows it bins a sample, at once, and they stay as they are.
    """
    x, edges = x.copy(), {}
    for column in range(x.shape[1] if len(x) <= _SAMPLED else 0):
        ends = _bin_ends(x[:, column], weight)
        if ends.size:
            filled, places = np.unique(np.searchsorted(ends, x[:, column], side="left"), return_inverse=True)
            x[:, column], edges[column] = places, np.append(ends, np.inf)[filled]
    return x, edges


def _bin_ends(values: Array, weight: Array) -> Array:
    """Give the upper ends of bins of equal weight, without the last; none where each value can have a bin of its own.

    Quantiles by the averaged inverse of the distribution, as scikit-learn has them.
    """
    order = np.argsort(values[weight != 0])
    values, weight = values[weight != 0][order], weight[weight != 0][order]
    if np.unique(values).size <= _BINS:
        return np.empty(0)
    again = np.argsort(values.reshape(-1, 1), axis=0)[:, 0]
    values, upto = values[again], np.cumsum(weight[again])
    wanted = np.linspace(0, 100, _BINS + 1)[1:-1] / 100 * upto[-1]
    last = values.size - 1
    place = np.clip(np.searchsorted(upto, wanted), 0, last)
    is_within = upto[place] - wanted > np.finfo(np.float64).eps
    return np.unique(np.where(is_within, values[place], (values[place] + values[np.clip(place + 1, 0, last)]) / 2))


def trees_of(model: Any) -> Trees:
    """Read the trees of a fitted HistGradientBoostingClassifier of two classes without categories."""
    nodes: list[tuple[int, float, int, int]] = []
    sizes = []
    for (predictor,) in model._predictors:
        sizes.append(len(predictor.nodes))
        for node in predictor.nodes:
            inner = (int(node["feature_idx"]), float(node["num_threshold"]), int(node["left"]), int(node["right"]))
            nodes.append((-1, float(node["value"]), 0, 0) if node["is_leaf"] else inner)
    return Trees(float(np.ravel(model._baseline_prediction)[0]), int(model.n_features_in_), tuple(sizes), tuple(nodes))
