"""Bundles with a byte, a file or a whole copy that is not the signed one, given to a server's start.

Here: what can be done to a bundle on a disk, by class of file. Not here: the rules (signing.py, attestation.py).
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.malformed.cases import Case, Good, Refused
from recsys_assets.recommender.bundle import bundle_digest, write_bundle
from recsys_assets.serving import server
from recsys_assets.serving.attestation import attestation_path
from recsys_assets.signing import BundleRefused, sign_bundle
from recsys_assets_tests.serving.bundles import NAME, attested, fitted

Edit = Callable[[bytes, random.Random], bytes]


class Parsed(BaseException):
    """Something of a bundle that should have been refused was about to be parsed."""


def _flip(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def _insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + bytes([rng.choice([0, 10, 32, rng.randrange(256)])]) + content[place:]


def _delete(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + content[place + 1 :]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _extend(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.randrange(1, 40))


BYTES: dict[str, Edit] = {
    "flip": _flip,
    "insert": _insert,
    "delete": _delete,
    "truncate": _truncate,
    "extend": _extend,
    "empty": lambda content, rng: b"",
}
# One name for every class of file that a bundle holds; the arrays are many.
CLASSES = {
    "manifest": "manifest.json",
    "model_text": "ranker.0.txt",
    "array": "index.*.npy",
    "item_table": "items.npy",
    "catalogue": "catalogue.parquet",
    "profiles": "profiles.parquet",
    "feature_schema": "recommender.json",
    "index_head": "index.json",
    "golden": "golden.json",
}


@dataclass(frozen=True)
class Shop:
    """A home with version 3 as it is served, an older genuine version 3, and a genuine version 4."""

    home: Path
    older: Path
    other: Path
    digest: str

    @property
    def bundle(self) -> Path:
        return self.home / "bundles" / "3"

    @property
    def attestation(self) -> Path:
        return attestation_path(self.bundle)

    @property
    def arguments(self) -> list[str]:
        given = ["--bundle", str(self.bundle), "--home", str(self.home), "--port", "1", "--digest", self.digest]
        return given


def stock(folder: Path) -> Shop:
    """Three signed and attested bundles by the same keys."""
    recommender, keys = fitted(), folder / "home" / "keys"
    places = {"served": folder / "home" / "bundles" / "3", "older": folder / "older" / "3", "other": folder / "4"}
    for name, place in places.items():
        version = place.name
        digest = write_bundle(recommender, place, model_name=NAME, version=version, extra={"copy": name})
        sign_bundle(place, keys)
        attested(place, keys, version=version, digest=digest)
    return Shop(folder / "home", places["older"], places["other"], bundle_digest(places["served"]))


def start(shop: Shop) -> Refused | None:
    """What a server says that is started over the bundle; Parsed where it would have read any of it."""
    try:
        server.load(server.parse_options(shop.arguments))
    except BundleRefused as refused:
        return Refused(type(refused).__name__, str(refused))
    return None


@contextmanager
def tripwires() -> Iterator[None]:
    """Whoever parses a model, an array or a table of a bundle inside this block raises Parsed."""

    def trip(*_: Any, **__: Any) -> Any:
        raise Parsed("parsed before it was refused")

    parsers = ["lightgbm.Booster.__init__", "numpy.load", "polars.read_parquet"]
    with mock.patch(parsers[0], trip), mock.patch(parsers[1], trip), mock.patch(parsers[2], trip):
        yield


def mutated(shop: Shop, rng: random.Random) -> Iterator[Case]:
    """Without end: one edit each, in turn over the classes of file, and between them the bundle as a whole."""
    wholes = list(_wholes(shop))
    while True:
        for name, pattern in [*CLASSES.items(), ("signature", "bundle.sig")]:
            for how in BYTES:
                path = rng.choice(sorted(shop.bundle.glob(pattern)))
                yield _spoilt(shop, path, f"{name}:{how}", BYTES[how], rng.randrange(2**32), "TamperedBundle")
        for how in BYTES:
            yield _spoilt(
                shop, shop.attestation, f"attestation:{how}", BYTES[how], rng.randrange(2**32), "TamperedAttestation"
            )
        yield from wholes


def valid(shop: Shop, rng: random.Random) -> Iterator[Good]:
    """The genuine bundles, copied to other places with other file times: where they stand is no part of them."""
    number = 0
    while True:
        number += 1
        yield Good("a copy of a genuine bundle", lambda n=number: _copied(shop, n))  # type: ignore[misc]


def _copied(shop: Shop, number: int) -> str:
    place = shop.home / "copies" / str(number) / "3"
    shutil.copytree(shop.bundle, place)
    shutil.copy(shop.attestation, attestation_path(place))
    os.utime(place / "ranker.0.txt", (number, number))
    arguments = ["--bundle", str(place), "--home", str(shop.home), "--port", "1", "--digest", shop.digest]
    try:
        server.verify(server.parse_options(arguments))
    except BundleRefused as refused:
        return f"{type(refused).__name__}: {refused}"
    finally:
        shutil.rmtree(place.parent)
    return ""


def _spoilt(shop: Shop, path: Path, rule: str, edit: Edit, start_at: int, error: str) -> Case:
    def give() -> Refused | None:
        genuine = path.read_bytes()
        spoilt, rng = genuine, random.Random(start_at)
        while spoilt == genuine:
            spoilt = edit(genuine, rng)
        path.write_bytes(spoilt)
        try:
            with tripwires():
                return start(shop)
        finally:
            path.write_bytes(genuine)

    return Case(rule, give, error, (path.name,))


def _wholes(shop: Shop) -> Iterator[Case]:
    """What can happen to a bundle as a whole; each is put right again afterwards."""
    folder, beside = shop.bundle, shop.attestation

    def case(rule: str, do: Callable[[], Any], error: str, *place: str) -> Case:
        return Case(rule, lambda: _on_a_copy(shop, do), error, place)

    for name in sorted(path.name for path in folder.iterdir()):
        error = "UnsignedBundle" if name == "bundle.sig" else "TamperedBundle"
        yield case(f"missing:{name}", (folder / name).unlink, error, name)
        yield case(f"link:{name}", lambda n=name: _link(folder / n), "TamperedBundle", name)
        yield case(f"folder:{name}", lambda n=name: _folder(folder / n), "TamperedBundle", name)
        yield case(f"pipe:{name}", lambda n=name: _pipe(folder / n), "TamperedBundle", name)
        if (shop.other / name).read_bytes() != (folder / name).read_bytes():
            do = lambda n=name: shutil.copy(shop.other / n, folder / n)  # noqa: E731
            yield case(
                f"of_another_version:{name}", do, "TamperedBundle", "manifest.json" if name == "bundle.sig" else name
            )
    for name in ("more.txt", ".hidden", ".gitattributes", ".git", "ranker.1.txt", "zz.npy"):
        yield case(f"extra:{name}", (folder / name).touch, "TamperedBundle", name)
    yield case("missing:attestation", beside.unlink, "Unattested", beside.name)
    yield case("link:attestation", lambda: _link(beside), "TamperedAttestation", beside.name)
    yield case("attestation_of_another_version", lambda: shutil.copy(attestation_path(shop.other), beside), *_WRONG)
    yield case("attestation_of_an_older_copy", lambda: shutil.copy(attestation_path(shop.older), beside), *_WRONG)
    yield case("older_genuine_copy", lambda: _replace(folder, shop.older), "WrongBundle", "digest")
    yield case("genuine_other_version", lambda: _replace(folder, shop.other), "WrongBundle", "digest")
    yield case("missing:folder", lambda: shutil.rmtree(folder), "UnsignedBundle", "no such bundle folder")


_WRONG = ("WrongAttestation", "digest")


def _on_a_copy(shop: Shop, do: Callable[[], Any]) -> Refused | None:
    kept = shop.home / "kept"
    shutil.copytree(shop.bundle, kept / "3")
    shutil.copy(shop.attestation, kept)
    try:
        do()
        with tripwires():
            return start(shop)
    finally:
        shutil.rmtree(shop.bundle, ignore_errors=True)
        shop.attestation.unlink(missing_ok=True)
        (kept / "3").rename(shop.bundle)
        (kept / shop.attestation.name).rename(shop.attestation)
        shutil.rmtree(kept)


def _link(path: Path) -> None:
    aside = path.parent.parent / f"aside-{path.name}"
    path.rename(aside)
    path.symlink_to(aside)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace(folder: Path, by: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(by, folder)
    shutil.copy(attestation_path(by), attestation_path(folder))
