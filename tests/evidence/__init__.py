"""The long proofs: one file a subject, each with `claims() -> Iterator[Claim]`.

`make evidence` runs them; `make test` does not.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """One thing that is promised, the bar it must clear, the figure that was measured, and whether it holds."""

    name: str
    bar: str
    figure: str
    holds: bool
