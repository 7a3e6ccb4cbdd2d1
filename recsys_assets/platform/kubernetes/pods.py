"""How far a model version's pods are, and why no further, from KServe's and Kubernetes' own words.

Here: pure reading of InferenceService, Deployment and pods. Not here: asking for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from recsys_assets.platform.kubernetes.kinds import SPEC_ANNOTATION

Document = Mapping[str, Any]
# What a pod waits for before it can fail; anything else that a container waits for is told as a problem.
_COMING: Final = frozenset({"ContainerCreating", "PodInitializing"})
_MAX_TOLD: Final = 1_000


@dataclass(frozen=True)
class Progress:
    """Whether the pods are of the present spec, whether they serve, and the reason in words."""

    is_observed: bool
    is_ready: bool
    reason: str


def progress(service: Document, deployment: Document | None, pods: Sequence[Document]) -> Progress:
    """Of one InferenceService. KServe's own observedGeneration is its Deployment's, and so says nothing of the service:
    the digest of the spec, which KServe copies from the service onto its pods, does."""
    wanted = _digest(service.get("spec", {}).get("predictor", {}))
    condition = _condition(service, "Ready")
    if deployment is None:
        return Progress(False, False, _told(condition, "KServe has made no Deployment for it yet"))
    template = deployment["spec"]["template"]["metadata"]
    status = deployment.get("status") or {}
    if wanted is None or _digest(template) != wanted:
        return Progress(False, False, _told(condition, "its Deployment is still of another spec"))
    if status.get("observedGeneration") != deployment["metadata"].get("generation"):
        return Progress(False, False, "its Deployment was changed and is not looked at yet")
    problems = [problem for pod in pods if _digest(pod["metadata"]) == wanted and (problem := _problem(pod))]
    counts = {name: int(status.get(name) or 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    rolled_out = counts["replicas"] == counts["updatedReplicas"] and counts["availableReplicas"] >= 1
    is_ready = rolled_out and condition.get("status") == "True"
    if is_ready:
        return Progress(True, True, "ready")
    return Progress(True, False, "; ".join(problems)[:_MAX_TOLD] or _waiting(deployment, condition, counts))


def _waiting(deployment: Document, condition: Document, counts: Mapping[str, int]) -> str:
    for kind in ("ReplicaFailure", "Progressing"):
        found = _condition(deployment, kind)
        if found.get("status") == ("True" if kind == "ReplicaFailure" else "False"):
            return _told(found, "its Deployment does not get on")
    return _told(condition, f"{counts['availableReplicas']} of {counts['replicas']} pods are available")


def _digest(holder: Document) -> str | None:
    found = (holder.get("annotations") or {}).get(SPEC_ANNOTATION)
    return None if found is None else str(found)


def _condition(document: Document, kind: str) -> Document:
    conditions = (document.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") == kind), {})


def _told(condition: Document, otherwise: str) -> str:
    said = ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))
    return f"{otherwise} ({said})"[:_MAX_TOLD] if said else otherwise


def _problem(pod: Document) -> str | None:
    """Why this pod does not serve: it finds no node, its image is not there, it crashes, and what it said last."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"pod {name} is on no node: {_told(scheduled, 'unscheduled')}"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        if told := _container(container):
            return f"pod {name}: {told}"
    return None


def _container(status: Document) -> str | None:
    waiting = (status.get("state") or {}).get("waiting") or {}
    ended = (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    last = f"ended with exit code {ended.get('exitCode')}" if ended.get("exitCode") else ""
    words = str(ended.get("message") or "").strip() or (ended.get("reason") if last else "")
    reason = waiting.get("reason")
    parts = [
        reason if reason and reason not in _COMING else "",
        str(waiting.get("message") or "") if reason not in _COMING else "",
        f"{last}, it said last: {words}" if last and words else last,
    ]
    told = "; ".join(part for part in parts if part)
    return told if told and not status.get("ready") else None
