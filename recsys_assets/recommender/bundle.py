"""A model bundle on disk: the recommender's files, golden requests, and a manifest of their SHA-256 digests.

Here: writing and checking. Not here: signing, deploying, loading a recommender from files nobody checked.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys_assets.recommender.profiles import UserProfile
from recsys_assets.recommender.recommender import Recommender

MANIFEST = "manifest.json"
GOLDEN = "golden.json"
SIGNATURE = "bundle.sig"
GOLDEN_REQUESTS = 8
GOLDEN_K = 10


class BundleError(ValueError):
    """The bundle is not what its manifest says; the message names the file and the rule."""


class Manifest(BaseModel):
    """What a bundle holds and where it comes from. `files` maps each file name to its SHA-256 (hex)."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str
    version: str
    as_of: datetime
    feature_names: tuple[str, ...]
    files: dict[str, str]
    table_versions: dict[str, int] = {}
    extra: dict[str, Any] = {}


class GoldenRequest(BaseModel):
    """One request with the answer that the trained recommender gave."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_id: str
    features: dict[str, float]
    recent_items: list[str]
    recent_times: list[float]
    k: int
    items: list[str]
    scores: list[float]

    def profile(self) -> UserProfile:
        """The profile that was asked with."""
        return UserProfile(self.user_id, self.features, tuple(self.recent_items), tuple(self.recent_times))


def write_bundle(
    recommender: Recommender, folder: Path, *, model_name: str, version: str, extra: dict[str, Any] | None = None
) -> str:
    """Write all files into an empty or absent folder, the manifest last; return the manifest's SHA-256.

    `extra` may hold `table_versions`, which becomes a field of its own; the rest stands under `extra`.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BundleError(f"{folder}: a bundle is written once, into an empty folder")
    recommender.save(folder)
    golden = [request.model_dump() for request in golden_requests(recommender)]
    (folder / GOLDEN).write_text(json.dumps(golden, ensure_ascii=False), encoding="utf-8")
    rest = dict(extra or {})
    manifest = Manifest(
        model=model_name,
        version=version,
        as_of=recommender.as_of,
        feature_names=recommender.feature_names,
        files={path.name: sha256(path) for path in sorted(folder.iterdir())},
        table_versions=rest.pop("table_versions", {}),
        extra=rest,
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    return bundle_digest(folder)


def check_bundle(folder: Path) -> Manifest:
    """Hash every file again; raise BundleError for a missing, extra or changed file. The signature may stand beside."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise BundleError(f"{MANIFEST}: missing in {folder}") from None
    except ValidationError as broken:
        raise BundleError(f"{MANIFEST}: not a manifest: {broken.errors()[0]['msg']}") from None
    present = {path.name for path in folder.iterdir()} - {MANIFEST, SIGNATURE}
    for name in sorted(manifest.files.keys() - present):
        raise BundleError(f"{name}: missing, but the manifest lists it")
    for name in sorted(present - manifest.files.keys()):
        raise BundleError(f"{name}: extra, the manifest does not list it")
    for name, digest in manifest.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{name}: must be a plain file")
        if (found := sha256(path)) != digest:
            raise BundleError(f"{name}: changed, sha256 is {found[:12]}..., the manifest says {digest[:12]}...")
    return manifest


def bundle_digest(folder: Path) -> str:
    """SHA-256 of the manifest, and by it of everything."""
    return sha256(folder / MANIFEST)


def golden_requests(recommender: Recommender, count: int = GOLDEN_REQUESTS) -> list[GoldenRequest]:
    """Known users spread over the id order, filled up with users without history; answered as of the bundle."""
    users = recommender.users()
    step = max(1, len(users) // max(count - 1, 1))
    profiles = [p for u in users[::step][: count - 1] if (p := recommender.profile(u)) is not None]
    profiles += [UserProfile(f"golden-stranger-{n}") for n in range(count - len(profiles))]
    answers = recommender.recommend_many(profiles, k=GOLDEN_K)
    return [
        GoldenRequest(
            user_id=p.user_id,
            features=dict(p.features),
            recent_items=list(p.recent_items),
            recent_times=list(p.recent_times),
            k=GOLDEN_K,
            items=a.items,
            scores=a.scores,
        )
        for p, a in zip(profiles, answers, strict=True)
    ]


def read_golden(folder: Path) -> list[GoldenRequest]:
    """The golden requests of a bundle that was checked."""
    raw = json.loads((folder / GOLDEN).read_text(encoding="utf-8"))
    return [GoldenRequest.model_validate(entry) for entry in raw]


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
