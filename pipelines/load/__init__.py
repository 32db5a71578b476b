"""Loading: land, name, judge, log, shape, estimate, check, publish.

A load is a state machine in `state.sqlite`: landed (files copied, untouched), logged (rows judged and in the logs),
published (in the build readers see). Whatever kills it, the next load sweeps what is half-written and goes on from the
last of these. A load that cannot go on is put aside (failed) with the reason, whatever it is, so that it never stands
in the way of others; only what is the machine's fault (a full disk, say) stops all of them.
"""

from pipelines.load.amend import restore_withdrawn, retain, rotate_key, withdraw, withdrawn_rows
from pipelines.load.judge import reason_wordings
from pipelines.load.report import Progress, Report
from pipelines.load.run import load

__all__ = [
    "Progress",
    "Report",
    "load",
    "reason_wordings",
    "restore_withdrawn",
    "retain",
    "rotate_key",
    "withdraw",
    "withdrawn_rows",
]
