"""What may stand in `x-user-id`, decided with pencil and paper.

Here: the rule in Python. Not here: that Envoy reads its pattern alike (`gateway/test_unit_of_assignment.py`,
`platform_kubernetes/test_sticky_envoy.py`).
"""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets import visitor_id
from recsys_assets.platform.interface import Invalid
from recsys_assets.platform.validation import check_manifest
from recsys_assets_tests.contracts.manifests import virtual_service

INSIDE = set(string.ascii_letters + string.digits + string.punctuation + " ") - {","}


@given(st.binary(max_size=260))
def test_an_id_is_read_as_it_was_sent_or_not_at_all(value: bytes) -> None:
    text = value.decode("latin-1")
    fit = 1 <= len(text) <= 256 and set(text) <= INSIDE and text == text.strip(" ")
    assert visitor_id.read([value]) == (text if fit else None)


@pytest.mark.parametrize("values", [[], [b"ann", b"ann"], [b"ann", b""]])
def test_the_header_is_sent_once(values: list[bytes]) -> None:
    assert visitor_id.read(values) is None


def test_each_character_that_is_allowed_is_one_id() -> None:
    assert {chr(n) for n in range(256) if visitor_id.read([bytes([n])])} == INSIDE - {" "}


def test_the_pattern_uses_nothing_but_ascii_so_that_bytes_and_characters_are_the_same_to_it() -> None:
    assert visitor_id.PATTERN.isascii()
    assert not re.search(r"\\[xpPC]|\.|\[\^", visitor_id.PATTERN)


@pytest.mark.parametrize("header", ["x-session-id", "X-User-Id2", ""])
def test_a_route_that_would_split_by_another_header_is_refused(header: str) -> None:
    asked = virtual_service({"films-v1": 10_000}, annotations={"recsys-assets.dev/sticky-header": header})
    with pytest.raises(Invalid, match="must be x-user-id, by which model servers and logs know the visitor"):
        check_manifest(asked)
