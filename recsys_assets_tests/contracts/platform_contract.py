"""What every Platform must do, whatever stands behind it: subclass this and give a `platform` fixture.

Here: the laws of storing and the refusals. Not here: how an implementation makes a manifest real.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from recsys_assets.platform.interface import (
    ANY,
    DESTINATION_RULE,
    INFERENCE_SERVICE,
    VIRTUAL_SERVICE,
    Conflict,
    Invalid,
    NotFound,
    Platform,
)
from recsys_assets_tests.contracts.manifests import destination_rule, inference_service, virtual_service


class PlatformContract:
    """Each test claims one thing about the fixture `platform`, which starts empty."""

    def test_it_is_a_platform(self, platform: Platform) -> None:
        assert isinstance(platform, Platform)

    def test_what_was_applied_is_read_back_with_its_identity(self, platform: Platform) -> None:
        applied = platform.apply(inference_service("films-v1"), expected=None)
        found = platform.get(INFERENCE_SERVICE, "films-v1")
        assert found == applied
        assert found["metadata"]["generation"] == 1
        assert found["metadata"]["resourceVersion"]
        assert found["metadata"]["uid"]
        assert found["metadata"]["creationTimestamp"]
        assert found["spec"] == inference_service("films-v1")["spec"]

    def test_what_is_not_there_is_none_in_get_and_not_found_in_status(self, platform: Platform) -> None:
        assert platform.get(VIRTUAL_SERVICE, "films") is None
        with pytest.raises(NotFound, match="VirtualService/films"):
            platform.status(VIRTUAL_SERVICE, "films")

    def test_list_names_each_object_of_the_kind_once_and_in_order(self, platform: Platform) -> None:
        for name in ("films-v2", "films-v1"):
            platform.apply(inference_service(name), expected=None)
        platform.apply(destination_rule("films-v1"), expected=None)
        assert [m["metadata"]["name"] for m in platform.list(INFERENCE_SERVICE)] == ["films-v1", "films-v2"]
        assert [m["metadata"]["name"] for m in platform.list(DESTINATION_RULE)] == ["films-v1"]
        assert platform.list(VIRTUAL_SERVICE) == []

    def test_a_second_creator_is_refused(self, platform: Platform) -> None:
        platform.apply(virtual_service({"films-v1": 10_000}), expected=None)
        with pytest.raises(Conflict, match=r"VirtualService/films: exists already"):
            platform.apply(virtual_service({"films-v2": 10_000}), expected=None)

    def test_a_stale_writer_is_refused_and_changes_nothing(self, platform: Platform) -> None:
        first = platform.apply(virtual_service({"films-v1": 10_000}), expected=None)
        seen = first["metadata"]["resourceVersion"]
        second = platform.apply(virtual_service({"films-v2": 10_000}), expected=seen)
        with pytest.raises(Conflict, match=seen):
            platform.apply(virtual_service({"films-v3": 10_000}), expected=seen)
        assert platform.get(VIRTUAL_SERVICE, "films") == second

    def test_a_writer_that_expects_a_deleted_object_is_refused(self, platform: Platform) -> None:
        first = platform.apply(virtual_service({"films-v1": 10_000}), expected=None)
        platform.delete(VIRTUAL_SERVICE, "films")
        with pytest.raises(Conflict, match="gone"):
            platform.apply(first, expected=first["metadata"]["resourceVersion"])

    def test_any_version_may_be_overwritten_by_one_who_says_so(self, platform: Platform) -> None:
        platform.apply(virtual_service({"films-v1": 10_000}), expected=ANY)
        applied = platform.apply(virtual_service({"films-v2": 10_000}), expected=ANY)
        assert applied["spec"]["http"][0]["route"][0]["destination"]["host"] == "films-v2"

    def test_the_generation_follows_the_spec_and_the_resource_version_every_change(self, platform: Platform) -> None:
        first = platform.apply(virtual_service({"films-v1": 10_000}), expected=None)["metadata"]
        noted = virtual_service({"films-v1": 10_000}, annotations={"recsys-assets.dev/step": "2"})
        second = platform.apply(noted, expected=first["resourceVersion"])["metadata"]
        moved = virtual_service({"films-v2": 10_000}, annotations={"recsys-assets.dev/step": "2"})
        third = platform.apply(moved, expected=second["resourceVersion"])["metadata"]
        assert [m["generation"] for m in (first, second, third)] == [1, 1, 2]
        assert len({m["resourceVersion"] for m in (first, second, third)}) == 3
        assert first["uid"] == third["uid"]

    def test_applying_what_stands_there_changes_nothing(self, platform: Platform) -> None:
        first = platform.apply(inference_service("films-v1"), expected=None)
        again = platform.apply(first, expected=first["metadata"]["resourceVersion"])
        assert again["metadata"] == first["metadata"]

    def test_an_annotation_that_is_left_out_is_gone(self, platform: Platform) -> None:
        noted = virtual_service({"films-v1": 10_000}, annotations={"recsys-assets.dev/step": "2"})
        first = platform.apply(noted, expected=None)
        second = platform.apply(virtual_service({"films-v1": 10_000}), expected=first["metadata"]["resourceVersion"])
        assert "recsys-assets.dev/step" not in second["metadata"].get("annotations", {})

    def test_what_is_changed_in_the_hand_of_the_reader_does_not_change_the_store(self, platform: Platform) -> None:
        applied = platform.apply(virtual_service({"films-v1": 10_000}), expected=None)
        before = copy.deepcopy(applied)
        applied["spec"]["hosts"].append("elsewhere")
        assert platform.get(VIRTUAL_SERVICE, "films") == before

    def test_deleting_twice_is_deleting_once(self, platform: Platform) -> None:
        platform.apply(inference_service("films-v1"), expected=None)
        assert platform.delete(INFERENCE_SERVICE, "films-v1") is True
        assert platform.delete(INFERENCE_SERVICE, "films-v1") is False
        assert platform.get(INFERENCE_SERVICE, "films-v1") is None

    def test_a_stale_deleter_is_refused(self, platform: Platform) -> None:
        first = platform.apply(virtual_service({"films-v1": 10_000}), expected=None)
        platform.apply(virtual_service({"films-v2": 10_000}), expected=ANY)
        with pytest.raises(Conflict):
            platform.delete(VIRTUAL_SERVICE, "films", expected=first["metadata"]["resourceVersion"])
        assert platform.get(VIRTUAL_SERVICE, "films") is not None

    def test_a_namesake_is_another_object(self, platform: Platform) -> None:
        first = platform.apply(inference_service("films-v1"), expected=None)["metadata"]
        platform.delete(INFERENCE_SERVICE, "films-v1")
        second = platform.apply(inference_service("films-v1"), expected=None)["metadata"]
        assert first["uid"] != second["uid"]
        assert first["resourceVersion"] != second["resourceVersion"]
        assert second["generation"] == 1

    def test_an_object_that_nobody_looked_at_is_not_ready(self, platform: Platform) -> None:
        platform.apply(inference_service("films-v1"), expected=None)
        status = platform.status(INFERENCE_SERVICE, "films-v1")
        assert not status.ready
        assert status.generation == 1
        assert status.reason

    @pytest.mark.parametrize(("place", "value", "told"), [
        (("kind",), "Service", r"Service/films: kind: must be one of"),
        (("apiVersion",), "v1", r"VirtualService/films: apiVersion: must be"),
        (("metadata", "name"), "Films!", r"metadata.name: must be a DNS label"),
        (("metadata", "labels"), {"model": "a b"}, r"metadata.labels.model: must be a label value"),
        (("metadata", "annotations"), {"step": 2}, r"metadata.annotations.step: must be a string"),
        (("spec", "hosts"), [], r"spec.hosts: must be a list of at least 1"),
        (("spec", "http"), "all", r"spec.http: must be a list"),
        (("spec", "http", 0, "route", 0, "weight"), 1.5, r"http\[0\].route\[0\].weight: must be a whole number"),
        (("spec", "http", 0, "route", 0, "weight"), -1, r"http\[0\].route\[0\].weight: must be a whole number"),
        (("spec", "http", 0, "route", 0, "weight"), 9_999, r"http\[0\].route: weights must sum to 10000"),
        (("spec", "http", 0, "route", 0, "destination"), {}, r"route\[0\].destination.host: must be a non-empty"),
        (("spec", "http", 0, "mirror"), {"host": ""}, r"http\[0\].mirror.host: must be a non-empty"),
        (("spec", "http", 0, "mirrorPercentage"), {"value": 101}, r"mirrorPercentage.value: must be a number"),
        (("spec", "http", 0, "timeout"), "soon", r"http\[0\].timeout: must be a duration"),
        (("specs",), {}, r"\(top\): unknown fields specs"),
    ])  # fmt: skip
    def test_a_broken_route_is_refused_with_its_place(
        self, platform: Platform, place: tuple[str | int, ...], value: object, told: str
    ) -> None:
        manifest = _with(virtual_service({"films-v1": 10_000}), place, value)
        with pytest.raises(Invalid, match=told):
            platform.apply(manifest, expected=None)
        assert platform.list(VIRTUAL_SERVICE) == []

    @pytest.mark.parametrize(("place", "value", "told"), [
        (("metadata", "annotations"), {}, r"serving.kserve.io/deploymentMode: must be Standard, got None"),
        (("spec", "predictor"), None, r"spec.predictor: must be a mapping"),
        (("spec", "predictor", "canaryTrafficPercent"), 10, r"canaryTrafficPercent: is silently ignored"),
        (("spec", "predictor", "containers"), [], r"predictor.containers: must be a list of at least 1"),
        (("spec", "predictor", "containers", 0, "command"), [], r"containers\[0\].command: must be a list"),
        (("spec", "predictor", "containers", 0, "args"), [8], r"containers\[0\].args\[0\]: must be a non-empty"),
    ])  # fmt: skip
    def test_a_broken_service_is_refused_with_its_place(
        self, platform: Platform, place: tuple[str | int, ...], value: object, told: str
    ) -> None:
        with pytest.raises(Invalid, match=told):
            platform.apply(_with(inference_service("films-v1"), place, value), expected=None)
        assert platform.list(INFERENCE_SERVICE) == []

    def test_a_route_with_one_service_twice_is_refused(self, platform: Platform) -> None:
        manifest = virtual_service({"films-v1": 5_000, "films-v2": 5_000})
        manifest["spec"]["http"][0]["route"][0]["destination"]["host"] = "films-v2"
        with pytest.raises(Invalid, match="names 'films-v2' twice"):
            platform.apply(manifest, expected=None)

    def test_an_invalid_change_leaves_the_old_object(self, platform: Platform) -> None:
        first = platform.apply(destination_rule("films-v1"), expected=None)
        broken = _with(destination_rule("films-v1"), ("spec", "trafficPolicy", "outlierDetection", "interval"), "1 s")
        with pytest.raises(Invalid, match=r"outlierDetection\.interval"):
            platform.apply(broken, expected=first["metadata"]["resourceVersion"])
        assert platform.get(DESTINATION_RULE, "films-v1") == first


def _with(manifest: dict[str, Any], place: tuple[str | int, ...], value: object) -> dict[str, Any]:
    at: Any = manifest
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return manifest
