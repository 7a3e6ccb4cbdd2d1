"""What was proven of a bundle, said by the promoter: a small signed statement beside the folder, never inside it.

Here: an in-toto statement in a DSSE envelope, made and verified. Not here: judging (the gates), or the bundle's own
signature (signing.py), which training made before anything was proven.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.signing import (
    ATTESTATION_SUFFIX,
    MANIFEST,
    RELEASE_KEY,
    BundleRefused,
    KeyMissing,
    canonical_base64,
    key_id,
    manifest_digest,
    private_key,
    public_key,
    verify_bundle,
    write_aside,
)

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://recsys-assets.dev/attestation/offline-gate/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_BYTES: Final = 1 << 18


class Unattested(BundleRefused):
    """Nobody has said that this bundle passed anything."""


class TamperedAttestation(BundleRefused):
    """The attestation is broken, or is not signed with the promoter's key."""


class WrongAttestation(BundleRefused):
    """The attestation is genuine, but speaks of another bundle, or of less than was asked for."""


class NotPassed(BundleRefused):
    """Not every gate said PASS about exactly this version."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class GateResult(_Part):
    """One gate's word. `measurements_sha256` is of the numbers it stood on, as `digest_of` writes them."""

    check: str
    outcome: Outcome
    reason: str
    measurements_sha256: str


class Predicate(_Part):
    """What was proven, of which model, from which data, by which code, and when."""

    model: str
    version: str
    run_id: str
    code_version: str
    table_versions: dict[str, int]
    feature_schema_sha256: str
    drill: str | None
    outcome: Outcome
    gates: tuple[GateResult, ...]
    made_at: AwareDatetime


class _Subject(_Part):
    name: str
    digest: dict[Literal["sha256"], str] = Field(min_length=1, max_length=1)


class Statement(_Part):
    """An in-toto statement about exactly one bundle."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[_Subject] = Field(min_length=1, max_length=1)
    predicate_type: Literal["https://recsys-assets.dev/attestation/offline-gate/v1"] = Field(alias="predicateType")
    predicate: Predicate


def attestation_path(bundle: Path) -> Path:
    """Where a bundle's attestation stands: beside the folder, which stays as it was signed."""
    return bundle.with_name(bundle.name + ATTESTATION_SUFFIX)


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of a value's one canonical JSON."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def attest(model: ModelVersion, gates: Mapping[str, Verdict], *, bundle: Path, keys: Path, at: datetime) -> Predicate:
    """Say that every gate passed for this bundle. What already says the same is left as it stands.

    Raises NotPassed where a gate did not pass, is about another version, or there is none at all.
    """
    _require_passes(model.version, gates)
    verify_bundle(bundle, public_key(keys), digest=model.bundle_digest)
    predicate = _predicate(model, gates, _manifest(bundle), at)
    path, private = attestation_path(bundle), private_key(keys, RELEASE_KEY)
    try:
        standing = verify_attestation(bundle, public_key(keys, RELEASE_KEY), model=model)
    except BundleRefused:
        standing = None
    if standing is not None and standing.model_copy(update={"made_at": at}) == predicate:
        return standing
    write_aside(path, _signed(_statement(model, predicate), private, public_key(keys, RELEASE_KEY)), mode=0o644)
    return predicate


def verify_attestation(
    bundle: Path,
    public: Path,
    *,
    path: Path | None = None,
    model: ModelVersion | None = None,
    checks: Collection[str] = (),
) -> Predicate:
    """Raise BundleRefused unless there is a genuine attestation that says PASS for exactly this bundle.

    Call it after `verify_bundle`: the manifest is read. `model` is the registry's record, where there is one to compare
    with; `checks` are the gates that must be among those that passed.
    """
    where = path or attestation_path(bundle)
    statement = _read(where, public)
    said = statement.predicate
    apart = [*_apart_from_bundle(statement, bundle), *_apart_from_record(said, model)]
    if apart:
        raise WrongAttestation(f"{where}: about another bundle: {'; '.join(apart)}")
    if lacking := sorted(set(checks) - {gate.check for gate in said.gates}):
        raise WrongAttestation(f"{where}: says nothing of {', '.join(lacking)}")
    failed = [f"{gate.check} {gate.outcome}" for gate in said.gates if gate.outcome is not Outcome.PASS]
    if said.outcome is not Outcome.PASS or failed or not said.gates:
        raise NotPassed(f"{where}: says {said.outcome}: {', '.join(failed) or 'no gate at all'}")
    return said


def vouch(model: ModelVersion, *, bundle: Path, keys: Path, checks: Collection[str] = ()) -> Predicate:
    """What the promoter asks before users may see a version: signature, digest and attestation against the record."""
    verify_bundle(bundle, public_key(keys), digest=model.bundle_digest)
    return verify_attestation(bundle, public_key(keys, RELEASE_KEY), model=model, checks=checks)


def _require_passes(version: str, gates: Mapping[str, Verdict]) -> None:
    bad = [
        f"{name}: {verdict.outcome} for version {verdict.model_version}: {verdict.reason}"
        for name, verdict in gates.items()
        if not verdict.passed or verdict.model_version != version
    ]
    if bad or not gates:
        raise NotPassed(f"version {version} is not attested: {'; '.join(bad) or 'there is no verdict'}")


