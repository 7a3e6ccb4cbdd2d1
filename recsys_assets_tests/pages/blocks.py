"""The fenced blocks of the pages that people read, and the commands in them with the output that is shown.

Here: reading Markdown and telling where a command ends. Not here: which command is run where (plan.py).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "cluster/README.md",
    *sorted(path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "docs").rglob("*.md")),
)
# `sh` is commands only; in `console` they follow a `$`, and output follows them; in the others there are none.
LANGUAGES = frozenset({"sh", "console", "text", "yaml", "json", "python"})
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*'?(\w+)'?")


@dataclass(frozen=True)
class Block:
    """One fenced block: its page, its language and its lines."""

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command of a page, as a reader copies it, and what the page shows below it."""

    page: str
    line: int
    text: str
    shown: str = ""


@cache
def blocks() -> tuple[Block, ...]:
    return tuple(found for page in PAGES for found in of_page(page, (REPOSITORY / page).read_text(encoding="utf-8")))


def of_page(page: str, text: str) -> Iterator[Block]:
    for match in _BLOCK.finditer(text):
        yield Block(page, text[: match.start()].count("\n") + 2, match[1], match[2])


def commands() -> list[Command]:
    """Every command of every page, in the order of the pages."""
    return [command for block in blocks() for command in of_block(block)]


def of_block(block: Block) -> Iterator[Command]:
    if block.language not in {"sh", "console"}:
        return
    lines = block.text.splitlines()
    at = 0
    while at < len(lines):
        prompt = lines[at].startswith("$ ")
        if (block.language == "console" and not prompt) or not lines[at].strip() or lines[at].startswith("#"):
            at += 1
            continue
        end = _end(lines, at)
        text = "\n".join(lines[at:end]).removeprefix("$ ")
        after = end
        while block.language == "console" and after < len(lines) and not lines[after].startswith("$ "):
            after += 1
        yield Command(block.page, block.line + at, text, "\n".join(lines[end:after]).strip("\n"))
        at = after


def _end(lines: Sequence[str], start: int) -> int:
    """Where the command that begins at `start` is complete: its last line and one."""
    for end in range(start + 1, len(lines) + 1):
        text = "\n".join(lines[start:end]).removeprefix("$ ")
        awaits = _HEREDOC.search(text)
        closed = awaits is None or re.search(rf"^{awaits[1]}$", text, re.MULTILINE) is not None
        if closed and not text.endswith("\\") and _is_whole(text):
            return end
    raise AssertionError(f"no shell takes this: {lines[start]}")


def _is_whole(text: str) -> bool:
    return subprocess.run(["bash", "-n", "-c", text], capture_output=True, check=False).returncode == 0
