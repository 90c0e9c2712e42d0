"""Legacy sources: a source is a YAML file, code exists only for a format family."""
