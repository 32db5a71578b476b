"""Shops of other worlds: what the estimators are judged by.

Each world is a function of a seed and of sizes; it gives a `Shop`, whose lines know the truth: the probability each had
of coming back, when it will have come back, what was done to it. Delays are gamma, Weibull and mixtures, stages are
queues with people who do not work on Sundays, days of orders excite each other, customers and products differ by gamma,
and orders come back together. Nothing here was taken from the product's own simulator or from its models, and nothing
here may import them.
"""

from tests.worlds.shop import Shop

__all__ = ["Shop"]
