"""What a return costs, excluding VAT: plain arithmetic, a cost positive and an income negative.

One function works on floats, arrays and SQL column expressions. No parameter lives here (data/costs.csv holds them).
Lost value is counted once: what is not restocked as new loses its cost less what it brings; what is restocked as new
loses its markdown.
"""

from typing import Any

Number = Any


def leg_cost(amount: Number, fx_rate: Number = 1.0) -> Number:
    """Cost of one leg in the reporting currency: the invoice or the usual rate, times the day's exchange rate.

    >>> leg_cost(4.0, 1.25)
    5.0
    """
    return amount * fx_rate


def share_of(amount: Number, units: Number, all_units: Number) -> Number:
    """Part of a line's amount that falls to some of its units.

    >>> share_of(6.0, 1, 3)
    2.0
    """
    return amount * units / all_units


def handling_cost(
    units: Number, receipt: Number, inspection: Number, repacking: Number, treatment: Number = 0.0
) -> Number:
    """Cost of receiving, inspecting and repacking units at rates per unit, plus what their treatment cost in all.

    >>> handling_cost(2, 0.5, 1.0, 0.25, 3.0)
    6.5
    """
    return units * (receipt + inspection + repacking) + treatment


def value_loss(cost_amount: Number, recovered_amount: Number) -> Number:
    """Value lost on goods not restocked as new: purchase cost less what they bring; negative when they bring more.

    >>> value_loss(30.0, 12.0)
    18.0
    """
    return cost_amount - recovered_amount


def markdown(net_amount: Number, price_then: Number, price_now: Number) -> Number:
    """Value lost on goods restocked as new: their net price times the fall of the style's selling price since.

    >>> markdown(50.0, 40.0, 36.0)
    5.0
    """
    return net_amount * (price_then - price_now) / price_then


def margin(net_amount: Number, cost_amount: Number) -> Number:
    """Gross margin, excluding VAT: net sales less purchase cost.

    >>> margin(50.0, 20.0)
    30.0
    """
    return net_amount - cost_amount


def margin_erosion(margin_reversed: Number, return_cost: Number) -> Number:
    """Margin as booked less what is left of it after the sale is undone and the return paid.

    The two add up, side by side.

    >>> margin_erosion(30.0, 8.0)
    38.0
    """
    return margin_reversed + return_cost
