"""What people write: actions, alert rules, policies, scenarios, and who is forgotten."""
