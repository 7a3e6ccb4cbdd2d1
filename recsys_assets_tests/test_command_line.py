"""What the command line says when something is wrong that is no bug: a line or two, an exit code, no stack trace.

Here: the real command and the real stack in trouble. Not here: what a working command does (each room's tests).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer import BadParameter

from recsys_assets.platform.interface import Unavailable
from recsys_assets.platform.local import stack
from recsys_assets.platform.local.locks import turn
from recsys_assets.platform.local.programs import MLFLOW, RECONCILER
from recsys_assets.rollout.cli import _name
from recsys_assets.settings import Settings
from recsys_assets_tests.journeys import town
from recsys_assets_tests.journeys.house import processes_of as processes
from recsys_assets_tests.platform.homes import running_programs
from recsys_assets_tests.waiting import HANG_SECONDS, eventually

COMMAND = str(Path(sys.executable).with_name("recsys-assets"))
IMPORTS = "from recsys_assets.command_line import run; "
STARTS_MLFLOW = """
import sys
from pathlib import Path
from recsys_assets.command_line import run
from recsys_assets.platform.local import stack
from recsys_assets.platform.local.programs import MLFLOW
from recsys_assets.settings import load_settings
settings = load_settings(home=Path(sys.argv[1]), config=Path(sys.argv[2]))
run(lambda: stack.start(settings, (MLFLOW,)))
"""


def say(*words: str, home: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RECSYS_", "DAGSTER_"))}
    given = {"COLUMNS": "500"} | ({} if home is None else {"RECSYS_HOME": str(home)}) | variables
    return subprocess.run(
        list(words),
        env=ours | given,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=HANG_SECONDS,
        check=False,
    )


def refused(told: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert told.returncode == code, told
    assert "Traceback" not in told.stderr + told.stdout
    assert len(told.stderr.splitlines()) <= 2, told.stderr
    for word in words:
        assert word in told.stderr


@pytest.fixture
def quick(tmp_path: Path) -> Settings:
    """The town's settings, but a stack that does not answer in three seconds is given up."""
    settings = town.make_settings(tmp_path)
    return settings.model_copy(update={"serving": settings.serving.model_copy(update={"ready_timeout_seconds": 3.0})})


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_home_that_is_a_file_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    told = say(COMMAND, "status", home=tmp_path / "file" / below)
    refused(told, 2, "RECSYS_HOME", f"{tmp_path}/file is a file, not a folder")


@pytest.mark.parametrize("command", ["up", "demo", "init", "approve x", "collector-token add web"])
def test_a_home_that_cannot_be_made_is_named_with_what_to_do(command: str) -> None:
    told = say(COMMAND, *command.split(), home=Path("/proc/recsys"))
    refused(told, 2, "/proc/recsys: cannot be the home folder", "let RECSYS_HOME name a folder")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system to fill")
@pytest.mark.parametrize(("free", "why"), [(0, "No space left on device"), (60_000, "database or disk is full")])
def test_a_full_disk_is_named(tmp_path: Path, free: int, why: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)], check=True)
    try:
        (disk / "full").write_bytes(b"x" * (102_400 - free))
        refused(say(COMMAND, "init", home=disk / "home"), 2, why, "let RECSYS_HOME name")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    refused(say(COMMAND, "status", home=tmp_path / ("d" * 300)), 2, "File name too long")


@pytest.mark.parametrize("config", ["a folder", "nowhere"])
def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path, config: str) -> None:
    (tmp_path / "a folder").mkdir()
    refused(say(COMMAND, "status", home=tmp_path, RECSYS_CONFIG=str(tmp_path / config)), 2, f"{tmp_path}/{config}")


@pytest.mark.parametrize("command", ["up", "demo"])
def test_taken_ports_are_named_before_anything_starts(quick: Settings, command: str) -> None:
    serving = quick.serving
    with socket.socket() as gateway, socket.socket() as collector:
        for other, port in ((gateway, serving.gateway_port), (collector, serving.collector_port)):
            other.bind((serving.host, port))
            other.listen()
        told = say(COMMAND, command, home=quick.home, RECSYS_CONFIG=str(quick.config_file))
    by = f"is taken by process {os.getpid()} ("
    refused(told, 1, f"port {serving.gateway_port} {by}", "serving.gateway_port sets it")
    refused(told, 1, f"port {serving.collector_port} {by}", "serving.collector_port sets it")
    assert processes(quick) == []
    assert not quick.path("tables").exists()


