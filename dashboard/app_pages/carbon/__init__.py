"""The place Carbon: what returns emit, how surely, and what would lower it."""
