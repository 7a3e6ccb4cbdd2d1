"""Rules about people: that those who must be asked can hear of it, and nobody hears twice.

Here: notifications and approval. Not here: what is sent (notifications/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from recsys_assets.config_rules.rule import rule

if TYPE_CHECKING:
    from recsys_assets.settings import Settings


def same_receiver(url: str) -> str:
    """One text for all ways to write one address: case of the host, the scheme's own port, a trailing slash."""
    parts = urlsplit(url)
    own = {"http": 80, "https": 443}.get(parts.scheme.lower())
    port = "" if parts.port in {None, own} else f":{parts.port}"
    return f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}{port}{parts.path.rstrip('/')}?{parts.query}"


@rule("No receiver is named twice", "notifications.webhooks.url")
def receivers_differ(settings: Settings) -> Iterator[str]:
    urls = [webhook.url for webhook in settings.notifications.webhooks]
    for number, url in enumerate(urls):
        first = next(n for n, other in enumerate(urls) if same_receiver(other) == same_receiver(url))
        if first < number:
            yield (
                f"notifications.webhooks[{first}].url and notifications.webhooks[{number}].url are one address: "
                "one entry lists all of its events"
            )


@rule("A receiver lists an event once", "notifications.webhooks.events", warning=True)
def events_are_listed_once(settings: Settings) -> Iterator[str]:
    for number, webhook in enumerate(settings.notifications.webhooks):
        for event in sorted({e for e in webhook.events if webhook.events.count(e) > 1}):
            yield f"notifications.webhooks[{number}].events lists {event} twice: once is enough"


@rule(
    "Somebody hears that a release waits for an approval",
    "rollout.plan.needs_approval",
    "notifications.webhooks.events",
    warning=True,
)
def approvals_are_heard_of(settings: Settings) -> Iterator[str]:
    webhooks = settings.notifications.webhooks
    if not settings.rollout.plan.needs_approval or any("approval_asked" in of.events for of in webhooks):
        return
    why = "no receiver lists approval_asked" if webhooks else "there is no receiver"
    yield (
        f"rollout.plan.needs_approval true, but of notifications.webhooks {why}: a release waits until somebody looks "
        "into the UI or at `recsys-assets status`"
    )


@rule("On a cluster links lead to people's Dagster", "platform", "notifications.ui_url", warning=True)
def links_lead_somewhere(settings: Settings) -> Iterator[str]:
    host = urlsplit(settings.ui_url).hostname or ""
    if settings.platform == "kubernetes" and settings.notifications.webhooks and re.match(r"127\.|localhost", host):
        yield f"notifications.ui_url is not set on platform kubernetes: links would lead to {settings.ui_url}"
