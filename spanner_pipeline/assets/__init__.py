"""The Dagster floor: thin assets over the domain. Nothing below imports from here."""
