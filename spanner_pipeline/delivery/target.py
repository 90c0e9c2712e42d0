"""Which Open Spanner is meant, and with which key. The key stands nowhere but here."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from spanner_pipeline.errors import PipelineError

BASE_URL = "OPEN_SPANNER_BASE_URL"
API_KEY = "OPEN_SPANNER_API_KEY"
REHEARSAL_API_KEY = "OPEN_SPANNER_REHEARSAL_API_KEY"
"""Environment variables; the last one is the key of a second workspace, to rehearse in."""

HIDDEN = "(the key)"


class TargetError(PipelineError):
    """Open Spanner cannot be spoken to as things are, or refused; a person has to act."""


@dataclass(frozen=True)
class Target:
    """A running Open Spanner and the key of one of its workspaces.

    Attributes:
        base_url: Its address, without a slash at the end.
        api_key: The key; never part of a message, a log or the text of this object.
        variable: The environment variable that the key came from, to name in remedies.
    """

    base_url: str
    api_key: str = field(repr=False)
    variable: str = API_KEY

    @classmethod
    def build(cls, base_url: str | None, api_key: str | None, variable: str = API_KEY) -> Target:
        """Check an address and a key.

        Raises:
            TargetError: When one is missing or cannot be one.
        """
        address, key = (base_url or "").strip().rstrip("/"), (api_key or "").strip()
        if not address:
            raise TargetError(f"{BASE_URL} is not set. Set it, such as https://spanner.example.")
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TargetError(f"{BASE_URL} is no address. Write it such as https://spanner.example")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise TargetError(
                f"{BASE_URL} has more than an address in it. Leave out user, password and what "
                f"follows the path; the key belongs in {variable}."
            )
        if not key:
            raise TargetError(f"{variable} is not set. Set it to an API key of the workspace.")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise TargetError(f"{variable} holds characters that no key has. Copy the key again.")
        return cls(address, key, variable)

    @classmethod
    def from_environment(cls, *, rehearse: bool = False) -> Target:
        """The target that the environment names.

        Args:
            rehearse: Take the workspace to rehearse in.

        Raises:
            TargetError: When a variable is missing or wrong.
        """
        address, key = os.environ.get(BASE_URL), os.environ.get(API_KEY)
        if rehearse:
            return cls.rehearsal(address, os.environ.get(REHEARSAL_API_KEY), key)
        return cls.build(address, key)

    @classmethod
    def rehearsal(cls, base_url: str | None, api_key: str | None, real: str | None) -> Target:
        """Check the workspace to rehearse in.

        Raises:
            TargetError: When its key is missing, or the real one.
        """
        if api_key and api_key == real:
            raise TargetError(
                f"{REHEARSAL_API_KEY} is the same key as {API_KEY}. Make a second workspace, and a "
                "key in it: what was delivered cannot be deleted."
            )
        return cls.build(base_url, api_key, REHEARSAL_API_KEY)

    def without_key(self, text: str) -> str:
        """A text from elsewhere, such as a proxy's answer, without the key."""
        return text.replace(self.api_key, HIDDEN)
