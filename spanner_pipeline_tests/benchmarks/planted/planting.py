"""From real usage to a score: deliver, import, plant, print bills, compare, count."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from random import Random

from spanner_pipeline_tests.benchmarks.planted.bills import Bill, Printer
from spanner_pipeline_tests.benchmarks.planted.deliveries import deliver, import_until, lay_out
from spanner_pipeline_tests.benchmarks.planted.drawing import ALONE, VARIANTS, Declared, mixes
from spanner_pipeline_tests.benchmarks.planted.history import History
from spanner_pipeline_tests.benchmarks.planted.old_system import OldSystem
from spanner_pipeline_tests.benchmarks.planted.scoring import Score, judge

PLANTS_OF_BILL = 20
NOISE_OF_BILL = 8


def planted(folder: Path, history: History, seed: int, each: int, mixed: int) -> Score:
    """Plant breaks into real usage, and score what the engine says of them.

    Args:
        folder: An empty folder for the data root.
        history: The usage.
        seed: Where chance begins.
        each: Plants of each variant.
        mixed: Mixes of three classes.
    """
    random, deliveries = Random(seed), deliver(history, seed)  # noqa: S311
    root = lay_out(deliveries, folder)
    import_until(root, history.imported_until)
    printer = Printer(history, OldSystem(deliveries))
    single = [(name,) for name in VARIANTS for _ in range(each)]
    three = [*mixes(random, mixed, [name for name in VARIANTS if name not in ALONE])]
    bills = [
        *_bills(printer, random, "single", single, history),
        *_bills(printer, random, "mixed", three, history),
        printer.daily("bill_days", random, 3, 3),
        printer.monthly("bill_clean", random, Declared(), [], 0),
    ]
    return judge(root, bills)


def _bills(
    printer: Printer, random: Random, kind: str, wanted: list[tuple[str, ...]], history: History
) -> list[Bill]:
    """Bills of so many plants each; half of them declare when they close."""
    random.shuffle(wanted)
    bills: list[Bill] = []
    for first in range(0, len(wanted), PLANTS_OF_BILL):
        plants = wanted[first : first + PLANTS_OF_BILL]
        before = history.begins + timedelta(days=random.randint(2, 27))
        declared = Declared(random.choice([None, 0]), before)
        while True:
            name = f"bill_{kind}_{len(bills)}"
            try:
                bills.append(printer.monthly(name, random, declared, plants, NOISE_OF_BILL))
                break
            except LookupError as error:  # no number is left in which that has an effect
                plants = [variants for variants in plants if ", ".join(variants) not in str(error)]
    return bills
