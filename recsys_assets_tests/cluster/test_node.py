"""The node is a real one: containers run, are restarted, limited and confined, and nothing is left afterwards.

Here: what the other tests of this folder take for granted. Not here: anything of the product.
"""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.charts import kubectl
from cluster.cluster import Cluster
from cluster.part_images import BUSYBOX_IMAGE
from cluster.processes import poll, run

pytestmark = pytest.mark.cluster

NAMESPACE = "node-tests"
SECONDS = 180.0

Pod = dict[str, Any]


@pytest.fixture(scope="module")
def namespace(node: Cluster) -> Iterator[str]:
    """A namespace that goes away with everything in it."""
    node.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
    poll("the namespace's service account", lambda: node.api.exists(account), SECONDS)
    yield NAMESPACE
    node.api.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}")


def pod(name: str, script: str, **more: object) -> Pod:
    """A pod of one busybox container that runs a script; `more` are fields of the container."""
    container = {
        "name": "main",
        "image": BUSYBOX_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", script],
    }
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container | more]}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def once(name: str, script: str, **more: object) -> Pod:
    """A pod whose container is not started again when the script has ended."""
    made = pod(name, script, **more)
    made["spec"]["restartPolicy"] = "Never"
    return made


def status_of(node: Cluster, name: str) -> dict[str, Any]:
    """The status of the pod's only container; empty before kubelet has written one."""
    found = node.api.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")
    containers = found["status"].get("containerStatuses") or [{}]
    status: dict[str, Any] = containers[0]
    return status


def wait_for(node: Cluster, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The container's status once it is as awaited."""
    poll(f"the pod {name} being as awaited", lambda: holds(status_of(node, name)), SECONDS)
    return status_of(node, name)


def answer(url: str) -> str | None:
    """What a server answers, None while it does not."""
    try:
        with urllib.request.urlopen(url, timeout=2) as opened:
            text: str = opened.read().decode()
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return None
    return text


def logs_of(node: Cluster, name: str) -> str:
    """What the pod has printed, as kubectl fetches it through the API server and kubelet."""
    return run([kubectl(), "--kubeconfig", node.kubeconfig, "--namespace", NAMESPACE, "logs", name])


def is_running(status: dict[str, Any]) -> bool:
    """Whether the container runs and its probes pass."""
    return bool(status.get("ready"))


def has_ended(status: dict[str, Any]) -> bool:
    """Whether the container has ended."""
    return "terminated" in status.get("state", {})


def test_the_node_is_ready_with_the_pinned_kubelet(node: Cluster) -> None:
    status = node.api.request("GET", "/api/v1/nodes/node")["status"]
    assert {each["type"]: each["status"] for each in status["conditions"]}["Ready"] == "True"
    assert status["nodeInfo"]["kubeletVersion"].startswith("v1.36.")
    assert status["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")


def test_a_service_address_leads_to_its_pod_from_the_host_and_by_name_from_another_pod(
    node: Cluster, namespace: str
) -> None:
    ready = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
    script = "mkdir /tmp/www && echo found > /tmp/www/index.html && exec httpd -f -p 8000 -h /tmp/www"
    node.api.apply(pod("server", script, readinessProbe=ready))
    spec = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]}
    metadata = {"name": "shop", "namespace": namespace}
    made = node.api.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    wait_for(node, "server", is_running)
    url = f"http://{made['spec']['clusterIP']}/"
    # Ready does not mean that kube-proxy has written the rules.
    poll("the service answering", lambda: answer(url) == "found\n", SECONDS)
    # A static busybox resolves names in nslookup only: its C library would load the resolver of wget at run time.
    script = f"until nslookup shop.{namespace}.svc.cluster.local; do sleep 1; done; wget -q -O - {url}"
    node.api.apply(once("client", script))
    wait_for(node, "client", has_ended)
    said = logs_of(node, "client").splitlines()
    assert f"Address: {made['spec']['clusterIP']}" in said
    assert said[-1] == "found"


def test_a_name_outside_the_cluster_does_not_exist_and_is_said_so_at_once(node: Cluster, namespace: str) -> None:
    node.api.apply(once("outside", "nslookup example.invalid."))
    wait_for(node, "outside", has_ended)
    assert "NXDOMAIN" in logs_of(node, "outside")


def test_a_pod_reaches_a_server_that_listens_on_the_host_side_of_the_link(node: Cluster, namespace: str) -> None:
    node.api.apply(once("outward", f"nc -w 3 {node.host_address} 9 </dev/null"))
    wait_for(node, "outward", has_ended)
    # Nobody listens there: refused at once, not lost, so the way exists.
    assert "refused" in logs_of(node, "outward")


def test_a_killed_container_is_restarted(node: Cluster, namespace: str) -> None:
    node.api.apply(pod("mortal", "sleep 1000"))
    first = wait_for(node, "mortal", is_running)
    kill_container(first["containerID"])
    again = wait_for(node, "mortal", lambda status: is_running(status) and status["restartCount"] == 1)
    assert again["lastState"]["terminated"]["exitCode"] == 128 + signal.SIGKILL
    assert again["containerID"] != first["containerID"]


def test_a_container_over_its_memory_limit_is_killed_with_that_reason(node: Cluster, namespace: str) -> None:
    node.api.apply(once("greedy", "tail /dev/zero", resources={"limits": {"memory": "32Mi"}}))
    ended = wait_for(node, "greedy", has_ended)
    assert ended["state"]["terminated"]["reason"] == "OOMKilled"


def test_a_read_only_root_refuses_writes_and_the_user_is_not_root(node: Cluster, namespace: str) -> None:
    confined = {"readOnlyRootFilesystem": True, "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001}
    node.api.apply(once("confined", "id -u; touch /file", securityContext=confined))
    wait_for(node, "confined", has_ended)
    said = logs_of(node, "confined")  # both streams, in no fixed order
    assert "10001" in said.splitlines()
    assert "Read-only file system" in said


def test_an_image_that_runs_as_root_is_not_started_where_that_is_forbidden(node: Cluster, namespace: str) -> None:
    node.api.apply(pod("rooted", "id -u", securityContext={"runAsNonRoot": True}))

    def refused(status: dict[str, Any]) -> bool:
        return bool(status.get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError")

    waiting = wait_for(node, "rooted", refused)
    assert "image will run as root" in waiting["state"]["waiting"]["message"]


def kill_container(container_id: str) -> None:
    """Kill the first process of a container, found by the id that its control group carries."""
    wanted = container_id.removeprefix("containerd://")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            groups = (folder / "cgroup").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if wanted in groups:
            os.kill(int(folder.name), signal.SIGKILL)
            return
    raise AssertionError(f"no process of {container_id} is found")
