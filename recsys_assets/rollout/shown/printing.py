"""What `recsys-assets status` and `show` print, as lines.

Here: which words in which order. Not here: where a line breaks (layout.py), what they say (view.py), printing (cli.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from recsys_assets.platform.interface import PlatformError
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.ledger import Event
from recsys_assets.rollout.notices import notices
from recsys_assets.rollout.route import RouteBroken
from recsys_assets.rollout.shown.layout import Row, table, wrapped
from recsys_assets.rollout.shown.view import ReleaseView, by_ledger, every, of_release
from recsys_assets.rollout.story import digest_told, history, opening, verdict_rows


def terminal_width() -> int | None:
    """As wide as the terminal, or as COLUMNS says; None through a pipe, where no sentence is broken."""
    return shutil.get_terminal_size(fallback=(0, 0)).columns or None


class RouteUnread(RuntimeError):  # noqa: N818
    """The route cannot be read, so nobody knows what users get now. `lines` are what the ledger has."""

    def __init__(self, why: str, lines: list[str]) -> None:
        super().__init__(f"the route cannot be read, so this is only what the ledger has: {why}")
        self.lines = lines


def status_lines(desk: Desk, *, ui_url: str, width: int | None) -> list[str]:
    """A row for each release, oldest first, then what the one under way wants from people. Raises RouteUnread."""
    try:
        views = every(desk)
    except (PlatformError, RouteBroken) as broken:
        raise RouteUnread(str(broken), release_lines(by_ledger(desk), width=width)) from broken
    asked = [line for v in views[-1:] for line in notices(v, desk.ledger.events(v.release_id), ui_url=ui_url)]
    return release_lines(views, width=width) + [line for said in asked for line in _unless_copied(said, width)]


def _unless_copied(line: str, width: int | None) -> list[str]:
    """Commands and addresses are for copying: they are never broken."""
    return [line] if line.startswith("  ") else wrapped(line, indent=0, width=width)


def release_lines(views: Sequence[ReleaseView], *, width: int | None) -> list[str]:
    """Where each release is, why, and who saw what."""
    rows = [Row((v.release_id, v.version, v.phase.value, v.share), (v.why, f"seen: {v.who_saw}")) for v in views]
    return table(["release", "version", "phase", "share", "why"], rows, width=width) or ["no release yet"]


def show_lines(desk: Desk, release_id: str, *, width: int | None) -> list[str]:
    """One release: where it is now, its plan, its history, its verdicts. Raises LookupError and RouteUnread."""
    events = desk.ledger.events(release_id)
    try:
        view = of_release(desk, release_id)
    except (PlatformError, RouteBroken) as broken:
        raise RouteUnread(str(broken), history_lines(events, width=width)) from broken
    facts, plan = opening(events) if events else ([f"{release_id}: version {view.version}"], [])
    now = [
        f"  {view.phase.value} since {view.changed_at.isoformat(timespec='seconds')}, {view.share}",
        *wrapped(view.why, indent=4, width=width, label="why: "),
        *wrapped(view.who_saw, indent=4, width=width, label="seen: "),
    ]
    verdicts = table(["outcome", "check", "reason"], verdict_rows(view.verdicts), width=width)
    promised = table(["promised", "value", "meaning"], plan, width=width)
    blocks = [[*facts, *now, *_digest(desk, events, width)], promised, history_lines(events, width=width), verdicts]
    return [line for block in blocks if block for line in ("", *block)][1:]


def _digest(desk: Desk, events: Sequence[Event], width: int | None) -> list[str]:
    """Whether its digest may be released again; the command is never broken."""
    digest = next((str(e.body["digest"]) for e in events if e.body.get("digest")), "")
    if not digest:
        return []
    said, command = digest_told(desk.ledger, digest, desk.clock())
    return [*wrapped(said, indent=4, width=width), *([command] if command else [])]


def history_lines(events: Sequence[Event], *, width: int | None) -> list[str]:
    """The ledger's rows of one release."""
    return table(["at", "what", "canary", "by", "why"], history(events), width=width)
