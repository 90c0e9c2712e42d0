"""Tests of the Dagster side, with a real instance."""
