"""Whatever is done to a bundle on a disk, a server refuses it by name before any parser sees a byte of it.

Here: the short form of benchmarks/malformed/bundles.py, and one real process under an audit hook. Not here: the
signature's and the attestation's own rules (test_signing.py, test_attestation.py).
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.malformed import bundles
from benchmarks.malformed.cases import Count
from recsys_assets.serving.attestation import attestation_path
from recsys_assets.serving.server import parse_options, verify
from recsys_assets_tests.waiting import HANG_SECONDS

# Each start is refused in one process, in which importing what could parse an array, a table or a model is an error.
WATCHED = """
import json, sys
def watch(event, arguments):
    if event == "import" and arguments[0].split(".")[0] in {"numpy", "polars", "lightgbm", "pandas", "scipy"}:
        raise RuntimeError(f"{arguments[0]} was imported")
sys.addaudithook(watch)
from recsys_assets.serving import server
for arguments in json.loads(sys.stdin.read()):
    try:
        print(server.main(arguments))
    except RuntimeError as tripped:
        print(tripped)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> bundles.Shop:
    return bundles.stock(tmp_path_factory.mktemp("shop"))


def test_the_genuine_bundle_trips_the_wires(shop: bundles.Shop) -> None:
    """Without this the test below could not fail."""
    with bundles.tripwires(), pytest.raises(bundles.Parsed):
        bundles.start(shop)
    assert bundles.start(shop) is None


def test_every_class_of_byte_and_file_is_refused_by_name_before_it_is_parsed(shop: bundles.Shop) -> None:
    count, rng = Count(), random.Random(5)
    for case in islice(bundles.mutated(shop, rng), 300):
        count.judge(case)
    for good in islice(bundles.valid(shop, rng), 5):
        count.welcome(good)
    assert (count.told, count.let_through, count.valid_refused) == ([], 0, 0)
    assert {rule.split(":")[0] for rule in count.rules} >= {
        *bundles.CLASSES,
        "signature",
        "attestation",
        "link",
        "extra",
    }


def test_a_server_refuses_before_anything_that_could_parse_is_even_imported(shop: bundles.Shop, tmp_path: Path) -> None:
    starts = []
    for number, name in enumerate([*bundles.CLASSES.values(), "bundle.sig"]):
        copy = _copy(shop, tmp_path / str(number))
        path = sorted(copy.glob(name))[0]
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
        starts.append(_arguments(shop, copy))
    attestation_path(copied := _copy(shop, tmp_path / "unattested")).unlink()
    genuine = _copy(shop, tmp_path / "genuine")
    starts += [_arguments(shop, copied), _arguments(shop, genuine)]
    command = [sys.executable, "-c", WATCHED]
    ended = subprocess.run(
        command, input=json.dumps(starts), capture_output=True, text=True, timeout=HANG_SECONDS, check=False
    )
    said = ended.stdout.split("\n")[:-1]
    assert said[:-1] == ["3"] * (len(starts) - 1), ended.stderr
    assert said[-1].endswith("was imported")  # the genuine one goes on, which shows that the hook bites


def test_a_bundle_that_no_gate_has_seen_is_served_only_on_an_explicit_word(shop: bundles.Shop, tmp_path: Path) -> None:
    copy = _copy(shop, tmp_path)
    attestation_path(copy).unlink()
    verify(parse_options([*_arguments(shop, copy), "--unattested"]))


def _copy(shop: bundles.Shop, folder: Path) -> Path:
    shutil.copytree(shop.bundle, folder / "3")
    shutil.copy(shop.attestation, folder)
    return folder / "3"


def _arguments(shop: bundles.Shop, bundle: Path) -> list[str]:
    return ["--bundle", str(bundle), "--home", str(shop.home), "--port", "1", "--digest", shop.digest]
