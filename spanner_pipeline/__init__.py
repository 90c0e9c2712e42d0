"""Historical usage, out of legacy systems, into Open Spanner's meaning: imported once, explained."""
