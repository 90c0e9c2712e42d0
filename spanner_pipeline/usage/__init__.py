"""Usage queries over the lake, with Open Spanner's meaning of buckets, groups and filters."""
