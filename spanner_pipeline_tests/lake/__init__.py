"""The lake: tables, merge, conflicts, ledger."""
