"""The lake: one Delta table of usage events a meter, partitioned by UTC day."""
