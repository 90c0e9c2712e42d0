"""A year of daily files of a metering tool, made, and what Dagster adds to importing them."""
