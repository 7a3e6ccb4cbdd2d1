"""Whom to tell, out of the settings: each webhook with a name that keeps its address's secrets.

Here: ids, secrets read from their files, errors at the start. Not here: sending.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from recsys_assets.errors import UserFacingError
from recsys_assets.notifications.signature import read_secret
from recsys_assets.settings import ConfigError, NotifiedEvent, Settings


class SecretUnusable(UserFacingError, ValueError):  # noqa: N818
    """The secret file cannot be used; the message names the file and what is wrong, never what is in it."""


@dataclass(frozen=True)
class Receiver:
    """One webhook. `name` may be told anywhere: paths and queries of such addresses are often secrets themselves."""

    url: str
    events: frozenset[NotifiedEvent]
    timeout_seconds: float
    secret_file: Path | None = None

    @property
    def id(self) -> str:
        """Stable for as long as the address is."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc} ({self.id})"

    def secret(self) -> bytes | None:
        """Read each time, so that a new one counts at once."""
        return None if self.secret_file is None else _secret(self.secret_file)


def receivers(settings: Settings) -> list[Receiver]:
    """Every configured webhook. Raises ConfigError naming every secret that cannot be used."""
    found = [
        Receiver(
            url=webhook.url,
            events=frozenset(webhook.events),
            timeout_seconds=webhook.timeout_seconds,
            secret_file=None if webhook.secret_file is None else Path(settings.resolve(webhook.secret_file)),
        )
        for webhook in settings.notifications.webhooks
    ]
    errors = []
    for number, receiver in enumerate(found):
        try:
            receiver.secret()
        except SecretUnusable as broken:
            errors.append(f"  - {settings.config_file}: notifications.webhooks.{number}.secret_file: {broken}")
    if errors:
        raise ConfigError("\n".join([f"{len(errors)} error(s) in the configuration:", *errors]))
    return found


def _secret(path: Path) -> bytes:
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SecretUnusable(f"{path} may be read by others; `chmod 600` it")
        return read_secret(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as broken:
        raise SecretUnusable(f"{path} cannot be read: {type(broken).__name__}") from None
    except SecretUnusable:
        raise
    except ValueError as broken:
        raise SecretUnusable(f"{path} {broken}") from None
