"""The page recovery."""
