"""Turning a fault of a running model server on and off, as a person does it by a file.

Here: the file. Not here: what the server makes of it (serving/switch.py).
"""

from __future__ import annotations

import json
from pathlib import Path

from recsys_assets.serving.faults import Drill
from recsys_assets.serving.switch import switch_path


def switch_on(home: Path, service: str, drill: Drill, *, until: float | None = None) -> Path:
    """Turn the fault on in the running server of this service, at the latest until Unix time `until`."""
    path = switch_path(home, service)
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"fault": drill.fault, "share": drill.share, "seconds": drill.seconds}
    aside = path.with_suffix(".writing")
    aside.write_text(json.dumps(said if until is None else {**said, "until": until}), encoding="utf-8")
    return aside.replace(path)


def switch_off(home: Path, service: str) -> None:
    """Turn it off; done where it was off."""
    switch_path(home, service).unlink(missing_ok=True)
