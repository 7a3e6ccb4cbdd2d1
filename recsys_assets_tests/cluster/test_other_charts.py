"""The values for other people's charts, against those charts: each key exists, and what is rendered is valid.

Here: KServe's and Istio's charts out of their pinned Go modules, Dagster's out of the cache folder. Not here:
installing. Dagster's chart comes from its Helm repository. Where neither the pinned version nor another is in the cache
folder, tests that need it say so by name and are skipped; charts/test_other_charts.py judges the values without it.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import referencing
import yaml
from referencing.jsonschema import DRAFT7

from cluster.charts import ISTIO_CHARTS, KSERVE_CHARTS
from cluster.errors import MissingError
from recsys_assets_tests.charts.house import VALUES, Document, load, merged, of_kind, pinned
from recsys_assets_tests.charts.render import run_helm
from recsys_assets_tests.cluster.dagster_chart import archive, code_locations, unpacked

pytestmark = pytest.mark.cluster
DAGSTER = pinned(VALUES / "dagster.yaml")
INTERNAL = "_internal_defaults_do_not_set"
# Where a chart says `{}` or `[]`, what stands there is Kubernetes' or a person's own.
PLACES = {
    "kserve.yaml": KSERVE_CHARTS.path() / "kserve-resources",
    "kserve-crd.yaml": KSERVE_CHARTS.path() / "kserve-crd",
    "istio-base.yaml": ISTIO_CHARTS.path() / "base",
    "istio-cni.yaml": ISTIO_CHARTS.path() / "istio-cni",
    "istiod.yaml": ISTIO_CHARTS.path() / "istio-control" / "istio-discovery",
    "istiod-plain-envoy.yaml": ISTIO_CHARTS.path() / "istio-control" / "istio-discovery",
}
# Free-form in the chart: passed on to istiod as it stands.
FREE = {"istiod.yaml": {"meshConfig.defaultConfig", "meshConfig.outboundTrafficPolicy", "meshConfig.enableAutoMtls"}}
FREE["istiod-plain-envoy.yaml"] = FREE["istiod.yaml"]


def unknown(values: Document, chart: Document, above: str = "") -> Iterator[str]:
    """The places of keys that the chart's own values do not have. A probe is Kubernetes' own."""
    for key, value in values.items():
        place = f"{above}{key}"
        if key not in chart:
            yield place
        elif isinstance(value, dict) and isinstance(chart[key], dict) and chart[key] and not key.endswith("Probe"):
            yield from unknown(value, chart[key], f"{place}.")


def defaults(chart: Path) -> Document:
    loaded = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8")) or {}
    inside: Document = loaded.get(INTERNAL, loaded)
    return inside


@pytest.mark.parametrize("name", PLACES)
def test_every_key_is_one_of_the_charts(name: str) -> None:
    extra = set(unknown(load(VALUES / name), defaults(PLACES[name])))
    assert extra <= FREE.get(name, set())


def test_a_key_that_the_chart_does_not_know_would_be_found() -> None:
    chart = defaults(PLACES["kserve.yaml"])
    wrong = {"kserve": {"controller": {"deploymentmode": "Standard", "gateway": {"domain": "a"}}}}
    assert list(unknown(wrong, chart)) == ["kserve.controller.deploymentmode"]


@pytest.mark.parametrize("name", ["kserve.yaml", "kserve-crd.yaml"])
def test_the_kserve_charts_say_the_pinned_version(name: str) -> None:
    assert load(PLACES[name] / "Chart.yaml")["version"] == pinned(VALUES / name).version


def test_the_istio_charts_are_of_the_pinned_minor_version() -> None:
    """Go's module proxy has commits, not releases: the charts inside say no version, their profiles do."""
    profiles = (ISTIO_CHARTS.path() / "istio-control" / "istio-discovery" / "files").glob(
        "profile-compatibility-*.yaml"
    )
    last = max(int(found[1]) for path in profiles if (found := re.search(r"version-1\.(\d+)", path.name)))
    assert pinned(VALUES / "istiod.yaml").version.startswith(f"1.{last + 1}.")


