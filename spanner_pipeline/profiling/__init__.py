"""An unknown legacy file: its layout, what its columns hold, and what makes its rows themselves.

`examine.py` tells the story. A file is read by the readers that an import uses, so that what is
proposed is what an import does. Nothing here changes a data root.
"""
