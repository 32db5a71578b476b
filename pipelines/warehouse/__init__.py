"""The warehouse: its tables, engines, builds, contracts and the shaping of facts."""
