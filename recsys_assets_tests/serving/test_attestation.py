"""The promoter's statement: made only where every gate passed, and believed only about exactly its bundle.

Here: attestation.py over real keys and a real bundle. Not here: the server's process (test_bundle_refusals.py).
"""

from __future__ import annotations

import base64
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys_assets.recommender.bundle import bundle_digest
from recsys_assets.records import Measurement, ModelVersion, Outcome
from recsys_assets.serving.attestation import (
    NotPassed,
    TamperedAttestation,
    Unattested,
    WrongAttestation,
    attest,
    attestation_path,
    digest_of,
    verify_attestation,
    vouch,
)
from recsys_assets.signing import RELEASE_KEY, KeyMissing, TamperedBundle, WrongBundle, private_key, public_key
from recsys_assets_tests.serving.bundles import passing, record

AT = datetime(2024, 2, 1, tzinfo=UTC)
GATES = {"evaluation_report/told": passing("3")}


@pytest.fixture
def keys(home: Path) -> Path:
    return home / "keys"


@pytest.fixture
def bundle(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home / "bundles" / "3", tmp_path / "3")
    shutil.copy(home / "bundles" / "3.attestation.json", tmp_path)
    return tmp_path / "3"


@pytest.fixture
def model(bundle: Path) -> ModelVersion:
    return record("3", bundle_digest(bundle))


def test_the_statement_tells_what_was_proven_of_what(bundle: Path, keys: Path, model: ModelVersion) -> None:
    number = Measurement(name="ndcg_at_10", value=0.1, n=50)
    gates = {"evaluation_report/told": passing("3").model_copy(update={"measurements": (number,)})}
    attest(model, gates, bundle=bundle, keys=keys, at=AT)
    said = vouch(model, bundle=bundle, keys=keys, checks=gates)
    names = json.loads((bundle / "manifest.json").read_text())["feature_names"]
    assert (said.model, said.version, said.run_id, said.code_version) == ("recommender", "3", "r", "0.1.0")
    assert (said.table_versions, said.feature_schema_sha256, said.drill) == ({}, digest_of(names), None)
    assert (said.outcome, said.made_at) == (Outcome.PASS, AT)
    assert said.gates[0].measurements_sha256 == digest_of([number.model_dump()])
    envelope = json.loads(attestation_path(bundle).read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["subject"] == [{"name": "recommender-v3", "digest": {"sha256": model.bundle_digest}}]


def test_the_same_word_again_changes_nothing_and_another_one_replaces_it(
    bundle: Path, keys: Path, model: ModelVersion
) -> None:
    attest(model, GATES, bundle=bundle, keys=keys, at=AT)
    before = attestation_path(bundle).read_bytes()
    attest(model, GATES, bundle=bundle, keys=keys, at=AT + timedelta(days=1))
    assert attestation_path(bundle).read_bytes() == before
    attest(model, {**GATES, "b/c": passing("3")}, bundle=bundle, keys=keys, at=AT)
    assert attestation_path(bundle).read_bytes() != before


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE])
def test_nothing_is_attested_where_a_gate_did_not_pass(
    bundle: Path, keys: Path, model: ModelVersion, outcome: Outcome
) -> None:
    gates = {**GATES, "b/c": passing("3").model_copy(update={"outcome": outcome})}
    with pytest.raises(NotPassed, match="b/c"):
        attest(model, gates, bundle=bundle, keys=keys, at=AT)


def test_without_any_verdict_or_with_one_about_another_version_nothing_is_attested(
    bundle: Path, keys: Path, model: ModelVersion
) -> None:
    for gates in ({}, {"a/b": passing("2")}):
        with pytest.raises(NotPassed):
            attest(model, gates, bundle=bundle, keys=keys, at=AT)


def test_a_bundle_that_is_not_the_registered_one_is_not_attested(bundle: Path, keys: Path, model: ModelVersion) -> None:
    with pytest.raises(WrongBundle):
        attest(model.model_copy(update={"bundle_digest": "0" * 64}), GATES, bundle=bundle, keys=keys, at=AT)
    (bundle / "golden.json").write_text("[]")
    with pytest.raises(TamperedBundle):
        attest(model, GATES, bundle=bundle, keys=keys, at=AT)


def test_no_attestation_no_key_and_another_key_are_told_apart(bundle: Path, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyMissing):
        verify_attestation(bundle, tmp_path / "absent.pub")
    private_key(tmp_path / "other", RELEASE_KEY)
    with pytest.raises(TamperedAttestation):
        verify_attestation(bundle, public_key(tmp_path / "other", RELEASE_KEY))
    attestation_path(bundle).unlink()
    with pytest.raises(Unattested):
        verify_attestation(bundle, public_key(keys, RELEASE_KEY))


def test_training_cannot_attest_what_it_made(bundle: Path, keys: Path, tmp_path: Path, model: ModelVersion) -> None:
    """Whoever holds the bundle's key alone has no word that the servers believe."""
    stolen = tmp_path / "stolen"
    stolen.mkdir()
    for name in ("bundle_signing.key", "bundle_signing.pub"):
        shutil.copy(keys / name, stolen)
    shutil.copy(keys / "bundle_signing.key", stolen / "release_signing.key")
    attest(model, GATES, bundle=bundle, keys=stolen, at=AT)
    with pytest.raises(TamperedAttestation):
        verify_attestation(bundle, public_key(keys, RELEASE_KEY))


