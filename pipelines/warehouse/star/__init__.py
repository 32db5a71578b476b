"""The star schema: dimensions, facts, estimates and what a build says of itself.

Tables only; what fills them is in `load/shape` and `estimate`.
"""

import hashlib

from pipelines.warehouse.star import dimensions, estimates, facts
from pipelines.warehouse.star.base import STAR

__all__ = ["REVISION", "STAR", "VERSION", "dimensions", "estimates", "facts"]

REVISION = 8  # raise it when rows are shaped or estimated otherwise while the tables stay what they are
VERSION = (
    f"{REVISION}-"
    + hashlib.md5(
        repr([(t.name, [(c.name, str(c.type)) for c in t.columns]) for t in STAR.sorted_tables]).encode(),
        usedforsecurity=False,
    ).hexdigest()[:8]
)
"""What a build must have been made as to be read; one made otherwise is made again from the logs."""
