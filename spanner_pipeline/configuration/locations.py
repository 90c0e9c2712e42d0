"""Where files are, as declared: a path below the data root, or the URL of a store or a database.

Belongs here: what a location may say. Not here: listing or reading it (`sources`).
"""

from __future__ import annotations

import re

from spanner_pipeline.configuration.values import MistakesError

STORES = ("s3", "gs", "abfs", "abfss")
"""The schemes of the object stores that files can lie in."""

DATABASES = {
    "postgresql": ("host", "port", "sslmode", "sslrootcert", "target_session_attrs"),
    "mysql": ("ssl-mode", "ssl-ca"),
}
"""The schemes of the databases that tables can lie in, and the settings that their URLs take."""

TLS_MODES = ("PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
"""What `ssl-mode` may be, as MySQL names it: the first where none is said."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SIGNED = re.compile(
    r"[?&](x-amz-|x-goog-|signature=|awsaccesskeyid=|googleaccessid=|sig=|s[evprt]=)", re.IGNORECASE
)
_SERVER = re.compile(
    r"([^:@/?#]+@)?([^:@/?#]*|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?/[^/?#]+(\?(?P<settings>[^#]*))?"
)
_PATTERN = re.compile(r"[*?\[{]")


def is_url(location: str) -> bool:
    """Whether a location is the URL of an object store or a database, not a path."""
    return _SCHEME.match(location) is not None


def is_database(location: str) -> bool:
    """Whether a location is the URL of a database."""
    return location.partition("://")[0] in DATABASES and is_url(location)


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
    if scheme in DATABASES:
        return _database_mistake(scheme, rest)
    if scheme not in STORES:
        known = ", ".join((*STORES, *DATABASES))
        return f"no files are read by {scheme}://. Use a path, or {known}://."
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


def _database_mistake(scheme: str, rest: str) -> str:
    user, at, _ = rest.rpartition("@")
    if (at and ":" in user) or re.search(r"pass(word|file)?=", rest, re.IGNORECASE):
        return (
            "holds a password. Take it out of the URL, and give it in the environment: PGPASSWORD, "
            "MYSQL_PWD, or a variable that `password_env` names."
        )
    server = _SERVER.fullmatch(rest)
    if server is None or _PATTERN.search(rest.partition("?")[0].replace("[", "", 1)):
        return f"must name one database: {scheme}://user@host/database"
    given = dict(one.partition("=")[::2] for one in (server["settings"] or "").split("&") if one)
    if unknown := [name for name in given if name not in DATABASES[scheme]]:
        return f"takes no setting {unknown[0]}. Known are {', '.join(DATABASES[scheme])}."
    if given.get("ssl-mode", TLS_MODES[0]) not in TLS_MODES:
        return f"has an ssl-mode that is none of {', '.join(TLS_MODES)}."
    return ""