@pytest.mark.parametrize("files", [["istiod.yaml"], ["istiod.yaml", "istiod-plain-envoy.yaml"]], ids=["mesh", "plain"])
def test_istiod_renders_valid_objects(files: list[str]) -> None:
    said = run_helm("template", "istiod", str(PLACES["istiod.yaml"]), files=[VALUES / name for name in files])
    documents = _valid(said)
    (istiod,) = of_kind(documents, "Deployment").values()
    env = {each["name"]: each.get("value") for each in istiod["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["PILOT_SCOPE_GATEWAY_TO_NAMESPACE"] == "true"
    assert env.get("PILOT_ENABLE_ALPN_FILTER", "true") == ("true" if len(files) == 1 else "false")
    mesh = yaml.safe_load(of_kind(documents, "ConfigMap")["istio"]["data"]["mesh"])
    assert mesh.get("enableAutoMtls", True) is (len(files) == 1)


def test_kserve_is_told_to_run_in_standard_mode_and_to_make_no_routes() -> None:
    said = run_helm("template", "kserve", str(PLACES["kserve.yaml"]), files=[VALUES / "kserve.yaml"])
    config = of_kind([each for each in yaml.safe_load_all(said) if each], "ConfigMap")["inferenceservice-config"][
        "data"
    ]
    assert json.loads(config["deploy"])["defaultDeploymentMode"] == "Standard"
    ingress = json.loads(config["ingress"])
    assert ingress["disableIngressCreation"] is True
    assert ingress["disableIstioVirtualHost"] is True
    assert json.loads(config["security"])["autoMountServiceAccountToken"] is False


@pytest.fixture(scope="module")
def dagster_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dagster's chart, unpacked: of the pinned version, or of another one that is there, which the test then names."""
    try:
        chosen = archive()
    except MissingError as missing:
        pytest.skip(str(missing))
    if chosen.name != f"dagster-{DAGSTER.version}.tgz":
        print(f"dagster-{DAGSTER.version}.tgz is not in the cache folder: judged by {chosen.name}")  # noqa: T201
    return unpacked(tmp_path_factory.mktemp("dagster-chart"))


def test_dagsters_charts_know_every_key(dagster_chart: Path) -> None:
    # Read by the template, see the test of the instance; the chart's values only leave them out.
    silent = {f"dagsterDaemon.runMonitoring.{name}" for name in ("cancelTimeoutSeconds", "maxRuntimeSeconds")}
    silent |= {"dagsterDaemon.runCoordinator.config.customRunCoordinator"}
    assert set(unknown(load(VALUES / "dagster.yaml"), defaults(dagster_chart))) == silent
    assert list(unknown(load(VALUES / "dagster-user-deployments.yaml"), defaults(code_locations(dagster_chart)))) == []


@pytest.mark.parametrize("name", ["dagster.yaml", "dagster-user-deployments.yaml"])
def test_dagsters_own_schema_takes_the_values(dagster_chart: Path, name: str) -> None:
    """Its references lead to Kubernetes' definitions on the web; here they are those of kubernetes-validate."""
    chart = dagster_chart if name == "dagster.yaml" else code_locations(dagster_chart)
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    together = json.loads(json.dumps(merged(yaml.safe_load((chart / "values.yaml").read_text()), load(VALUES / name))))
    found = jsonschema.Draft7Validator(schema, registry=_registry(schema)).iter_errors(together)
    assert [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in found] == []


def test_what_dagsters_charts_render_is_valid_and_hardened(dagster_chart: Path) -> None:
    system = _valid(_rendered(dagster_chart, "dagster", "dagster.yaml"))
    code = _valid(_rendered(code_locations(dagster_chart), "recsys-code", "dagster-user-deployments.yaml"))
    deployments = of_kind([*system, *code], "Deployment")
    assert len(deployments) == 3
    for deployment in deployments.values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == "recsys-dagster"
        assert deployment["spec"]["template"]["metadata"]["labels"]["recsys-assets.dev/identity"] == "dagster"
        assert not pod.get("initContainers"), "an image of somebody else's"
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["image"].endswith("/recsys-assets:0.1.0")
    assert not {"Role", "RoleBinding", "ServiceAccount", "Secret", "StatefulSet"} & {
        each["kind"] for each in [*system, *code]
    }


def test_dagster_takes_the_instance_that_its_chart_writes(dagster_chart: Path) -> None:
    """Each part of dagster.yaml against the config of the class that it names, of the Dagster that is installed."""
    from dagster._config import validate_config
    from dagster._core.instance.config import dagster_instance_config_schema

    documents = _valid(_rendered(dagster_chart, "dagster", "dagster.yaml"))
    instance: Document = yaml.safe_load(of_kind(documents, "ConfigMap")["dagster-instance"]["data"]["dagster.yaml"])
    known = dagster_instance_config_schema()
    assert instance.keys() <= known.keys() | {"instance_class"}
    classes = {name: part for name, part in instance.items() if isinstance(part, dict) and "class" in part}
    assert {"run_storage", "event_log_storage", "schedule_storage", "run_launcher", "compute_logs"} <= classes.keys()
    for name, part in classes.items():
        named = getattr(importlib.import_module(part["module"]), part["class"])
        checked = validate_config(named.config_type(), part.get("config") or {})
        assert checked.success, (name, checked.errors)
    assert instance["run_monitoring"]["max_runtime_seconds"] == 86_400
    assert instance["run_monitoring"]["cancel_timeout_seconds"] == 180


def _rendered(chart: Path, release: str, name: str) -> str:
    return run_helm("template", release, str(chart), files=[VALUES / name], more=["--skip-schema-validation"])


def _valid(text: str) -> list[Document]:
    documents = [each for each in yaml.safe_load_all(text) if each]
    for each in documents:
        if "istio.io" not in each["apiVersion"]:
            kubernetes_validate.validate(each, "1.36", strict=False)
    return documents


def _registry(schema: Document) -> referencing.Registry[Any]:
    """Every reference of the schema that leads to the web, answered by the definitions of Kubernetes 1.36."""
    place = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / "v1.36.0-local" / "_definitions.json"
    known = json.loads(place.read_text(encoding="utf-8"))["$defs"]
    definitions = DRAFT7.create_resource({"definitions": known, "$defs": known})
    urls = set(re.findall(r'"\$ref": "(https://[^"#]+)#', json.dumps(schema)))
    return referencing.Registry().with_resources([(url, definitions) for url in urls])
