"""The page forecast."""
