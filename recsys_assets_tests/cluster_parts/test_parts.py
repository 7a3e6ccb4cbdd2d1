"""Images, addresses, certificates and prerequisites of the test cluster.

Here: pure parts, and files below tmp_path. Not here: containers.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import tarfile
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from cluster import host
from cluster.errors import MissingError
from cluster.images import Image, shared_libraries
from cluster.kubeconfig import write_kubeconfig
from cluster.layout import Layout
from cluster.pki import Authority
from cluster.processes import Process


def test_an_image_is_the_same_bytes_each_time_and_every_blob_has_its_own_digest(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"#!/bin/true\n")
    image = Image(
        "localhost/x:1", {"bin/program": program, "etc/note": b"hello"}, ["/bin/program"], {"run": "bin/program"}
    )
    first, second = (image.write(tmp_path / name).read_bytes() for name in ("a.tar", "b.tar"))
    assert first == second
    with tarfile.open(tmp_path / "a.tar") as archive:
        for name in archive.getnames():
            if name.startswith("blobs/"):
                opened = archive.extractfile(name)
                assert opened is not None
                assert hashlib.sha256(opened.read()).hexdigest() == Path(name).name
        index = archive.extractfile("index.json")
        assert index is not None
        named = json.load(index)["manifests"][0]["annotations"]
    assert named == {"io.containerd.image.name": "localhost/x:1"}


def test_a_link_of_ldd_is_followed_to_the_file_and_kept_at_the_name_that_is_looked_for(tmp_path: Path) -> None:
    real = tmp_path / "libc.so.6.1"
    real.write_bytes(b"library")
    (tmp_path / "libc.so.6").symlink_to(real)
    listed = f"\tlinux-vdso.so.1 (0x7ff)\n\tlibc.so.6 => {tmp_path}/libc.so.6 (0x7f1)\n"
    assert shared_libraries(Path("program"), listed) == {f"{tmp_path}/libc.so.6".lstrip("/"): real}


def test_a_program_without_libraries_is_an_error_rather_than_an_empty_image() -> None:
    with pytest.raises(ValueError, match="no library for program"):
        shared_libraries(Path("program"), "\tnot a dynamic executable\n")


def test_two_clusters_share_no_address_and_no_name(tmp_path: Path) -> None:
    one, other = Layout(tmp_path, 0), Layout(tmp_path, 1)
    networks = [ip_network(net) for at in (one, other) for net in (at.node_network, at.pods, at.services)]
    assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)
    assert one.link != other.link
    assert one.cgroup != other.cgroup
    assert ip_address(one.dns_address) in ip_network(one.services)
    assert ip_address(one.host_address) in ip_network(one.node_network)


def test_a_certificate_names_its_user_and_groups_and_only_its_owner_reads_the_key(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "test")
    pair = authority.issue("guard", "guard", ["watchers"], ["127.0.0.1", "guard.recsys.svc"])
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    read = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    assert read.subject.rfc4514_string() == "CN=guard,O=watchers"
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["guard.recsys.svc"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1")]
    assert pair.key.stat().st_mode & 0o077 == 0


def test_a_kubeconfig_with_a_token_is_read_by_its_owner_only(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "test")
    path = write_kubeconfig(tmp_path / "config", "https://127.0.0.1:1", authority.certificate, "secret")
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["users"][0]["user"] == {"token": "secret"}
    assert path.stat().st_mode & 0o077 == 0


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MissingError, match=r"`no-such-command` is missing: apt-get install its-package"):
        host.check_prerequisites({"no-such-command": "its-package"})


def test_without_root_that_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingError, match="needs root"):
        host.check_prerequisites({"no-such-command": "its-package"})


def test_a_part_that_ends_before_it_is_ready_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = Process("part", ["sh", "-c", "echo the reason; exit 3"], tmp_path / "part.log")
    process.start()
    with pytest.raises(host.ClusterError, match=r"part ended before it was ready:\nthe reason"):
        process.wait_until(lambda: False, 30)
