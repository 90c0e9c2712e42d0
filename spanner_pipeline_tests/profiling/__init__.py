"""Unknown legacy files: what is found in them, and the sources that are proposed."""
