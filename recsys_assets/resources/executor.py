"""Where the steps of a run execute: in the run's own process, or on Kubernetes each in a pod of its own.

Here: the executor by the settings, with what each step may use. Not here: how a run itself is launched (the instance).
Jobs that only look and move (`rollout/jobs.py`) stay in the run's process: a pod for each costs more than the work.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from recsys_assets.kubernetes_settings import Resources
from recsys_assets.settings import Settings


def executor_of(settings: Settings) -> dg.ExecutorDefinition:
    """One machine: steps of a run share the imports of one process. A cluster: a training does not share a pod."""
    if settings.platform != "kubernetes":
        return dg.in_process_executor
    from dagster_k8s import k8s_job_executor

    executor: dg.ExecutorDefinition = k8s_job_executor.configured(step_config(settings), name="k8s_sized_steps")
    return executor


def step_config(settings: Settings) -> dict[str, Any]:
    """The executor's config. A step that is not named has the sizes that the run launcher gives to every pod."""
    kubernetes = settings.kubernetes
    sized = {step: {"container_config": _container(sizes)} for step, sizes in kubernetes.resources_by_step.items()}
    return {
        "max_concurrent": kubernetes.concurrent_steps,
        # A run whose pod is deleted takes its steps with it, so that nobody works on for a run that is over.
        "enable_owner_references": True,
        "per_step_k8s_config": sized,
    }


def _container(sizes: Resources) -> dict[str, Any]:
    limits = {"memory": sizes.memory_limit} | ({} if sizes.cpu_limit is None else {"cpu": sizes.cpu_limit})
    return {"resources": {"requests": {"cpu": sizes.cpu, "memory": sizes.memory}, "limits": limits}}
