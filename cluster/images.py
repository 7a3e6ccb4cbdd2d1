"""Container images for the parts of the cluster, written as OCI archives without any registry or builder.

Here: one layer from files of this machine, with its configuration. Not here: the product's image (see the Dockerfile).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REFERENCE = "io.containerd.image.name"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Image:
    """What an image holds: files by their place in it, links, and how it is started."""

    reference: str
    files: Mapping[str, Path | bytes]
    entrypoint: Sequence[str]
    links: Mapping[str, str] = field(default_factory=dict)
    folders: Sequence[str] = ("tmp",)
    user: str = "65532:65532"
    environment: Sequence[str] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)

    def write(self, archive: Path) -> Path:
        """Write the archive; the same files give the same bytes."""
        layer = archive.with_suffix(".layer")
        _write_layer(layer, self)
        digest = _digest_of(layer)
        config = _encoded(self._config(digest))
        described = _descriptor(CONFIG_TYPE, config)
        layers = [{"mediaType": LAYER_TYPE, "digest": digest, "size": layer.stat().st_size}]
        manifest = _encoded({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described, "layers": layers})
        entry = _descriptor(MANIFEST_TYPE, manifest) | {"annotations": {REFERENCE: self.reference}}
        index = _encoded({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]})
        with tarfile.open(archive, "w") as out:
            _add(out, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(out, "index.json", index)
            for blob in (config, manifest):
                _add(out, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
            _add(out, f"blobs/sha256/{digest.removeprefix('sha256:')}", layer)
        layer.unlink()
        return archive

    def _config(self, layer_digest: str) -> dict[str, object]:
        started = {"Entrypoint": list(self.entrypoint), "User": self.user, "Env": list(self.environment)}
        rootfs = {"type": "layers", "diff_ids": [layer_digest]}
        return {"architecture": "amd64", "os": "linux", "config": started, "rootfs": rootfs}


def shared_libraries(binary: Path, listed: str) -> dict[str, Path | bytes]:
    """The files that a dynamic binary needs at run time, out of what `ldd` listed, at the places where it looks."""
    found: dict[str, Path | bytes] = {}
    for line in listed.splitlines():
        path = next((word for word in line.split() if word.startswith("/")), None)
        if path is not None:
            found[path.lstrip("/")] = Path(path).resolve()
    if not found:
        raise ValueError(f"ldd listed no library for {binary}")
    return found


def _write_layer(path: Path, image: Image) -> None:
    with tarfile.open(path, "w") as out:
        for folder in image.folders:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            out.addfile(entry)
        for name, content in sorted(image.files.items()):
            _add(out, name, content)
        for name, target in sorted(image.links.items()):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            out.addfile(entry)


def _add(out: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o755
    if isinstance(content, bytes):
        entry.size = len(content)
        out.addfile(entry, io.BytesIO(content))
        return
    entry.size = content.stat().st_size
    with content.open("rb") as source:
        out.addfile(entry, source)


def _descriptor(kind: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}


def _encoded(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest_of(path: Path) -> str:
    with path.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
