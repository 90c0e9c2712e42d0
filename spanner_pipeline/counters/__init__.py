"""Counters: usage as the difference of readings, and where the readings before a partition are."""
