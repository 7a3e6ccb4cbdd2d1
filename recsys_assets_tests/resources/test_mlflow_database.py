"""Two processes that come first to a new home both find MLflow's database, its experiment and its model.

Here: real processes that start at one moment. Not here: what is kept in it (test_registry.py, test_tracking.py).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from recsys_assets_tests.waiting import HANG_SECONDS

COMES = """
import sys
import mlflow
from recsys_assets.resources.registry import ModelRegistryResource, mlflow_client, mlflow_uri
from recsys_assets.resources.tracking import TrackingResource
home = sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
client = mlflow_client(mlflow_uri(home, ""))
experiment = TrackingResource(home=home, experiment="recommender")._experiment_id(client)
registry = ModelRegistryResource(home=home, model_name="recommender")
registry._ensure_model()
print(experiment, registry.versions())
"""


def test_two_first_runs_of_a_home_make_one_database(tmp_path: Path) -> None:
    words = [sys.executable, "-c", COMES, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [subprocess.Popen(words, text=True, **pipes) for _ in range(2)]
    for each in both:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in both:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    ends = [each.communicate(timeout=HANG_SECONDS) for each in both]
    assert [each.returncode for each in both] == [0, 0], ends
    assert [said for said, _ in ends] == ["1 []\n", "1 []\n"]
