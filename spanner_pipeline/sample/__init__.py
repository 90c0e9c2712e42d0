"""Legacy data to try the pipeline on: one generated SaaS (SAMPLE) and the real New York flights.

Belongs here: what writes below `ROOT/legacy/`, and nothing that the pipeline itself needs. Not
here: how that data is read back (the data root's YAML) or reconciled. Nothing here imports the
pipeline's readers, so that the sample bill is an independent second opinion on them.
"""