def _predicate(
    model: ModelVersion, gates: Mapping[str, Verdict], manifest: Mapping[str, Any], at: datetime
) -> Predicate:
    return Predicate(
        model=model.name,
        version=model.version,
        run_id=model.run_id,
        code_version=model.code_version,
        table_versions=model.table_versions,
        feature_schema_sha256=digest_of(manifest["feature_names"]),
        drill=model.drill,
        outcome=Outcome.PASS,
        gates=tuple(
            GateResult(
                check=name,
                outcome=verdict.outcome,
                reason=verdict.reason,
                measurements_sha256=digest_of([json.loads(m.model_dump_json()) for m in verdict.measurements]),
            )
            for name, verdict in gates.items()
        ),
        made_at=at,
    )


def _statement(model: ModelVersion, predicate: Predicate) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": model.service_name, "digest": {"sha256": model.bundle_digest}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate.model_dump(mode="json"),
    }


def _signed(statement: Mapping[str, Any], private: Path, public: Path) -> bytes:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    payload = _canonical(statement)
    return _envelope(payload, key.sign(_pae(payload), ec.ECDSA(hashes.SHA256())), public)


def _read(path: Path, public: Path) -> Statement:
    """The statement of a genuine envelope. Nothing of it is believed, or parsed, before the signature was verified."""
    from cryptography.exceptions import InvalidSignature

    if not public.is_file():
        raise KeyMissing(f"{public}: no public key of the promoter")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise TamperedAttestation(f"{path}: must be a plain file")
    if not path.exists():
        raise Unattested(f"{path}: no attestation: no gate has vouched for this bundle")
    try:
        payload = _genuine(path, public)
        return Statement.model_validate_json(payload)
    except InvalidSignature:
        raise TamperedAttestation(f"{path}: not signed with {public}") from None
    except ValidationError as broken:
        raise WrongAttestation(f"{path}: not a statement of ours: {broken.errors()[0]['loc']}") from None
    except (ValueError, LookupError, TypeError, OSError, RecursionError) as broken:
        raise TamperedAttestation(f"{path}: {broken}") from broken


def _genuine(path: Path, public: Path) -> bytes:
    """The payload of an envelope in its one form, after its signature was verified."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_public_key(public.read_bytes())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError(f"{public} is not an elliptic-curve key")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"longer than {MAX_BYTES} bytes")
    text = path.read_bytes()
    envelope = json.loads(text)
    payload, sig = canonical_base64(envelope["payload"]), canonical_base64(envelope["signatures"][0]["sig"])
    if text != _envelope(payload, sig, public):
        raise ValueError(f"not in the form in which attestations are signed with {public}")
    key.verify(sig, _pae(payload), ec.ECDSA(hashes.SHA256()))
    return payload


def _envelope(payload: bytes, sig: bytes, public: Path) -> bytes:
    signed = {"keyid": key_id(public), "sig": base64.b64encode(sig).decode()}
    return _canonical(
        {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE, "signatures": [signed]}
    )


def _pae(payload: bytes) -> bytes:
    """What DSSE signs: type and payload with their lengths, so that neither can run into the other."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _manifest(bundle: Path) -> dict[str, Any]:
    """The manifest of a verified bundle, as plain JSON: this file must not pull in what parses the rest."""
    try:
        read: dict[str, Any] = json.loads((bundle / MANIFEST).read_bytes())
    except (OSError, ValueError) as broken:
        raise WrongAttestation(f"{bundle / MANIFEST}: cannot be read: {broken}") from broken
    if not isinstance(read, dict) or not {"model", "version", "feature_names", "table_versions"} <= read.keys():
        raise WrongAttestation(f"{bundle / MANIFEST}: names no model, version, features or tables")
    return read


def _apart_from_bundle(statement: Statement, bundle: Path) -> Sequence[str]:
    """Where the statement and the bundle on disk say different things. The digest alone binds them; the rest is named
    so that the statement cannot tell a person one thing and the bundle another."""
    said, manifest = statement.predicate, _manifest(bundle)
    extra = manifest.get("extra") or {}
    pairs = {
        "digest": (statement.subject[0].digest["sha256"], manifest_digest(bundle)),
        "model": (said.model, manifest["model"]),
        "version": (said.version, manifest["version"]),
        "table_versions": (said.table_versions, manifest["table_versions"]),
        "feature schema": (said.feature_schema_sha256, digest_of(manifest["feature_names"])),
        **{name: (getattr(said, name), extra[name]) for name in ("run_id", "code_version", "drill") if name in extra},
    }
    return [f"{name} {a!r}, the bundle has {b!r}" for name, (a, b) in pairs.items() if a != b]


def _apart_from_record(said: Predicate, model: ModelVersion | None) -> Sequence[str]:
    if model is None:
        return []
    pairs = {
        "model": (said.model, model.name),
        **{name: (getattr(said, name), getattr(model, name)) for name in _RECORDED},
    }
    return [f"{name} {a!r}, the record has {b!r}" for name, (a, b) in pairs.items() if a != b]


_RECORDED: Final = ("version", "run_id", "code_version", "table_versions", "drill")
