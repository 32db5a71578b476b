"""The colours of charts and small lines, each on both grounds; those of the pages are in `.streamlit/config.toml`.

A mark has 3:1 against a light and a dark ground, a text 4.5:1 against its own. Colours that stand beside each other are
told apart by readers who see no red or green, and their neighbours in grey. tests/test_reach.py works all of it out.
"""

MAIN, ACCENT, GOOD, BAD, QUIET = "#2F7FA0", "#C98424", "#3E9E70", "#B8423F", "#86939D"
VIOLET, OLIVE, SLATE, PINK = "#8E62C5", "#8F9941", "#4E6879", "#D365BA"
SERIES = (MAIN, ACCENT, VIOLET, GOOD, BAD, OLIVE, SLATE, PINK)
"""Colours of series that stand for no judgement, in their order."""

LINE, BAND, LINK, CLEAR = "rgba(128,140,150,.25)", "rgba(47,127,160,.2)", "rgba(140,155,168,.28)", "rgba(0,0,0,0)"
CHOSEN = "rgba(201,132,36,.5)"
"""Grid lines, intervals, links of a flow, what is not seen, and what is chosen: none of them says a value alone."""

CELLS, CELL_TEXT = ((0, "#E3EEF3"), (1, "#5AA3BC")), "#0B151E"
"""Cells of a heat map, the darker the more, and the text on them: one for both grounds, as a cell hides its ground."""

INK = {
    False: {"text": "#4A5661", "green": "#1C6B42", "red": "#A23835", "gray": "#5A6872", "line": "#2A6F88"},
    True: {"text": "#C6D0D8", "green": "#5CC08B", "red": "#E98583", "gray": "#A9B6C0", "line": "#6EB8D2"},
}
"""Texts of a chart, a change and a small line, on a light and (True) on a dark ground."""

CHIP, ON_CHIP = "#5A6872", "#FFFFFF"
"""The ground of a note's number and the number, one for both grounds."""
