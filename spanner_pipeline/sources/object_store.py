"""Objects in S3, Google Cloud Storage and Azure: listed, asked for their version, downloaded.

Belongs here: all that speaks to a store, and its errors in a person's words. Credentials come from
the environment alone, as each store's own tools take them, and stand in no message. What stands
after `scheme://bucket/` is the key itself, not percent-encoded.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import pyarrow.fs as pafs

from spanner_pipeline.errors import SourceFileError

CHUNK_BYTES = 8 << 20

_CONNECT_SECONDS, _REQUEST_SECONDS = 10, 60

_SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_CLIENT_SECRET",
)
_SETTINGS = (
    *_SECRETS,
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AZURE_STORAGE_ACCOUNT",
    "GOOGLE_APPLICATION_CREDENTIALS",
)

_PASSING = re.compile(
    r"NETWORK_CONNECTION|SLOW_DOWN|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|THROTTLING|REQUEST_TIMEOUT"
    r"|HTTP status (5\d\d|408|429)|time[d ]*out|UNAVAILABLE|DEADLINE|Could ?n.t (connect|resolve)"
    r"|Internal Server Error",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT|EXPIRED|INVALID_CLIENT_TOKEN|HTTP status "
    r"40[13]|PERMISSION_DENIED|UNAUTHENTICATED|Authori[sz]ation|Forbidden|AuthenticationFailed"
    r"|credential",
    re.IGNORECASE,
)
_ELSEWHERE = re.compile(r"HTTP status 30\d|AuthorizationHeaderMalformed|PermanentRedirect")


class StoreNotReadyError(ConnectionError):
    """A store gave no answer, or an object changed while it was read: another try may succeed."""


@dataclass(frozen=True)
class Version:
    """One version of an object: what its store calls it, its bytes, and when it was written.

    Attributes:
        tag: The entity tag, which changes with the content.
        size: Bytes.
    """

    tag: str
    size: int


def list_objects(pattern: str) -> Iterator[tuple[str, int, int]]:
    """Find the objects that a URL pattern matches: URL, bytes, nanoseconds since 1970 of writing.

    `*` and `?` stand for anything but a slash, `**/` for any folders, as in local patterns.

    Raises:
        SourceFileError: When the store gives no answer, refuses, or has no such bucket.
    """
    bucket, key = _split(pattern)
    fixed = re.split(r"[*?\[]", key, maxsplit=1)[0]
    folder = fixed.rpartition("/")[0]
    matching = _key_matcher(key)
    with _told(pattern):
        store = _store(pattern)
        if fixed == key:
            found = [store.get_file_info(f"{bucket}/{key}")]
        else:
            rest = key[len(folder) :].lstrip("/")
            base = f"{bucket}/{folder}" if folder else bucket
            selector = pafs.FileSelector(base, allow_not_found=True, recursive="/" in rest)
            found = store.get_file_info(selector)
        found = [info for info in found if info.type == pafs.FileType.File]
        if not found and store.get_file_info(bucket).type == pafs.FileType.NotFound:
            raise SourceFileError(
                pattern, f"there is no bucket {bucket}.", "correct `files`, or make the bucket."
            )
    start = pattern[: len(pattern) - len(key)]
    for info in found:
        name = info.path[len(bucket) + 1 :]
        if matching.fullmatch(name):
            yield start + name, info.size, info.mtime_ns


def version_of(url: str) -> Version | None:
    """Ask for the version of an object; None where there is none.

    Raises:
        SourceFileError: When the store gives no answer or refuses.
    """
    with _told(url):
        try:
            return _opened(url)[1]
        except FileNotFoundError:
            return None


def download(url: str, version: Version, to: Path | None) -> str:
    """Read one version of an object, chunk by chunk; return its SHA-256 in hexadecimal.

    Args:
        url: The object.
        version: The version that is meant.
        to: The file to write; None where only the digest is wanted.

    Raises:
        SourceFileError: When the store gives no answer or refuses, or has another version by now.
    """
    digest, size = hashlib.sha256(), 0
    with _told(url), (to or Path(os.devnull)).open("wb") as out:
        stream, before = _opened(url)
        with stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                out.write(chunk)
                size += len(chunk)
        if not before == _opened(url)[1] == version or size != version.size:
            raise changed(url)
    return digest.hexdigest()


@contextmanager
def opened(url: str) -> Iterator[pafs.NativeFile]:
    """An object to read from, here and there.

    Raises:
        SourceFileError: When the store gives no answer or refuses.
    """
    with _told(url), _opened(url)[0] as stream:
        yield stream


def delta_options() -> dict[str, str]:
    """What delta-rs has to be told beside the environment, which it reads itself."""
    said = dict(_settings())
    endpoint = said.get("AWS_ENDPOINT_URL_S3") or said.get("AWS_ENDPOINT_URL")
    if endpoint is None:
        return {}
    plain = str(endpoint.startswith("http://")).lower()
    return {"aws_endpoint": endpoint, "aws_allow_http": plain}


def changed(url: str) -> SourceFileError:
    """The error of an object that is not what it was when it was listed."""
    error = SourceFileError(
        url,
        "changed between listing and reading.",
        "import the partition again when nobody writes the object any more.",
    )
    error.__cause__ = StoreNotReadyError("the object changed")
    return error


def _opened(url: str) -> tuple[pafs.NativeFile, Version]:
    store, (bucket, key) = _store(url), _split(url)
    stream = store.open_input_file(f"{bucket}/{key}")
    said = {name.lower(): value for name, value in (stream.metadata() or {}).items()}
    return stream, Version(said.get("etag", b"").decode(), stream.size())


def _split(url: str) -> tuple[str, str]:
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket.partition("@")[0], key


def _store(url: str) -> pafs.FileSystem:
    return _make_store(url.partition("://")[0], url.split("/")[2], _settings())


def _settings() -> tuple[tuple[str, str], ...]:
    return tuple((name, os.environ[name]) for name in _SETTINGS if os.environ.get(name))


@lru_cache(maxsize=16)
def _make_store(scheme: str, place: str, settings: tuple[tuple[str, str], ...]) -> pafs.FileSystem:
    said = dict(settings)
    if scheme == "s3":
        endpoint = said.get("AWS_ENDPOINT_URL_S3") or said.get("AWS_ENDPOINT_URL")
        region = said.get("AWS_REGION") or said.get("AWS_DEFAULT_REGION")
        if region is None:
            region = "us-east-1" if endpoint else pafs.resolve_s3_region(place)
        return pafs.S3FileSystem(
            region=region,
            endpoint_override=endpoint,
            connect_timeout=_CONNECT_SECONDS,
            request_timeout=_REQUEST_SECONDS,
        )
    if scheme == "gs":
        return pafs.GcsFileSystem(retry_time_limit=timedelta(seconds=_REQUEST_SECONDS))
    account = place.partition("@")[2].partition(".")[0] or said.get("AZURE_STORAGE_ACCOUNT", "")
    if not account:
        raise ValueError("no account: write container@account, or set AZURE_STORAGE_ACCOUNT")
    key, token = said.get("AZURE_STORAGE_KEY"), said.get("AZURE_STORAGE_SAS_TOKEN")
    return pafs.AzureFileSystem(account, account_key=key, sas_token=None if key else token)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Say what went wrong with a store in a person's words."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceFileError(url, "is not there.", "put it there, or correct `files`.") from error
    except (OSError, ValueError) as error:
        why = without_secrets(str(error).splitlines()[0][:300]).rstrip(".")
        raise _explained(url, why) from (StoreNotReadyError(why) if _may_pass(why) else None)


def _may_pass(why: str) -> bool:
    return _PASSING.search(why) is not None and _REFUSED.search(why) is None


def _explained(url: str, why: str) -> SourceFileError:
    if _may_pass(why):
        return SourceFileError(
            url, f"the object store gives no answer: {why}.", "try again; is the endpoint right?"
        )
    if _ELSEWHERE.search(why):
        remedy = "set AWS_REGION to the bucket's region, or unset it to have it looked up."
        return SourceFileError(url, f"the bucket is in another region: {why}.", remedy)
    if _REFUSED.search(why):
        remedy = "check the credentials in the environment, and that they may list and read there."
        return SourceFileError(url, f"the object store refuses: {why}.", remedy)
    return SourceFileError(url, f"cannot be read: {why}.", "check the URL and the environment.")


def without_secrets(text: str) -> str:
    """A text without the secrets of the environment."""
    for name in _SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, f"<{name}>")
    return text


_WILDCARD = re.compile(r"(\*\*/|\*+|\?|\[!?\]?[^\]]*\])")


def _key_matcher(pattern: str) -> re.Pattern[str]:
    """What a glob pattern matches of keys; as with local files, `*` begins no hidden name."""
    wildcards = {"**/": r"(?:(?!\.)[^/]+/)*", "**": ".*", "?": "[^/]"}
    text, before = "", ""
    for piece in _WILDCARD.split(pattern):
        if piece.startswith("[") and piece.endswith("]"):
            inside = piece[1:-1].replace("\\", r"\\").replace("[", r"\[")
            text += f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
        elif piece == "*":
            text += ("" if before and not before.endswith("/") else r"(?!\.)") + "[^/]*"
        else:
            text += wildcards.get(piece, re.escape(piece))
        before = piece or before
    return re.compile(text, re.DOTALL)
