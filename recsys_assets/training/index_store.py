"""Where the candidate indexes of a training stand on disk, one folder for one set of pins.

Here: folders. Not here: what is in an index.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.settings import TrainingSettings
from recsys_assets.training.pins import NotReady, Pins

FITS = ("holdout", "release")
KEPT = 3
MADE_FROM = ("interactions", "items", "users", "exposures", "feedback")


def index_folder(home: Path, pins: Pins, settings: TrainingSettings) -> Path:
    """Named by what the indexes were made from, so that other data or settings never overwrite it."""
    versions = "/".join(str(pins.tables.get(name)) for name in MADE_FROM)
    made_from = f"{versions}/{settings.model_dump_json()}"
    return home / "candidate_index" / f"{pins.as_of:%Y%m%d}-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"


def save_indexes(indexes: Mapping[str, CandidateIndex], folder: Path) -> None:
    """Write both aside and rename; keep the newest few folders."""
    draft = folder.with_name(f".draft-{folder.name}")
    for stale in (draft, folder):
        if stale.exists():
            shutil.rmtree(stale)
    for name in FITS:
        indexes[name].save(draft / name)
    draft.rename(folder)
    others = sorted((f for f in folder.parent.iterdir() if f != folder), key=lambda f: f.stat().st_mtime)
    for old in others[: -(KEPT - 1)]:
        shutil.rmtree(old)


def load_indexes(folder: Path) -> dict[str, CandidateIndex]:
    """Both indexes, or NotReady where none were made from these pins and settings."""
    if not folder.exists():
        raise NotReady(f"no candidate index of these tables and settings at {folder}: materialize candidate_index")
    return {name: CandidateIndex.load(folder / name) for name in FITS}
