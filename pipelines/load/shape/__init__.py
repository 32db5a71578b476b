"""Shaping: logs become dimensions and facts, all of them or the keys that an increment touched."""
