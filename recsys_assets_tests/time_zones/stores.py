"""What the processes of the zones write into every other store, and read back from it.

Here: the product's own writers and readers, called with one moment. Not here: a zone, or a test; the online store
(online.py).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from recsys_assets.interactions.contract import Rule, Violation
from recsys_assets.interactions.quarantine import quarantine, read_quarantine
from recsys_assets.interactions.reader import event_times, read_interactions
from recsys_assets.interactions.sources import SourceFile
from recsys_assets.notifications.outbox import Message, Outbox
from recsys_assets.platform.local.rotation import rotate
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.records import Phase
from recsys_assets.resources.tables import TablesResource
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.ledger_postgres import PostgresBook
from recsys_assets.rollout.route import read_route, virtual_service
from recsys_assets.serving.appendlog import AppendLog
from recsys_assets.serving.collecting import exposure_rows, feedback_rows, marked
from recsys_assets.serving.exposures import exposure_line
from recsys_assets.serving.feedback_protocol import Event, feedback_line
from recsys_assets.serving.ladder import Answer
from recsys_assets.serving.logs import read_exposures, read_feedback
from recsys_assets.serving.tokens import add
from recsys_assets.settings import InteractionSource, load_settings
from recsys_assets_tests.rollout.build import route

_COLUMNS = {"user_id": "u", "item_id": "i", "event_time": "t"}


def write(folder: str, ledger: str, at: datetime) -> None:
    """Everything that bears a moment, written at `at`."""
    home = Path(folder)
    answer = Answer("u", ("a",), (1.0,), "full")
    line = exposure_line(
        answer, request_id="r", served_at=at, visitor_id="v", model_version="2", variant="canary", latency_ms=1.0
    )
    event = Event(event_id="e", request_id="r", item_id="a", event_type="click")
    for name, text in {"exposures": line, "feedback": feedback_line(event, at)}.items():
        (home / name).mkdir()
        AppendLog(home / name / "log.jsonl").append(text)
    tables = TablesResource(root=str(home / "tables"))
    tables.append("exposures", exposure_rows(read_exposures(home / "exposures")))
    tables.append("feedback", feedback_rows(read_feedback(home / "feedback")))
    for book in (home / "ledger.db", PostgresBook(ledger)):
        Ledger(book).append("paused", release_id=home.name, actor="ann", at=at, key=home.name, body={})
    (home / "day.csv").write_text("u\n1\n", encoding="utf-8")
    broken = Violation("day.csv", Rule.SCHEMA, "no item")
    quarantine(home, SourceFile(str(home / "day.csv"), "d1", 4, at.date()), [broken], days=[at.date()], at=at)
    state = replace(route(Phase.SHADOW), entered_at=at, deadline=at, lease=at)
    ManifestStore(home / "manifests.db", now=lambda: at).apply(virtual_service(state), expected=None)
    outbox = Outbox(home / "outbox.db")
    outbox.put("hook", [Message("k", 1, b"{}", 0)], position=1)
    outbox.put_off("hook", "k", until=at, error="away")
    add(home / "tokens.json", "shop", now=at)
    (home / "gateway").mkdir()
    (home / "gateway" / "access.jsonl").write_text("{}\n", encoding="utf-8")
    rotate(home / "gateway", most_bytes=1, most_files=9, now=at, reopen=lambda: True)
    seconds = int(at.timestamp())
    pl.DataFrame({"u": ["a"], "i": ["b"], "t": [at]}).write_parquet(home / "zoned.parquet")
    pl.DataFrame({"u": ["a"], "i": ["b"], "t": [at.replace(tzinfo=None)]}).write_parquet(home / "bare.parquet")
    (home / "iso.csv").write_text(f"u,i,t\na,b,{at:%Y-%m-%dT%H:%M:%S}\n", encoding="utf-8")
    (home / "seconds.csv").write_text(f"u,i,t\na,b,{seconds}\n", encoding="utf-8")


def read(folder: str, ledger: str, at: datetime) -> dict[str, Any]:
    """What another process wrote, as texts; all of it is `at`, or its day."""
    home = Path(folder)
    tables = TablesResource(root=str(home / "tables"))
    since, until = at - timedelta(seconds=1), at + timedelta(seconds=1)
    made = ManifestStore(home / "manifests.db").list("VirtualService")[0]
    state, standing = read_route(made), Outbox(home / "outbox.db").standing("hook")
    assert standing is not None
    assert standing.next_at is not None
    moments = {
        "exposure log": read_exposures(home / "exposures", since)["served_at"][0],
        "feedback log": read_feedback(home / "feedback", since)["received_at"][0],
        "exposures": tables.read("exposures")["served_at"][0],
        "feedback": tables.read("feedback")["received_at"][0],
        "ledger": Ledger(home / "ledger.db").events(home.name)[0].at,
        "ledger on Postgres": Ledger(PostgresBook(ledger)).events(home.name)[0].at,
        "quarantine": datetime.fromisoformat(read_quarantine(home)[0].at),
        "manifest": datetime.fromisoformat(made["metadata"]["creationTimestamp"]),
        "route entered": state.entered_at,
        "route deadline": state.deadline,
        "route lease": state.lease,
        "outbox": standing.next_at,
    }
    days = {
        "day of exposures": tables.days("exposures"),
        "day of feedback": tables.days("feedback"),
        "day of the quarantine": list(read_quarantine(home)[0].days),
    }
    for name in ("zoned.parquet", "bare.parquet", "iso.csv", "seconds.csv"):
        unit = "s" if name.startswith("seconds") else "iso"
        source = InteractionSource(paths=(str(home / name),), columns=_COLUMNS, time_unit=unit)
        rows = read_interactions(load_settings(home=home), source, start=at.date())
        first, last = event_times(home / name, source)
        moments |= {name: rows["event_time"][0], f"first of {name}": first, f"last of {name}": last}
        days[name] = rows["day"].to_list()
    condition = marked("2", since, until)
    return {
        "moments": {name: found.isoformat() for name, found in moments.items()},
        "days": {name: [day.isoformat() for day in found] for name, found in days.items()},
        "marked": tables.scan("exposures").sql(f"SELECT count(*) n FROM self WHERE {condition}").collect()["n"][0],
        "moved aside": [path.name for path in (home / "gateway").iterdir()],
    }
