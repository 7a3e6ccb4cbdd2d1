"""Each user stays with one variant, through a real istiod and a real Envoy, in exactly the local gateway's buckets.

Here: 10,000 users at each weight, for both ways to store a route. Not here: model servers, or a whole cluster.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from cluster.control_plane import ControlPlane
from cluster.processes import poll
from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import ANY, VIRTUAL_SERVICE
from recsys_assets.platform.kubernetes.kinds import ENVOY_FILTERS
from recsys_assets.platform.kubernetes.platform import KubernetesPlatform
from recsys_assets_tests.cluster.mesh import GATEWAY_ADDRESS, PORT, Mesh, gateway, istiod, visit
from recsys_assets_tests.cluster.namespaces import own_namespace
from recsys_assets_tests.contracts.manifests import virtual_service
from recsys_assets_tests.platform.bucket_twin import bucket

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1_800)]
RELEASE = "films-v2-20261122t190000"
NOTES = {"recsys-assets.dev/release-id": RELEASE, "recsys-assets.dev/sticky-header": "x-user-id"}
USERS = [f"user-{number}" for number in range(10_000)]
WEIGHTS = (0, 100, 500, 2_500, 5_000, 10_000)
TAKEN_SECONDS = 300.0
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def discovery(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with istiod(control_plane, tmp_path_factory.mktemp("istiod")) as port:
        yield port


@pytest.fixture(scope="module", params=["istio", "gateway-api"])
def mesh(
    request: pytest.FixtureRequest,
    control_plane: ControlPlane,
    discovery: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mesh]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    with ExitStack() as undo:
        namespace = undo.enter_context(own_namespace(control_plane.api, f"recsys-{uuid.uuid4().hex[:8]}"))
        settings = KubernetesSettings(
            namespace=namespace, kubeconfig=str(control_plane.kubeconfig), route=request.param
        )
        yield undo.enter_context(gateway(control_plane, settings, discovery, folder))


@pytest.fixture
def platform(mesh: Mesh) -> KubernetesPlatform:
    return KubernetesPlatform(mesh.settings)


def route(platform: KubernetesPlatform, canary_bp: int) -> float:
    """Write the split and wait until the gateway's Envoy itself tells it; the seconds that this took."""
    weights = {"films-v2": canary_bp, "films-v1": 10_000 - canary_bp}
    began = time.monotonic()
    platform.apply(virtual_service(weights, annotations=NOTES), expected=ANY)
    poll(f"the gateway's {weights}", lambda: dict(told(platform)) == weights, TAKEN_SECONDS, every_seconds=0.02)
    return time.monotonic() - began


def told(platform: KubernetesPlatform) -> dict[str, int]:
    return dict(platform.status(VIRTUAL_SERVICE, "films").weights)


def predicted(canary_bp: int) -> list[str]:
    """`service variant bucket`, the last of which the gateway hands on to nobody."""
    canary, stable = "films-v2 canary -", "films-v1 stable -"
    return [canary if bucket(user, RELEASE) < canary_bp else stable for user in USERS]


def test_growing_the_weight_only_moves_users_to_the_canary(platform: KubernetesPlatform, mesh: Mesh) -> None:
    before: set[str] = set()
    for weight in WEIGHTS:
        seconds = route(platform, weight)
        answers = visit(USERS)
        canary = {user for user, answer in zip(USERS, answers, strict=True) if answer.startswith("films-v2")}
        log.info("%s: %g %%: %d of 10,000, taken in %.2f s", mesh.settings.route, weight / 100, len(canary), seconds)
        assert answers == predicted(weight)
        assert before <= canary
        assert abs(len(canary) - weight) <= 4 * (weight * (10_000 - weight) / 10_000) ** 0.5
        before = canary


def test_a_second_visit_is_answered_by_the_same(platform: KubernetesPlatform) -> None:
    route(platform, 2_500)
    assert visit(USERS[:2_000]) == visit(USERS[:2_000])


def test_a_client_cannot_choose_its_bucket(platform: KubernetesPlatform) -> None:
    route(platform, 500)
    spoofed = visit(USERS[:1_000], headers="x-recsys-bucket: 0\r\nx-recsys-variant: canary\r\n")
    assert spoofed == predicted(500)[:1_000]


def test_a_route_to_one_service_needs_no_bucket(platform: KubernetesPlatform) -> None:
    platform.apply(virtual_service({"films-v3": 10_000}, annotations=NOTES), expected=ANY)
    poll("the gateway's one service", lambda: told(platform) == {"films-v3": 10_000}, TAKEN_SECONDS)
    assert visit(USERS[:500]) == ["films-v3 stable -"] * 500


def test_both_protocols_are_routed_and_other_paths_and_strangers_are_not(
    platform: KubernetesPlatform, mesh: Mesh
) -> None:
    route(platform, 500)
    assert visit(USERS[:50], path="/v2/models/films/infer") == predicted(500)[:50]
    assert visit(USERS[:2], path="/v1/models/filmsx:predict") == ["404", "404"]
    place = f"http://{GATEWAY_ADDRESS}:{PORT}/v1/models/films:predict"
    nobody = httpx.post(place, trust_env=False, timeout=30)
    if mesh.settings.route == "istio":
        assert nobody.status_code == 400
        assert "x-user-id is missing" in nobody.text
    else:
        assert nobody.status_code == 404
    unfit = {"x-user-id": "a,b"}
    assert httpx.post(place, headers=unfit, trust_env=False, timeout=30).status_code == nobody.status_code
    about = httpx.get(f"http://{GATEWAY_ADDRESS}:{PORT}/v2/health/ready", trust_env=False, timeout=30)
    assert (about.status_code, about.text) == (200, "films-v1 - -")


def test_a_copy_goes_to_the_shadow_and_the_answer_comes_from_stable(platform: KubernetesPlatform, mesh: Mesh) -> None:
    platform.apply(virtual_service({"films-v1": 10_000}, shadow="films-v2", annotations=NOTES), expected=ANY)
    poll("the mirror", lambda: "request_mirror_policies" in str(mesh.routes()), TAKEN_SECONDS)
    counted = "http.films-v2.downstream_rq_total"

    def copies() -> int:
        text = httpx.get(f"{mesh.admin}/stats?filter={counted}", trust_env=False, timeout=30).text
        return int(text.split(":")[1])

    before = copies()
    assert visit(USERS[:300]) == ["films-v1 stable -"] * 300
    poll("the copies", lambda: copies() - before == 300, TAKEN_SECONDS)


def test_a_gateway_without_the_filter_keeps_everybody_on_stable_and_is_not_ready(
    platform: KubernetesPlatform, mesh: Mesh, control_plane: ControlPlane
) -> None:
    route(platform, 5_000)
    path = ENVOY_FILTERS.path(mesh.settings.namespace, "recsys-sticky-bucket")
    taken = control_plane.api.request("GET", path)
    control_plane.api.request("DELETE", path)

    def reason() -> str:
        return platform.status(VIRTUAL_SERVICE, "films").reason

    poll("the filter being gone", lambda: "no filter that keeps each user" in reason(), TAKEN_SECONDS)
    assert set(visit(USERS[:300])) == {"films-v1 stable -"}
    metadata = {"name": taken["metadata"]["name"], "namespace": taken["metadata"]["namespace"]}
    kept = {key: taken[key] for key in ("apiVersion", "kind", "spec")}
    control_plane.api.apply(kept | {"metadata": metadata})
    poll("the filter being back", lambda: "no filter that keeps each user" not in reason(), TAKEN_SECONDS)
    assert visit(USERS[:300]) == predicted(5_000)[:300]
