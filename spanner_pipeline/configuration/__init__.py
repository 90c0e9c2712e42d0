"""The YAML of a data root: read strictly, every mistake with its file and line."""
