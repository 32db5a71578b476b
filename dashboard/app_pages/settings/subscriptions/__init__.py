"""The page subscriptions."""