def test_a_slow_mlflow_is_named_with_its_setting_and_what_was_started_is_stopped(quick: Settings) -> None:
    with turn(quick.path("mlflow", "mlflow.lock")):
        told = r"program/mlflow: is RUNNING, but does not answer within 3 s \(serving.ready_timeout_seconds\)"
        with pytest.raises(Unavailable, match=told):
            stack.start(quick, (MLFLOW,))
    assert processes(quick) == []


def test_what_ran_before_a_start_that_failed_runs_on(quick: Settings) -> None:
    patient = quick.model_copy(update={"serving": quick.serving.model_copy(update={"ready_timeout_seconds": 600})})
    try:
        stack.start(patient, (RECONCILER,))
        before = running_programs(quick)[RECONCILER].pid
        with turn(quick.path("mlflow", "mlflow.lock")), pytest.raises(Unavailable, match="program/mlflow"):
            stack.start(quick, (RECONCILER, MLFLOW))
        assert {name: state.pid for name, state in running_programs(quick).items()} == {RECONCILER: before}
    finally:
        stack.stop(quick)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_stops_what_it_started(quick: Settings, number: signal.Signals) -> None:
    words = [sys.executable, "-c", STARTS_MLFLOW, str(quick.home), str(quick.config_file)]
    pipes = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with turn(quick.path("mlflow", "mlflow.lock")), subprocess.Popen(words, **pipes) as starter:
        eventually(lambda: MLFLOW in running_programs(quick), what="MLflow being started")
        starter.send_signal(number)
        _, said = starter.communicate(timeout=HANG_SECONDS)
    assert starter.returncode == 128 + number, said
    assert "Traceback" not in said
    assert processes(quick) == []


def test_who_waits_for_another_start_is_asked_to_say_so(tmp_path: Path) -> None:
    waits = threading.Event()

    def second() -> None:
        with turn(tmp_path / "lock", waiting=waits.set):
            pass

    with turn(tmp_path / "lock"):
        other = threading.Thread(target=second)
        other.start()
        assert waits.wait(HANG_SECONDS)
    other.join(HANG_SECONDS)
    assert not other.is_alive()


def test_an_unknown_command_is_wrong_usage(tmp_path: Path) -> None:
    told = say(COMMAND, "releese", home=tmp_path)
    assert told.returncode == 2
    assert "No such command 'releese'" in told.stderr


def test_a_reader_that_goes_away_hears_no_stack_trace(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words, variables = [COMMAND, "--help"], os.environ | {"RECSYS_HOME": str(tmp_path)}
    told = subprocess.run(words, env=variables, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert told.stderr == ""


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    told = say("sh", "-c", f"cd {gone} && rmdir {gone} && {COMMAND} status", home=tmp_path)
    refused(told, 2, "the folder that you stand in is gone")


def test_a_bug_shows_its_trace_and_says_that_it_is_one() -> None:
    told = say(sys.executable, "-c", f"{IMPORTS}run(lambda: 1 / 0)")
    assert told.returncode == 1
    assert "ZeroDivisionError" in told.stderr
    assert told.stderr.splitlines()[-1].startswith("recsys-assets: this is a bug.")


def test_a_package_that_the_python_lacks_is_named() -> None:
    told = say(sys.executable, "-c", f"{IMPORTS}run(lambda: __import__('nothing_here'))")
    refused(told, 1, "lacks nothing_here", "not the project's environment")


def test_a_user_without_a_name_is_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with pytest.raises(BadParameter, match="--who"):
        _name(None)


def test_init_prints_what_a_shell_needs_and_makes_both_folders(tmp_path: Path) -> None:
    told = say(
        "sh",
        "-c",
        f'eval "$({COMMAND} init)" && echo "$RECSYS_HOME $DAGSTER_HOME"',
        home=tmp_path,
        DAGSTER_HOME="relative",
    )
    assert told.returncode == 0, told.stderr
    home, dagster_home = told.stdout.split()
    assert Path(dagster_home, "dagster.yaml").is_file()
    assert Path(dagster_home) == Path(home, "dagster")
