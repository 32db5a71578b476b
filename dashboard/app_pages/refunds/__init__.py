"""The place Refunds: whose money is late, why, and what could be promised."""
