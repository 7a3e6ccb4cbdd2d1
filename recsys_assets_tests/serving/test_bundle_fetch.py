"""A model server that fetches its own bundle from a real S3 server: it serves the signed one and nothing else.

Here: real processes with `--bundle s3://...`. Not here: the store's own rules (test_bundle_store.py).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys_assets.bundle_s3 import S3Store
from recsys_assets.serving import server
from recsys_assets.serving.attestation import attestation_path
from recsys_assets.signing import MANIFEST
from recsys_assets_tests.serving.processes import command, free_port, running
from recsys_assets_tests.serving.test_bundle_refusals import WATCHED
from recsys_assets_tests.stores.servers import S3
from recsys_assets_tests.waiting import HANG_SECONDS


@pytest.fixture
def stored(bucket: str, home: Path) -> str:
    """The signed bundle and its attestation on S3."""
    store, bundle = S3Store(f"{bucket}/bundles"), home / "bundles" / "3"
    store.put("3", bundle)
    store.put_attestation("3", attestation_path(bundle))
    return store.uri("3")


@pytest.fixture
def write(bucket: str, s3_server: S3) -> Callable[[str, bytes], object]:
    name = bucket.removeprefix("s3://")
    return lambda key, body: s3_server.client().put_object(Bucket=name, Key=f"bundles/{key}", Body=body)


def arguments(home: Path, bundle: str, cache: Path, *more: str) -> list[str]:
    return ["--bundle", bundle, "--home", str(home), "--bundle-cache", str(cache), "--port", str(free_port()), *more]


def ended(home: Path, bundle: str, cache: Path, *more: str) -> tuple[int, dict[str, str]]:
    """Exit code and the one line of a server that does not start."""
    words = command("server", *arguments(home, bundle, cache, *more))
    done = subprocess.run(words, capture_output=True, timeout=HANG_SECONDS, check=False)
    return done.returncode, json.loads(done.stderr.splitlines()[-1])


def test_a_server_fetches_verifies_and_answers_and_so_it_does_after_a_restart(
    stored: str, home: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "mounted"
    shutil.copytree(home / "keys", keys, ignore=shutil.ignore_patterns("*.key"))
    given = ["--bundle-cache", tmp_path / "cache", "--home", tmp_path / "home", "--replica", "pod-a"]
    given += ["--public-key", keys / "bundle_signing.pub", "--attestation-key", keys / "release_signing.pub"]
    for _ in range(2):
        with running("server", "--bundle", stored, *given) as served:
            answer = served.predict({"user_id": "u01"}, headers={"x-user-id": "u01"})
            assert answer.status_code == 200
            assert answer.headers["x-model-version"] == "3"
    assert len(list((tmp_path / "cache").iterdir())) == 1  # the first start's copy is gone
    assert [path.name for path in (tmp_path / "home" / "logs" / "exposures").iterdir()] == ["pod-a.jsonl"]


@pytest.mark.parametrize(
    ("key", "refused"),
    [
        ("3/ranker.0.txt", "TamperedBundle"),
        ("3/bundle.sig", "TamperedBundle"),
        ("3/one-more.txt", "TamperedBundle"),
        ("3/sub/escape", "UnsafeBundle"),
        ("3.attestation.json", "TamperedAttestation"),
    ],
)
def test_whatever_was_done_to_it_in_the_bucket_is_refused_before_anything_could_parse_it(
    stored: str, home: Path, tmp_path: Path, write: Callable[[str, bytes], object], key: str, refused: str
) -> None:
    write(key, b"tree\n\x00num_leaves=999999999\n")
    starts = json.dumps([arguments(home, stored, tmp_path / "cache")])
    watched = subprocess.run(
        [server.sys.executable, "-c", WATCHED],
        input=starts,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert watched.stdout.splitlines() == ["3"], watched.stderr
    assert json.loads(watched.stderr.splitlines()[-1])["refused"] == refused


def test_an_unfinished_upload_an_absent_version_and_a_wrong_digest_are_refused(
    stored: str, bucket: str, s3_server: S3, home: Path, tmp_path: Path
) -> None:
    assert ended(home, stored, tmp_path / "a", "--digest", "0" * 64)[1]["refused"] == "WrongBundle"
    code, said = ended(home, stored[:-1] + "4", tmp_path / "b")
    assert (code, said["refused"]) == (server.EXIT_REFUSED, "NoSuchBundle")
    s3_server.client().delete_object(Bucket=bucket.removeprefix("s3://"), Key=f"bundles/3/{MANIFEST}")
    code, said = ended(home, stored, tmp_path / "c")
    assert (code, said["refused"]) == (server.EXIT_REFUSED, "NoSuchBundle")
    assert "never finished" in said["reason"]


def test_a_bundle_that_no_gate_vouched_for_is_refused(
    stored: str, bucket: str, s3_server: S3, home: Path, tmp_path: Path
) -> None:
    s3_server.client().delete_object(Bucket=bucket.removeprefix("s3://"), Key="bundles/3.attestation.json")
    assert ended(home, stored, tmp_path / "cache")[1]["refused"] == "Unattested"


def test_a_store_that_does_not_answer_ends_with_a_code_of_its_own(
    stored: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    code, said = ended(home, stored, tmp_path / "cache")
    assert (code, said["store"]) == (server.EXIT_NO_STORE, "StoreUnavailable")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
    code, said = ended(home, stored, tmp_path / "cache")
    assert (code, said["store"]) == (server.EXIT_NO_STORE, "StoreDenied")


def test_the_reason_stands_where_kubernetes_looks_for_last_words(
    stored: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setattr(server, "_TERMINATION_LOG", log)
    assert server.main(arguments(home, stored[:-1] + "9", tmp_path / "cache")) == server.EXIT_REFUSED
    assert json.loads(log.read_text())["refused"] == "NoSuchBundle"
    assert log.read_text() == capsys.readouterr().err
    log.unlink()
    assert server.main(arguments(home, stored[:-1] + "9", tmp_path / "cache")) == server.EXIT_REFUSED
    assert not log.exists()  # outside of Kubernetes nothing is made


def test_a_replica_is_a_plain_name(home: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        server.parse_options([*arguments(home, "x", tmp_path), "--replica", "../elsewhere"])
