"""The page returns."""
