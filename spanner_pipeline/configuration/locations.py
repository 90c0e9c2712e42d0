"""Where files are, as declared: a path below the data root, or the URL of objects in a store.

Belongs here: what a location may say. Not here: listing or reading it (`sources`).
"""

from __future__ import annotations

import re

from spanner_pipeline.configuration.values import MistakesError

STORES = ("s3", "gs", "abfs", "abfss")
"""The schemes of the object stores that files can lie in."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SIGNED = re.compile(
    r"[?&](x-amz-|x-goog-|signature=|awsaccesskeyid=|googleaccessid=|sig=|s[evprt]=)", re.IGNORECASE
)
_PATTERN = re.compile(r"[*?\[{]")


def is_url(location: str) -> bool:
    """Whether a location is the URL of an object store, not a path."""
    return _SCHEME.match(location) is not None


def file_location(location: str) -> str:
    """Check a file pattern: a path, or a URL that holds no secret.

    Raises:
        MistakesError: What to write instead; it never repeats the URL, which may hold a secret.
    """
    scheme = _SCHEME.match(location)
    if scheme is None:
        return location
    if wrong := _mistake(scheme[1], location[scheme.end() :]):
        raise MistakesError([((), wrong)])
    return location


def _mistake(scheme: str, rest: str) -> str:
    container, _, key = rest.partition("/")
    if scheme not in STORES:
        return f"no files are read by {scheme}://. Use a path, or {', '.join(STORES)}://."
    if _SIGNED.search(rest) or ":" in container or ("@" in container and scheme[0] != "a"):
        return (
            "holds a password or a signature. Take it out of the URL, and give credentials in the "
            "environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_KEY)."
        )
    if not container or _PATTERN.search(container):
        return f"must name its bucket without a placeholder: {scheme}://bucket/folder/file.csv"
    if not key:
        return f"names a bucket and no file in it; write {scheme}://bucket/folder/*.csv or so."
    return ""
