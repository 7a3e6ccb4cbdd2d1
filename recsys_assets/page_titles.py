"""The title of an HTML page that another library wrote.

Here: pure text. Not here: the page, or where it is served (serving/report_pages.py).
"""

from __future__ import annotations

import re
from html import escape
from typing import Final

_TITLE: Final = re.compile(r"<title[^>]*>.*?</title>", re.IGNORECASE | re.DOTALL)
_HEAD: Final = re.compile(r"<head[^>]*>", re.IGNORECASE)
_BODY: Final = re.compile(r"<body[^>]*>", re.IGNORECASE)


class NoBodyError(ValueError):
    """The page has no <body> to put anything into."""


def with_title(page: str, title: str) -> str:
    """The page with exactly this title, whatever it was called before."""
    tag = f"<title>{escape(title)}</title>"
    bare = _TITLE.sub("", page)
    head = _HEAD.search(bare)
    if head is not None:
        return bare[: head.end()] + tag + bare[head.end() :]
    body = _BODY.search(bare)
    if body is None:
        raise NoBodyError("the page has no <body>")
    return f"{bare[: body.start()]}<head>{tag}</head>{bare[body.start() :]}"


def at_the_top(page: str, markup: str) -> str:
    """The page with this markup first in its body."""
    body = _BODY.search(page)
    if body is None:
        raise NoBodyError("the page has no <body>")
    return page[: body.end()] + markup + page[body.end() :]
