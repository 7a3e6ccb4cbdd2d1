"""Signing bundle folders, and verifying them before anything in them is parsed.

Here: key pairs and the model-signing library. Not here: what a bundle holds (recommender/bundle.py), or what was proven
of it (serving/attestation.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Any, Final

from recsys_assets.errors import UserFacingError

SIGNATURE: Final = "bundle.sig"
MANIFEST: Final = "manifest.json"
# What was proven of a bundle stands beside its folder, under its name and this.
ATTESTATION_SUFFIX: Final = ".attestation.json"
# Two identities: training signs what it made, the promoter says what was proven of it.
BUNDLE_KEY: Final = "bundle_signing"
RELEASE_KEY: Final = "release_signing"
MAX_SIGNATURE_BYTES: Final = 1 << 20
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


class BundleRefused(UserFacingError):  # noqa: N818
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


def private_key(keys: Path, name: str = BUNDLE_KEY) -> Path:
    """The folder's private key, made on first use. Two processes that come at once agree on one key."""
    path = keys / f"{name}.key"
    if not path.exists():
        _create_key(path)
    write_aside(public_key(keys, name), _public_pem(path), mode=0o644)
    return path


def public_key(keys: Path, name: str = BUNDLE_KEY) -> Path:
    """Where the servers find the public key; making it is `private_key`'s business."""
    return keys / f"{name}.pub"


def sign_bundle(folder: Path, keys: Path) -> Path:
    """Sign every file of the bundle, replacing an older signature as a whole. Returns the signature's path."""
    key = private_key(keys)
    library = _library()
    config = library.signing.Config().use_elliptic_key_signer(private_key=key)
    descriptor, name = tempfile.mkstemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".sig")
    os.close(descriptor)
    aside = Path(name)
    config.set_hashing_config(_hashing(library)).sign(folder, aside)
    aside.chmod(0o644)
    return aside.replace(folder / SIGNATURE)


def verify_bundle(folder: Path, public: Path, *, digest: str | None = None) -> None:
    """Raise BundleRefused unless every file is the signed one, none is missing and none was added.

    `digest` (SHA-256 of the manifest) binds the folder to one ModelVersion: a genuine signature over another version's
    files is refused too. Only the JSON of the signature is read before the key has vouched for it.
    """
    from cryptography.exceptions import InvalidSignature

    signature = folder / SIGNATURE
    if not folder.is_dir():
        raise UnsignedBundle(f"{folder}: no such bundle folder")
    _only_plain_files(folder)
    if not signature.is_file():
        raise UnsignedBundle(f"{signature}: no signature")
    if not public.is_file():
        raise KeyMissing(f"{public}: no public key")
    library = _library()
    try:
        _check_form(signature, public)
        config = library.verifying.Config().use_elliptic_key_verifier(public_key=public)
        config.set_hashing_config(_hashing(library)).verify(folder, signature)
    except InvalidSignature:
        raise TamperedBundle(f"{signature}: not a signature by {public}") from None
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RecursionError) as broken:
        # The library lets the errors of its JSON and models through: every one of them means "not verified".
        raise TamperedBundle(f"{folder}: {_plain(str(broken))}") from broken
    found = manifest_digest(folder)
    if digest is not None and found != digest:
        raise WrongBundle(f"{folder / MANIFEST}: digest {found}, but {digest} was asked for")


def manifest_digest(folder: Path) -> str | None:
    """SHA-256 (hex) of the manifest, and by it of every file; None where there is none."""
    manifest = folder / MANIFEST
    return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else None


def write_aside(path: Path, content: bytes, *, mode: int) -> None:
    """Put a file in place as a whole, unless it stands there like this."""
    if not path.exists() or path.read_bytes() != content:
        _aside(path, content, mode=mode).replace(path)


def canonical_base64(text: object) -> bytes:
    """The bytes behind base64 in its one canonical form; ValueError for any other spelling of them."""
    if not isinstance(text, str):
        raise ValueError("must be base64")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as broken:
        raise ValueError(f"is not base64: {broken}") from broken
    if base64.b64encode(raw).decode() != text:
        raise ValueError("is not the canonical base64 of its bytes")
    return raw


def key_id(public: Path) -> str:
    """How a signature names its key: SHA-256 of the public PEM as this code writes it."""
    from cryptography.hazmat.primitives import serialization

    return hashlib.sha256(_pem(serialization.load_pem_public_key(public.read_bytes()))).hexdigest()


def _only_plain_files(folder: Path) -> None:
    """A bundle is flat. A link could point elsewhere after the check, and a pipe would hold the check for ever."""
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            raise TamperedBundle(f"{folder / entry.name}: must be a plain file")


def _form(payload: str, sig: str, public: Path) -> str:
    """The one text that a signature may have: that of the library, which would also take others that mean the same."""
    return json.dumps(
        {
            "mediaType": _MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key_id(public)}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": payload,
                "payloadType": _PAYLOAD_TYPE,
                "signatures": [{"sig": sig, "keyid": ""}],
            },
        },
        separators=(",", ":"),
    )


def _check_form(signature: Path, public: Path) -> None:
    """ValueError unless the file is exactly what `sign_bundle` writes around this payload and these bytes."""
    if signature.stat().st_size > MAX_SIGNATURE_BYTES:
        raise ValueError(f"{SIGNATURE} is longer than {MAX_SIGNATURE_BYTES} bytes")
    text = signature.read_text(encoding="utf-8")
    envelope = json.loads(text)["dsseEnvelope"]
    payload, sig = envelope["payload"], envelope["signatures"][0]["sig"]
    canonical_base64(payload)
    canonical_base64(sig)
    if text != _form(payload, sig, public):
        raise ValueError(f"{SIGNATURE} is not in the form in which bundles are signed with {public}")


def _plain(said: str) -> str:
    """Which files differ, where the library says so amid its digests; else its own words about the signature."""
    changed = re.findall(r"Hash mismatch for \\?'([^'\\]+)", said)  # quoted, within a list that is written out
    if changed:
        return f"not the signed content: {', '.join(changed)}"
    return said if SIGNATURE in said or "files" in said else f"{SIGNATURE}: {said}"


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

    return _pem(serialization.load_pem_private_key(private.read_bytes(), password=None).public_key())


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    pem: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem


def _aside(path: Path, content: bytes, *, mode: int) -> Path:
    """A durable file beside `path`, to be moved or linked into its place as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
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
