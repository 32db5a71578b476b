"""Text that a spreadsheet would run: how it is written so that it stays text. Numbers never come here."""

import re

# a formula begins a cell, or follows what another country's Excel takes for the end of one
_FORMULA = re.compile(r"(^|[;\t\n]\"?)(?=[=+\-@\t\n\uff1d\uff0b\uff0d\uff20])")


def guarded(text: str) -> str:
    """Put an apostrophe where a spreadsheet would begin a formula.

    >>> guarded("=1+1"), guarded("a-b"), guarded("a;=1+1")
    ("'=1+1", 'a-b', "a;'=1+1")
    """
    return _FORMULA.sub(r"\1'", text)
