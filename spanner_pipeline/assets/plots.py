"""Numbers as Dagster plots them: rounded to a double. The exact text always stands beside."""

from collections.abc import Mapping
from decimal import Decimal

import dagster as dg


def plots(numbers: Mapping[str, Decimal]) -> dict[str, dg.MetadataValue]:
    """Metadata entries to plot, by what they are called."""
    return {
        f"plot: {name}": dg.MetadataValue.float(float(number)) for name, number in numbers.items()
    }
