"""Everything with a moment in it is written in one time zone and read in another: the moment stays what it is.

Here: logs, tables, both ledgers, the quarantine, manifests, the outbox, tokens, and files of events. Not here: the
online store (test_online_store.py).
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from recsys_assets_tests.time_zones import stores
from recsys_assets_tests.time_zones.zones import ASCII_LOCALE, MOMENTS, process

# The locale knows no UTF-8 as well; both zones are without some of the moments.
HERE, THERE = {"TZ": "America/Havana"} | ASCII_LOCALE, {"TZ": "Pacific/Apia"}


@pytest.mark.parametrize(("writer", "reader"), [(HERE, THERE), (THERE, HERE)], ids=["west to east", "east to west"])
def test_every_moment_and_its_day_are_read_as_they_were_written(
    writer: dict[str, str], reader: dict[str, str], tmp_path: Path, database: str
) -> None:
    folders = {at: tmp_path / f"{at:%Y%m%dt%H%M}" for at in MOMENTS}
    with process(writer) as run:
        for at, folder in folders.items():
            folder.mkdir()
            run(stores.write, str(folder), database, at)
    with process(reader) as run:
        found = {at: run(stores.read, str(folder), database, at) for at, folder in folders.items()}
    for at, folder in folders.items():
        assert found[at] == {
            "moments": dict.fromkeys(found[at]["moments"], at.isoformat()),
            "days": {name: [f"{at:%Y-%m-%d}"] for name in found[at]["days"]},
            "marked": 1,
            "moved aside": [f"access-{at:%Y%m%dT%H%M}00000000.jsonl"],
        }
        assert (len(found[at]["moments"]), len(found[at]["days"])) == (24, 7)
        token = json.loads((folder / "tokens.json").read_bytes())["tokens"][0]
        assert datetime.fromisoformat(token["created_at"]) == at
