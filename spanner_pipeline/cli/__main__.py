"""`python -m spanner_pipeline.cli`."""

from spanner_pipeline.cli import main

if __name__ == "__main__":
    main()
