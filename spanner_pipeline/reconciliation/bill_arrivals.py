"""Whether the old bill of a source is another than when it was last looked at, by its digest.

No ledger knows which bill a comparison read, so what was seen is remembered by who asks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from spanner_pipeline.arrivals import is_fresh, listing_mark
from spanner_pipeline.configuration.source import WHOLE, Source
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.lake.ledger import batch_name
from spanner_pipeline.passing import may_pass
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import find_files, list_files


@dataclass(frozen=True)
class SeenBill:
    """What one look leaves to the next.

    Attributes:
        listing: Digest of the listing of its files; while it stays, they are not read.
        content: Digest of their content.
    """

    listing: str = ""
    content: str = ""

    def spell(self) -> str:
        """As a text."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str | None) -> SeenBill:
        """Read what `spell` wrote; nothing was seen where there is no text."""
        return cls(**json.loads(text)) if text else cls()


@dataclass(frozen=True)
class BillLook:
    """What one look at an old bill found.

    Attributes:
        files: How many files it has.
        settling: Whether somebody may still be writing one; then nothing is said of them.
        changed: Whether its content is new.
        seen: What to remember.
    """

    files: int
    settling: bool
    changed: bool
    seen: SeenBill


def look_at_bill(root: DataRoot, source: Source, before: SeenBill, now: datetime) -> BillLook:
    """Look whether the old bill that a source declares is new or changed.

    Args:
        root: The data root.
        source: A source with billing totals.
        before: What the last look left.
        now: The time.

    Raises:
        SourceFileError: When an object store gives no answer or refuses.
    """
    files = list_files(root, source, {WHOLE}).get(WHOLE, [])
    listing = listing_mark(files)
    if not files or listing == before.listing:
        return BillLook(len(files), settling=False, changed=False, seen=before)
    if any(is_fresh(file, now) for file in files):
        return BillLook(len(files), settling=True, changed=False, seen=before)
    try:
        content = batch_name(source, WHOLE, find_files(root, source, WHOLE)).rpartition("/")[2]
    except PipelineError as error:
        if may_pass(error):
            raise
        content = f"unreadable {listing}"  # the comparison says what is wrong with it
    seen = SeenBill(listing, content)
    return BillLook(len(files), settling=False, changed=content != before.content, seen=seen)
