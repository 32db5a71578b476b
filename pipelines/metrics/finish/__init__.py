"""How sums become answers: rates with intervals, forecasts of what is to come, waits."""