def test_the_promoters_private_key_is_its_owners_alone(keys: Path) -> None:
    assert (keys / "release_signing.key").stat().st_mode & 0o777 == 0o600
    assert (keys / "release_signing.key").read_bytes() != (keys / "bundle_signing.key").read_bytes()


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("run_id", "another"),
        ("code_version", "9"),
        ("table_versions", {"interactions": 7}),
        ("drill", "slow"),
        ("version", "4"),
        ("name", "films"),
    ],
)
def test_a_record_that_says_otherwise_is_named(
    bundle: Path, keys: Path, model: ModelVersion, field: str, other: object
) -> None:
    with pytest.raises(WrongAttestation, match="the record has"):
        vouch(model.model_copy(update={field: other}), bundle=bundle, keys=keys)


def test_a_gate_that_the_statement_does_not_name_was_not_passed(bundle: Path, keys: Path, model: ModelVersion) -> None:
    with pytest.raises(WrongAttestation, match="says nothing of evaluation_report/no_slice_lost"):
        vouch(model, bundle=bundle, keys=keys, checks=["evaluation_report/told", "evaluation_report/no_slice_lost"])


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"outcome": "FAIL"}, NotPassed),
        ({"gates": []}, NotPassed),
        ({"gates": [{"check": "a", "outcome": "INCONCLUSIVE", "reason": "", "measurements_sha256": ""}]}, NotPassed),
        ({"version": "4"}, WrongAttestation),
        ({"feature_schema_sha256": "0" * 64}, WrongAttestation),
        ({"table_versions": {"interactions": 1}}, WrongAttestation),
        ({"surprise": 1}, WrongAttestation),
        ({"made_at": "2024-01-01T00:00:00"}, WrongAttestation),
    ],
)
def test_a_genuine_statement_that_does_not_say_pass_for_this_bundle_is_refused(
    bundle: Path, keys: Path, model: ModelVersion, change: dict[str, object], refusal: type[Exception]
) -> None:
    from recsys_assets.serving import attestation

    envelope = json.loads(attestation_path(bundle).read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"] |= change
    private, public = keys / "release_signing.key", public_key(keys, RELEASE_KEY)
    attestation_path(bundle).write_bytes(attestation._signed(statement, private, public))
    with pytest.raises(refusal):
        verify_attestation(bundle, public)


def test_a_genuine_signature_over_another_statement_is_refused(bundle: Path, keys: Path) -> None:
    from recsys_assets.serving import attestation

    public = public_key(keys, RELEASE_KEY)
    envelope = json.loads(attestation_path(bundle).read_text())
    sig = base64.b64decode(envelope["signatures"][0]["sig"])
    forged = base64.b64decode(envelope["payload"]).replace(b'"told"', b'"sold"')
    attestation_path(bundle).write_bytes(attestation._envelope(forged, sig, public))
    with pytest.raises(TamperedAttestation, match=r"not signed with .*release_signing\.pub"):
        verify_attestation(bundle, public)


def test_a_bundle_that_was_changed_since_is_not_vouched_for(bundle: Path, keys: Path, model: ModelVersion) -> None:
    vouch(model, bundle=bundle, keys=keys)
    (bundle / "golden.json").write_text("[]")
    with pytest.raises(TamperedBundle, match=r"golden\.json"):
        vouch(model, bundle=bundle, keys=keys)


def test_an_attestation_may_stand_elsewhere(bundle: Path, keys: Path, tmp_path: Path) -> None:
    elsewhere = attestation_path(bundle).rename(tmp_path / "elsewhere.json")
    assert verify_attestation(bundle, public_key(keys, RELEASE_KEY), path=elsewhere).version == "3"


def test_a_folder_in_place_of_an_attestation_and_one_too_long_are_named(bundle: Path, keys: Path) -> None:
    path, public = attestation_path(bundle), public_key(keys, RELEASE_KEY)
    path.write_bytes(b" " * ((1 << 18) + 1))
    with pytest.raises(TamperedAttestation, match="longer than 262144 bytes"):
        verify_attestation(bundle, public)
    path.unlink()
    path.mkdir()
    with pytest.raises(TamperedAttestation, match="must be a plain file"):
        verify_attestation(bundle, public)


def test_a_key_of_another_kind_is_named(bundle: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    other = tmp_path / "other.pub"
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    other.write_bytes(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(TamperedAttestation, match=r"other\.pub is not an elliptic-curve key"):
        verify_attestation(bundle, other)


@pytest.mark.parametrize("manifest", ["[]", '"text"', '{"model": "recommender", "version": "3"}'])
def test_a_manifest_that_names_no_features_is_refused(bundle: Path, keys: Path, manifest: str) -> None:
    (bundle / "manifest.json").write_text(manifest)
    with pytest.raises(WrongAttestation, match="names no model, version, features or tables"):
        verify_attestation(bundle, public_key(keys, RELEASE_KEY))


def test_what_the_bundle_says_of_its_own_making_must_agree(bundle: Path, keys: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"extra": {"run_id": "another", "beside": 1}}))
    with pytest.raises(WrongAttestation, match="run_id 'r', the bundle has 'another'"):
        verify_attestation(bundle, public_key(keys, RELEASE_KEY))
