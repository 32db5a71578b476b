"""The page alerts."""
