"""Signing bundle folders, and verifying them before anything in them is parsed.

Here: the key pair and the model-signing library. Not here: what a bundle holds (recommender/bundle.py).
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

SIGNATURE = "bundle.sig"
MANIFEST = "manifest.json"
PRIVATE_KEY = "bundle_signing.key"
PUBLIC_KEY = "bundle_signing.pub"


class BundleRefused(Exception):  # noqa: N818
    """A bundle that must not be loaded; the message says why and which file."""


class UnsignedBundle(BundleRefused):
    """There is no signature beside the files."""


class TamperedBundle(BundleRefused):
    """The signature is broken, is another key's, or does not match the files."""


class WrongBundle(BundleRefused):
    """The bundle is genuine but not the one that was asked for: another version, or an older copy of it."""


class UnusableBundle(BundleRefused):
    """The bundle is genuine, but this code or this machine cannot serve it as it was trained."""


class KeyMissing(BundleRefused):
    """There is no public key to verify with."""


def private_key(keys: Path) -> Path:
    """The folder's private key, made on first use. Two processes that come at once agree on one key."""
    path = keys / PRIVATE_KEY
    if not path.exists():
        _create_key(path)
    _write_aside(keys / PUBLIC_KEY, _public_pem(path), mode=0o644)
    return path


def public_key(keys: Path) -> Path:
    """Where the servers find the public key; making it is `private_key`'s business."""
    return keys / PUBLIC_KEY


def sign_bundle(folder: Path, keys: Path) -> Path:
    """Sign every file of the bundle, replacing an older signature as a whole. Returns the signature's path."""
    signature, aside = folder / SIGNATURE, folder.parent / f".{folder.name}.{os.getpid()}.sig"
    library = _library()
    config = library.signing.Config().use_elliptic_key_signer(private_key=private_key(keys))
    config.set_hashing_config(_hashing(library)).sign(folder, aside)
    aside.replace(signature)
    return signature


def verify_bundle(folder: Path, public: Path, *, digest: str | None = None) -> None:
    """Raise BundleRefused unless every file is the signed one, none is missing and none was added.

    `digest` (SHA-256 of the manifest) binds the folder to one ModelVersion: a genuine signature over another version's
    files is refused too. Only the JSON of the signature is read before the key has vouched for it.
    """
    from cryptography.exceptions import InvalidSignature

    signature = folder / SIGNATURE
    if not folder.is_dir():
        raise UnsignedBundle(f"{folder}: no such bundle folder")
    if not signature.is_file():
        raise UnsignedBundle(f"{signature}: no signature")
    if not public.is_file():
        raise KeyMissing(f"{public}: no public key")
    library = _library()
    try:
        config = library.verifying.Config().use_elliptic_key_verifier(public_key=public)
        config.set_hashing_config(_hashing(library)).verify(folder, signature)
    except InvalidSignature:
        raise TamperedBundle(f"{signature}: not a signature by {public}") from None
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as broken:
        # The library lets the errors of its JSON and models through: every one of them means "not verified".
        raise TamperedBundle(f"{folder}: {_plain(str(broken))}") from broken
    found = _manifest_digest(folder)
    if digest is not None and found != digest:
        raise WrongBundle(f"{folder / MANIFEST}: digest {found}, but {digest} was asked for")


def _plain(said: str) -> str:
    """Which files differ, where the library says so amid its digests; else its own words."""
    changed = re.findall(r"Hash mismatch for '([^']+)'", said)
    return f"not the signed content: {', '.join(changed)}" if changed else said


def _manifest_digest(folder: Path) -> str | None:
    manifest = folder / MANIFEST
    return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else None


def _hashing(library: Any) -> Any:
    # Without ignore_git_paths=False a file .gitattributes could be slipped in beside the signed ones.
    config = library.hashing.Config()
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _create_key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    aside = _aside(path, pem, mode=0o600)
    try:
        # A link, not a rename: the second of two processes must not replace the key that the first signs with.
        path.hardlink_to(aside)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def _public_pem(private: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write_aside(path: Path, content: bytes, *, mode: int) -> None:
    if not path.exists() or path.read_bytes() != content:
        _aside(path, content, mode=mode).replace(path)


def _aside(path: Path, content: bytes, *, mode: int) -> Path:
    """A durable file beside `path`, to be moved or linked into its place as a whole."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    aside = Path(name)
    aside.chmod(mode)
    return aside


def _library() -> Any:
    """The model_signing package, imported where it is needed: it takes a while."""
    import model_signing

    return model_signing
