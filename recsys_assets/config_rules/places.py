"""Rules about paths: which schemes and notations are understood where.

Here: texts. Not here: whether anything lies there (files.py), or opening it (interactions/sources.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from recsys_assets.config_rules.rule import rule

if TYPE_CHECKING:
    from recsys_assets.settings import Settings

# `gs://bucket`, and `s3:/bucket` and `C:\folder`, which a hand leaves behind.
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/*)")
_BRACES: Final = re.compile(r"\{(?!home\})[^}]*\}?")
_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/].*")
REMOTE: Final = "supported are a local path (absolute, relative to the config file, or with {home}) and s3://bucket/key"
LOCAL: Final = "supported is a local path (absolute, relative to the config file, or with {home})"


def data_places(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every place of data, with the setting that names it."""
    data, future = settings.data, settings.traffic.future
    yield from ((f"data.interactions.paths[{n}]", path) for n, path in enumerate(data.interactions.paths))
    yield from ((f"data.{name}.path", of.path) for name, of in (("items", data.items), ("users", data.users)) if of)
    yield from ((f"traffic.future.paths[{n}]", path) for n, path in enumerate(future.paths if future else ()))


def local_places(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every place of a file that is read on this machine, with the setting that names it."""
    named = {
        "collector.tokens_file": settings.collector.tokens_file,
        "traffic.token_file": settings.traffic.token_file,
    }
    for number, webhook in enumerate(settings.notifications.webhooks):
        named[f"notifications.webhooks[{number}].secret_file"] = webhook.secret_file
    yield from ((name, path) for name, path in named.items() if path is not None)


@rule(
    "Data lie in local files or on s3://; other schemes and notations are not understood",
    "data.interactions.paths",
    "data.items.path",
    "data.users.path",
    "traffic.future.paths",
)
def data_places_are_understood(settings: Settings) -> Iterator[str]:
    for name, path in data_places(settings):
        if wrong := misread(path, remote=True):
            yield f"{name} {path!r}: {wrong}; {REMOTE}"


@rule(
    "Secrets and tokens lie in local files",
    "collector.tokens_file",
    "traffic.token_file",
    "notifications.webhooks.secret_file",
)
def local_places_are_understood(settings: Settings) -> Iterator[str]:
    for name, path in local_places(settings):
        if wrong := misread(path, remote=False):
            yield f"{name} {path!r}: {wrong}; {LOCAL}"


@rule("The home folder is a local one", "RECSYS_HOME")
def home_is_local(settings: Settings) -> Iterator[str]:
    parts = settings.home.parts
    odd = next((p for p in parts if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:", p) or p.startswith("~") or "\\" in p), "")
    if odd:
        yield f"RECSYS_HOME {str(settings.home)!r} holds {odd!r}: name a local folder, with its whole path"


@rule("The collector's hashes and the replay's token are two files", "collector.tokens_file", "traffic.token_file")
def token_files_differ(settings: Settings) -> Iterator[str]:
    token = settings.traffic.token_file
    if token is not None and settings.resolve(token) == str(settings.collector_tokens_file):
        yield (
            f"traffic.token_file {token!r} is the file of collector.tokens_file: "
            "one holds a client's token, the other the hashes of all of them; name another file"
        )


def misread(path: str, *, remote: bool) -> str:
    """Why a path would be taken for something else than was meant; empty where it would not."""
    if not path.strip() or path != path.strip() or "\x00" in path:
        return "is blank, or begins or ends with a blank"
    if path.startswith("~"):
        return "~ is not filled in; write the whole path"
    if "$" in path or re.search(r"%\w+%", path):
        return "variables are not filled in, only {home} is"
    if found := _BRACES.search(path):
        return f"{found[0]!r} is not filled in, only {{home}} is; for alternatives list several paths"
    return _misread_scheme(path, remote=remote)


def _misread_scheme(path: str, *, remote: bool) -> str:
    found = _SCHEME.match(path)
    if "\\" in path or (found and len(found[1]) == 1):
        return "is a path of Windows; the product runs on Linux, where folders are parted by /"
    if found is None:
        return "a scheme must come first" if "://" in path else ""
    scheme, slashes = found[1], found[2]
    if not slashes and scheme.lower() != "s3":
        return ""  # a file name with a colon in it
    if scheme.lower() != "s3":
        return f"the scheme {scheme}:// is not supported"
    if not remote:
        return "the scheme s3:// is not supported here"
    return "" if _BUCKET.fullmatch(path) else "is not s3://bucket/key in small letters, with a bucket's name and a key"
