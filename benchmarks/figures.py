"""Every figure that a page shows, written into it from the results: `make figures`.

Here: the marks in a page, and writing between them. Not here: a figure's words (figure_rows.py, safety_page.py), or its
age (measured.py). In a page: `<!-- figure NAME -->...<!-- /figure -->`, over lines or within one.
`python -m benchmarks.figures` writes; `--check` writes nothing and exits 1 where a page differs.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Final

from benchmarks import safety_page
from benchmarks.figure_rows import FIGURES

REPOSITORY: Final = Path(__file__).parents[1]
PAGES: Final = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/drills.md", "docs/feedback.md", "docs/safety.md")
_MARKED = re.compile(r"<!-- figure (\w+) -->(\n?).*?<!-- /figure -->", re.DOTALL)


def written(text: str) -> str:
    """The page with every figure as the results have it now. ValueError for a name that nobody writes."""

    def one(match: re.Match[str]) -> str:
        name, line = match[1], match[2]
        if name not in FIGURES:
            raise ValueError(f"no figure {name}; there are {', '.join(FIGURES)}")
        return f"<!-- figure {name} -->{line}{FIGURES[name]()}{line}<!-- /figure -->"

    found = _MARKED.sub(one, text)
    return safety_page.written(found, safety_page.table()) if safety_page.BEGIN in found else found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page differs")
    check = parser.parse_args(argv).check
    older = []
    for page in PAGES:
        path = REPOSITORY / page
        before = path.read_text(encoding="utf-8")
        after = written(before)
        if before != after:
            older.append(page)
            if not check:
                path.write_text(after, encoding="utf-8")
    for page in older:
        print(f"{page}: {'differs from the results: `make figures`' if check else 'written'}")
    return 1 if check and older else 0


if __name__ == "__main__":
    sys.exit(main())
