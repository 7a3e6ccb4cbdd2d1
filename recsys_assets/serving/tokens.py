"""Who may report feedback: a file of client names, each with the SHA-256 of a token that was shown once.

Here: making, revoking and recognising tokens. Not here: HTTP, or the command line (token_cli.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys_assets.errors import UserFacingError

ANONYMOUS: Final = "anonymous"
_PREFIX: Final = "raf_"  # so that a token which was leaked into a text can be searched for


class TokensBroken(UserFacingError):  # noqa: N818
    """The file cannot be read, so nobody can be told from anybody else."""


class TokenNameTaken(ValueError):  # noqa: N818
    """A client of this name has a token; revoke it first."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created_at: datetime


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: tuple[_Entry, ...]


def add(path: Path, name: str, *, now: datetime) -> str:
    """A new token for this client, which is returned and kept nowhere."""
    token = _PREFIX + secrets.token_urlsafe(32)
    entry = _Entry(name=name, sha256=_hash(token), created_at=now)
    with _writing(path):
        there = _read(path) if path.exists() else ()
        if name in {known.name for known in there} or name == ANONYMOUS:
            raise TokenNameTaken(f"{name} has a token already; revoke it first")
        _write(path, (*there, entry))
    return token


def revoke(path: Path, name: str) -> bool:
    """Whether there was one. After the last one is gone nobody gets in: an empty file is not an open door."""
    if not path.exists():
        return False
    with _writing(path):
        there = _read(path)
        _write(path, [known for known in there if known.name != name])
    return name in {known.name for known in there}


def names(path: Path) -> list[str]:
    """The clients that have a token."""
    return sorted(known.name for known in _read(path)) if path.exists() else []


class TokenGate:
    """The file as it stands: read again when it changes. While there has never been one, everybody is `anonymous`."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._seen = path, (0, 0, 0)
        self._entries: tuple[_Entry, ...] | None = None
        self._look()

    @property
    def is_open(self) -> bool:
        return self._entries is None

    def client_of(self, authorization: str | None) -> str | None:
        """The client's name, or None for a stranger. TokensBroken while the file cannot be read."""
        self._look()
        if self._entries is None:
            return ANONYMOUS
        scheme, _, token = (authorization or "").partition(" ")
        given, found = _hash(token.strip()), None
        for entry in self._entries:  # all of them, so that the time tells nothing
            if hmac.compare_digest(entry.sha256, given):
                found = entry.name
        return found if scheme.lower() == "bearer" else None

    def _look(self) -> None:
        try:
            found = self._path.stat() if self._path else None
        except FileNotFoundError:
            found = None
        except OSError as unreadable:
            raise TokensBroken(f"{self._path}: {unreadable.strerror}") from None
        # A file that is taken away does not open the door of a process that runs.
        if found and self._path and (seen := (found.st_ino, found.st_mtime_ns, found.st_size)) != self._seen:
            self._entries = self._entries or ()
            self._entries, self._seen = _read(self._path), seen


def _hash(token: str) -> str:
    # A token is 256 random bits: a slow hash would protect nothing more.
    return hashlib.sha256(token.encode()).hexdigest()


def _read(path: Path) -> tuple[_Entry, ...]:
    try:
        return _File.model_validate_json(path.read_bytes()).tokens
    except ValidationError as broken:
        raise TokensBroken(f"{path}: {broken.error_count()} fault(s), not a file of tokens") from None
    except OSError as unreadable:
        raise TokensBroken(f"{path}: {unreadable.strerror}") from None


def _write(path: Path, entries: Sequence[_Entry]) -> None:
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_File(tokens=tuple(entries)).model_dump_json(indent=1).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """One writer at a time; readers see the file before or after it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
