"""Writes what is kept beside the charts and follows from somewhere else: `python -m recsys_assets_tests.charts.render`.

Here: our chart's sticky filters out of the code, and its renderings by helm, from the wheel that cluster/ pins. Not
here: any claim about them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.kubernetes.sticky import envoy_filters
from recsys_assets_tests.charts.house import CASE_FILES, CASES, CHART, RENDERED, VALUES

STICKY_FILE = CHART / "files" / "sticky.yaml"
CLUSTER_KNOWS = (
    "networking.istio.io/v1",
    "serving.kserve.io/v1beta1",
    "gateway.networking.k8s.io/v1",
    "monitoring.coreos.com/v1",
)
_HEAD = "# Written by `python -m recsys_assets_tests.charts.render`; do not edit.\n"


def sticky_text() -> str:
    """The specs of the filters by their names."""
    specs = {each["metadata"]["name"]: each["spec"] for each in envoy_filters(KubernetesSettings())}
    return _HEAD + yaml.dump(specs, Dumper=_Dumper, sort_keys=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes a program as the lines that it has."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def helm_template(case: str, *more: str) -> str:
    """What helm renders of our chart."""
    files = [VALUES / "recsys-assets.yaml", CASES / "keys.yaml", *(CASES / name for name in CASE_FILES[case])]
    knows = [word for api in CLUSTER_KNOWS for word in ("--api-versions", api)]
    return run_helm("template", "recsys", str(CHART), files=files, more=[*knows, *more])


def run_helm(*words: str, files: Sequence[Path] = (), more: Sequence[str] = ()) -> str:
    """Run helm against no cluster; CalledProcessError holds what it said."""
    from cluster.charts import helm

    values = [word for path in files for word in ("--values", str(path))]
    command = [str(helm()), *words, "--namespace", "recsys", "--kube-version", "1.36.0", *values, *more]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    STICKY_FILE.write_text(sticky_text(), encoding="utf-8")
    for case in CASE_FILES:
        (RENDERED / f"{case}.yaml").write_text(_HEAD + helm_template(case), encoding="utf-8")
        sys.stdout.write(f"{case}\n")


if __name__ == "__main__":
    main()
