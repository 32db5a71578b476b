"""The place Returns: what comes back, why, and which products."""
