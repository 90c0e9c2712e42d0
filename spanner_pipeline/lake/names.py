"""Names of files and folders made from names that people chose."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

_LONGEST = 120
_DIGEST_LENGTH = 32


def file_name(text: str) -> str:
    """Name a file or folder after a text: no two texts share it, and none leaves its folder.

    `+2F` stands for a slash, because delta-rs decodes a `%2F` in a path, and `%2E%2E` leads out of
    the folder. A name that file systems would find too long ends in the digest of the text.
    """
    name = quote(text, safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "+")
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[:_LONGEST]}+{digest}"
