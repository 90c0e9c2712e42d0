"""Old billing totals against the lake: compared per declared grain, explained, rendered."""
