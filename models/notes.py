"""Customers' notes grouped by theme.

A note here is a text of concepts (pipelines/sources/notes.py), never what a customer wrote. The one idea: notes of a
product and of its category are grouped together, weighing both alike, so that a theme means the same in both and can be
compared.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
IMPORTED_LATE = ("sklearn.cluster", "sklearn.feature_extraction.text")
"""What takes half a second to import: only readers of notes need it, and a server imports it before they come."""


def note_themes(
    notes: Sequence[str], own: ArrayLike, others: ArrayLike, most: int = 8
) -> tuple[list[str], NDArray[np.int64]]:
    """Group notes by theme: (names of the themes, most of own notes first; the theme's number of each note).

    `notes` are distinct texts of concepts, `own` and `others` how often the product's and the other notes say so.
    TF-IDF over the concepts (concepts that all notes share count little) and k-means of at most `most` groups, seeded;
    groups with the same leading concept are one theme, named after it and the next if half of its notes name that too.
    The order of the notes does not matter.

    >>> note_themes(["size small", "seam", "small"], [5, 1, 4], [5, 5, 5])
    (['small size', 'seam'], array([0, 1, 0]))
    """
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfTransformer

    if not len(notes):
        return [], np.zeros(0, dtype=np.int64)
    order = np.argsort(np.asarray(notes, dtype=object), kind="stable")
    text = [notes[i].split() for i in order]
    mine, rest = (np.asarray(x, dtype=np.float64)[order] for x in (own, others))
    vocabulary = sorted({w for t in text for w in t})
    column = {w: i for i, w in enumerate(vocabulary)}
    has = np.zeros((len(text), len(vocabulary)))
    for row, concepts in enumerate(text):
        has[row, [column[w] for w in concepts]] = 1.0
    weight = mine / max(mine.sum(), 1e-9) + rest / max(rest.sum(), 1e-9)
    weight = weight / weight.sum()
    share = weight @ has  # of notes that name the concept, counting each note as often as it was written
    scaled = TfidfTransformer(norm="l2").fit(has)
    scaled.idf_ = 1.0 + np.log(1.0 / np.maximum(share, 1e-9))
    features = scaled.transform(has).toarray()
    count = min(most, len(np.unique(features, axis=0)))
    grouped = KMeans(count, n_init=10, random_state=0).fit(features, sample_weight=weight * len(text))
    leading = np.array([_first(weight * (grouped.labels_ == k), has, share) for k in range(count)])[grouped.labels_]
    told: list[tuple[float, float, str, int]] = []
    for concept in np.unique(leading):
        inside = leading == concept
        spoken = (weight * inside) @ has
        other = np.delete(np.arange(spoken.size), concept)
        next_one = other[_first(weight * inside, has[:, other], share[other])] if other.size else concept
        also = [vocabulary[next_one]] if next_one != concept and spoken[next_one] >= 0.5 * spoken[concept] else []
        told.append((-mine[inside].sum(), -rest[inside].sum(), " ".join([vocabulary[concept], *also]), int(concept)))
    told.sort()
    place = {concept: i for i, (*_, concept) in enumerate(told)}
    theme = np.zeros(len(text), dtype=np.int64)
    theme[order] = [place[int(c)] for c in leading]
    return [name for _, _, name, _ in told], theme


def _first(weight: Array, has: Array, share: Array) -> int:
    """Give the concept most of these notes name; of several the one more common everywhere, then the first."""
    spoken = np.round(weight @ has, 12)
    return int(np.lexsort((np.arange(spoken.size), -share, -spoken))[0])
