"""Signatures of people under a comparison, each bound to the fingerprint that they signed.

They stand in `signoffs.json` beside the report and are only ever added to. What they bind may
change later; then they are void, and say so.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.presence import one_at_a_time
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.proof.fingerprint import PARTS, Facts, canonical, facts
from spanner_pipeline.reconciliation.spelling import plain
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.whole import written_whole

Role = Literal["preparer", "reviewer"]

_DONE: dict[Role, str] = {"preparer": "prepared", "reviewer": "reviewed"}
_LONGEST = 200


class SignoffRefusedError(PipelineError):
    """Somebody may not sign this, or not yet."""


@dataclass(frozen=True)
class Signoff:
    """One signature.

    Attributes:
        name: Who signed.
        role: As what.
        note: What they had to say.
        at: When, ISO 8601 in UTC.
        period: The period that the comparison was narrowed to, if any.
        fingerprint: What was signed.
        verdict: The verdict then.
        difference: The difference then.
        unexplained: The unexplained part then.
        parts: The digests of the parts of the fingerprint, to say later what changed.
    """

    name: str
    role: Role
    note: str
    at: str
    period: str | None
    fingerprint: str
    verdict: str
    difference: str
    unexplained: str
    parts: dict[str, str]

    @property
    def text(self) -> str:
        """Who did what when, for a person."""
        note = f" (“{self.note}”)" if self.note else ""
        return f"{_DONE[self.role]} by {self.name} on {self.at[:10]}{note}"


def signoff_file(root: DataRoot, comparison: Comparison) -> Path:
    """Where the signatures of a comparison are."""
    return root.reports / comparison.total.name / "signoffs.json"


def sign(
    root: DataRoot,
    catalog: Catalog,
    comparison: Comparison,
    role: Role,
    name: str,
    note: str = "",
) -> Signoff:
    """Sign a comparison as it was just made.

    Raises:
        SignoffRefusedError: When this person may not sign it in this role.
    """
    name, note = _clean(name, "name"), _clean(note, "note")
    if not _person(name):
        raise SignoffRefusedError("the name has no letters. Write your full name.")
    known = facts(root, catalog, comparison)
    signed = Signoff(
        name,
        role,
        note,
        datetime.now(UTC).isoformat(timespec="seconds"),
        comparison.period,
        known.fingerprint,
        comparison.verdict,
        plain(comparison.difference),
        plain(comparison.unexplained),
        known.digests,
    )
    path = signoff_file(root, comparison)
    with one_at_a_time(root):  # two who sign at once must not lose one signature
        before = read_signoffs(path)
        _refuse(signed, before)
        with written_whole(path) as work:
            work.write_bytes(canonical([asdict(s) for s in [*before, signed]]))
    return signed


def _refuse(signed: Signoff, before: Iterable[Signoff]) -> None:
    """Refuse a signature that says nothing new, or that nobody could check.

    Raises:
        SignoffRefusedError: When it is refused.
    """
    valid = [s for s in before if s.fingerprint == signed.fingerprint]
    for other in valid:
        if _person(other.name) == _person(signed.name):
            raise SignoffRefusedError(
                f"{other.name} has {_DONE[other.role]} this already ({other.at[:10]}). Preparer "
                "and reviewer must be different people; nothing was added."
            )
    if signed.role == "reviewer" and not any(s.role == "preparer" for s in valid):
        raise SignoffRefusedError(
            "no preparer has signed what the comparison says now, so there is nothing to review. "
            "The preparer signs first: `--as preparer`."
        )


def read_signoffs(path: Path) -> list[Signoff]:
    """All signatures of a file, oldest first; none where there is no file.

    Raises:
        PipelineError: When the file is damaged.
    """
    try:
        stored = json.loads(path.read_text("utf-8"))
        return [Signoff(**entry) for entry in stored]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise PipelineError(
            f"{path.parent.name}/{path.name} is damaged ({error}), so nobody knows who signed. "
            "Remedy: put it back from a backup or an evidence pack, or move it away and sign anew."
        ) from None


@dataclass(frozen=True)
class Signoffs:
    """The signatures of one comparison, and which of them hold.

    Attributes:
        every: All for this period, oldest first.
        now: What the comparison says now.
    """

    every: Sequence[Signoff]
    now: Facts

    @property
    def valid(self) -> list[Signoff]:
        """Those under what the comparison says now."""
        return [s for s in self.every if s.fingerprint == self.now.fingerprint]

    @property
    def reviewed(self) -> bool:
        """Whether a preparer and a reviewer have signed what it says now."""
        return {s.role for s in self.valid} == {"preparer", "reviewer"}

    def changed(self, signoff: Signoff) -> list[str]:
        """What changed since a signature, for a person; empty while it holds."""
        now = self.now.digests
        return [what for part, what in PARTS.items() if signoff.parts.get(part) != now[part]]

    def void(self, signoff: Signoff) -> bool:
        """Whether what was signed is not what the comparison says now."""
        return signoff.fingerprint != self.now.fingerprint

    def lines(self) -> list[str]:
        """What a report says of them: those that hold, else the last that held."""
        if self.valid:
            missing = "" if self.reviewed else ", not yet reviewed"
            text = ", ".join(s.text for s in self.valid) + missing
            return [text[0].upper() + text[1:]]
        if not self.every:
            return []
        last = [s for s in self.every if s.fingerprint == self.every[-1].fingerprint]
        changed = _listed(self.changed(last[-1]))
        return [f"VOID since {changed} changed: {', '.join(s.text for s in last)}"]


def signoffs(root: DataRoot, catalog: Catalog, comparison: Comparison) -> Signoffs:
    """The signatures of a comparison as it was just made."""
    every = read_signoffs(signoff_file(root, comparison))
    own = [s for s in every if s.period == comparison.period]
    return Signoffs(own, facts(root, catalog, comparison))


def signoff_lines(root: DataRoot, catalog: Catalog, comparison: Comparison) -> list[str]:
    """What report and terminal say of a comparison's signatures; nothing where there are none.

    Raises:
        PipelineError: When the file of signatures is damaged.
    """
    if not signoff_file(root, comparison).exists():
        return []
    return signoffs(root, catalog, comparison).lines()


def _clean(text: str, what: str) -> str:
    """A text of one line, without needless space."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    if not text.isprintable() or len(text) > _LONGEST:
        raise SignoffRefusedError(f"the {what} must be one line of at most {_LONGEST} characters.")
    return text


def _person(name: str) -> str:
    """What two spellings of one name have in common: neither case, accents nor punctuation."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in decomposed if c.isalnum())


def _listed(names: Sequence[str]) -> str:
    return " and ".join(", ".join(names).rsplit(", ", 1)) if names else "what it says"
