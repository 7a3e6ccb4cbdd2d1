"""Our chart through helm, and what it makes sent to a real API server: taken, and each identity held to its rights.

Here: lint, templates, refusals, dry runs, rights that are tried. Not here: pods that run (test_story.py).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from cluster.api import ApiError
from cluster.control_plane import ControlPlane
from recsys_assets_tests.charts.house import CASE_FILES, CASES, CHART, RENDERED, VALUES, of_kind, rendered
from recsys_assets_tests.charts.render import STICKY_FILE, helm_template, run_helm, sticky_text

pytestmark = pytest.mark.cluster
EXAMPLE = (VALUES / "recsys-assets.yaml", CASES / "keys.yaml")
HINT = "run `python -m recsys_assets_tests.charts.render` and look at what changed"


def refused(*more: str) -> str:
    """What helm says instead of rendering."""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        helm_template("mesh", *more)
    return str(failed.value.stderr)


def test_helm_finds_nothing_wrong_with_the_chart() -> None:
    said = run_helm("lint", "--strict", str(CHART), files=EXAMPLE)
    assert "0 chart(s) failed" in said


@pytest.mark.parametrize("case", CASE_FILES)
def test_helm_renders_what_is_kept(case: str) -> None:
    kept = (RENDERED / f"{case}.yaml").read_text(encoding="utf-8")
    assert kept.partition("\n")[2] == helm_template(case), HINT


def test_the_sticky_filters_in_the_chart_are_the_codes() -> None:
    assert STICKY_FILE.read_text(encoding="utf-8") == sticky_text(), HINT


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("gateway.replica=3", "additional properties 'replica' not allowed"),
        ("gateway.mode=plain", "a plain Envoy has no certificate"),
        ("settings.kubernetes.namespace=other", "settings.kubernetes.namespace is other"),
        ("settings.kubernetes.image=films:1", "settings.kubernetes.image is films:1, but image says"),
        ("settings.kubernetes.gateway.port=8080", "gateway.service.port is 80"),
        ("settings.kubernetes.gateway.name=edge", "settings.kubernetes.gateway.name is edge"),
        ("settings.kubernetes.home_claim=elsewhere", "settings.kubernetes.home_claim is elsewhere"),
        (
            "gateway.logs.keepDays=2",
            "gateway.logs.keepDays 2 keeps 172800 s, but settings.rollout.plan looks back 176400 s",
        ),
        ("settings.rollout.plan.history_seconds=1033201", "settings.rollout.plan looks back 1209601 s"),
    ],
)
def test_values_that_contradict_each_other_are_refused(change: str, told: str) -> None:
    assert told in refused("--set", change)


def test_a_log_that_is_kept_for_just_as_long_as_a_release_looks_back_is_enough() -> None:
    assert helm_template("mesh", "--set", "settings.rollout.plan.history_seconds=1033200")


@pytest.mark.parametrize(
    ("absent", "told"),
    [
        ("networking.istio.io/v1", "install the charts istio/base and istio/istiod first"),
        ("serving.kserve.io/v1beta1", "install the charts kserve-crd and kserve-resources first"),
    ],
)
def test_a_cluster_without_what_is_needed_is_refused_with_what_to_install(absent: str, told: str) -> None:
    others = {"networking.istio.io/v1", "serving.kserve.io/v1beta1"} - {absent}
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_helm("template", "recsys", str(CHART), files=EXAMPLE, more=["--api-versions", *others])
    assert told in failed.value.stderr


@pytest.mark.parametrize("case", CASE_FILES)
def test_a_real_api_server_takes_every_object(control_plane: ControlPlane, case: str) -> None:
    """In a namespace of the restricted level. Kinds of the Prometheus operator are left out: it is not here."""
    namespace = f"chart-{case.replace('_', '-')}"
    control_plane.api.apply(_namespace(namespace))
    for document in (each for each in rendered(case) if not each["apiVersion"].startswith("monitoring.coreos.com/")):
        control_plane.api.apply(document | {"metadata": document["metadata"] | {"namespace": namespace}})


def test_a_pod_of_every_deployment_is_admitted_by_the_restricted_level(control_plane: ControlPlane) -> None:
    control_plane.api.apply(_namespace("chart-pods"))
    for name in of_kind(rendered("plain"), "ServiceAccount"):
        about = {"name": name, "namespace": "chart-pods"}
        control_plane.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about})
    for name, deployment in of_kind(rendered("plain"), "Deployment").items():
        about = {"name": name, "namespace": "chart-pods"}
        spec = deployment["spec"]["template"]["spec"]
        control_plane.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec})


def _namespace(name: str) -> dict[str, object]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def test_what_is_written_beside_the_chart_is_yaml(tmp_path: Path) -> None:
    for path in (CHART / "files").glob("*.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_level_itself_refuses_a_pod_as_root(control_plane: ControlPlane) -> None:
    """Else the tests above would prove nothing."""
    control_plane.api.apply(_namespace("chart-root"))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root", "namespace": "chart-root"},
        "spec": {"containers": [{"name": "root", "image": "root"}]},
    }
    with pytest.raises(ApiError, match="violates PodSecurity"):
        control_plane.api.apply(pod)
