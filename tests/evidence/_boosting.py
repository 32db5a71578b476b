"""LightGBM and CatBoost at their defaults, on a matrix that the product's model learnt from too.

Run by `_models_peers.py` in an environment of its own: they are no dependency, neither to run nor to test.
python _boosting.py FILE [THREADS]: FILE is an .npz of seen, came, later; prints JSON, the probabilities that each says
of the later lines.
"""

import json
import sys
from importlib import import_module
from typing import Any

import numpy as np


def said(kind: str, seen: Any, came: Any, later: Any, threads: int) -> list[float]:
    """Fit one of them and give what it expects of the later lines."""
    if kind == "LightGBM":
        peer = import_module("lightgbm")  # its classifier of scikit-learn's kind has the same defaults
        given = {"objective": "binary", "seed": 1, "num_threads": threads, "verbose": -1}
        expected = peer.train(given, peer.Dataset(seen, came.astype(float))).predict(later)
    else:
        given = {"random_seed": 1, "thread_count": threads, "verbose": False, "allow_writing_files": False}
        model = import_module("catboost").CatBoostClassifier(**given).fit(seen, came)
        expected = model.predict_proba(later)[:, 1]
    return [round(float(p), 6) for p in expected]


def main(file: str, threads: int = 1) -> None:
    """Fit both."""
    given = np.load(file)
    seen, came, later = (given[name] for name in ("seen", "came", "later"))
    print(json.dumps({kind: said(kind, seen, came, later, threads) for kind in ("LightGBM", "CatBoost")}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1)
