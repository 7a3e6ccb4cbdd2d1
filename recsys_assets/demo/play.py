"""Plays the scenes one after another, tells what happens while it happens, and judges the end.

Here: order, telling, time and memory, the exit code. Not here: what a scene does (scenes.py).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from pathlib import Path

from rich.console import Console

from recsys_assets import home
from recsys_assets.demo.meter import Reading, metered
from recsys_assets.demo.scenes import SCENES, Claim, Scene
from recsys_assets.demo.stage import Stage
from recsys_assets.errors import UserFacingError
from recsys_assets.platform.local import stack
from recsys_assets.processes import stop_everything
from recsys_assets.settings import Settings

MARKER = ".demo"


class NotADemoHomeError(UserFacingError, RuntimeError):
    """The home folder holds something that the demo did not put there; it is left alone."""


def play(settings: Settings, *, keep_running: bool = False) -> int:
    """Play the story from its beginning; 0 only if every claim of every scene held.

    It starts afresh each time, so it can be run again, and after an interruption: what an earlier demo left is
    stopped and removed first, and nothing else is ever removed.
    """
    # A log file or a pipe has no width of its own; the table of releases wants room.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    try:
        start_afresh(settings)
    except NotADemoHomeError as refused:
        Console(stderr=True, highlight=False).print(str(refused), markup=False)
        return 1
    home.adopt(settings)
    stack.require_startable(settings)
    quieten()
    stage = Stage(settings, console)
    readings: dict[str, Reading] = {}
    held = True
    try:
        for number, scene in enumerate(SCENES, start=1):
            held = _play_scene(stage, number, scene, readings) and held
            if not held:
                break
    finally:
        if not keep_running:
            stop_everything(settings)
    _write_readings(settings.path("demo.json"), readings, held)
    _tell_end(stage, readings, held)
    return 0 if held else 1


def quieten() -> None:
    """Keep the libraries' warnings and notes out of the story; every run's own log stands in the Dagster instance."""
    # Libraries reset the filters when they are imported, so the warnings are taken at their way out.
    logging.captureWarnings(True)
    os.environ["MLFLOW_LOGGING_LEVEL"] = "ERROR"  # MLflow sets its loggers up anew when it is imported
    for name in ("py.warnings", "mlflow", "alembic", "dagster"):
        logging.getLogger(name).setLevel(logging.ERROR)


def start_afresh(settings: Settings) -> None:
    """Stop and remove what an earlier demo left in the home; refuse a home that holds anything else."""
    folder = settings.home
    home.make_folder(settings)
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise NotADemoHomeError(
                f"{folder} is not empty and was not made by the demo; set RECSYS_HOME to another folder for the demo"
            )
        stop_everything(settings)
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text("Made by `recsys-assets demo`, which may remove this folder.\n", encoding="utf-8")


def _play_scene(stage: Stage, number: int, scene: Scene, readings: dict[str, Reading]) -> bool:
    stage.console.print(f"\n[bold]{number}. {scene.title}[/bold]\n   [dim]{scene.tells}[/dim]")
    with metered(stage.settings.home) as reading:
        claims: list[Claim] = scene.play(stage)
    readings[scene.key] = reading
    for claim in claims:
        mark = "[green]as told[/green]" if claim.holds else "[bold red]NOT AS TOLD[/bold red]"
        stage.console.print(f"    {mark}  ", end="")
        stage.console.print(claim.text, markup=False)
    stage.console.print(f"    [dim]{reading.seconds:.0f} s, peak {reading.peak_mib / 1024:.1f} GiB[/dim]")
    return bool(claims) and all(claim.holds for claim in claims)


def _write_readings(path: Path, readings: dict[str, Reading], held: bool) -> None:
    figures: dict[str, float] = {}
    for key, reading in readings.items():
        figures[f"{key}_seconds"] = round(reading.seconds, 1)
        figures[f"{key}_peak_mib"] = round(reading.peak_mib)
    figures["total_seconds"] = round(sum(r.seconds for r in readings.values()), 1)
    figures["peak_mib"] = round(max((r.peak_mib for r in readings.values()), default=0.0))
    path.write_text(json.dumps({"as_told": held, "figures": figures}, indent=1), encoding="utf-8")


def _tell_end(stage: Stage, readings: dict[str, Reading], held: bool) -> None:
    from recsys_assets.rollout.shown.looking import looking_desk
    from recsys_assets.rollout.shown.printing import release_lines
    from recsys_assets.rollout.shown.view import every

    lines = release_lines(every(looking_desk(stage.settings)), width=stage.console.width)
    stage.console.print("", *lines, sep="\n", markup=False, highlight=False, soft_wrap=True)
    total, peak = sum(r.seconds for r in readings.values()), max(r.peak_mib for r in readings.values())
    stage.console.print(f"\n{total / 60:.1f} minutes, peak {peak / 1024:.1f} GiB of memory.")
    if held:
        stage.console.print("Every step ended as told. Look at it in the Dagster UI:\n\n    [bold]make up[/bold]\n")
    else:
        sys.stderr.write("recsys-assets: a step did not end as told; see above\n")
