"""The report of a comparison: page, pictures, tables, verdict."""
