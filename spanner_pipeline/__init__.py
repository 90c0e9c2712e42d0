"""Historical usage out of legacy systems into Open Spanner: imported once, explained."""
