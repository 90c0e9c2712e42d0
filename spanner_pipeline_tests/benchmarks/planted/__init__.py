"""Planted breaks: real usage, an old system with known faults, and what the engine finds."""
