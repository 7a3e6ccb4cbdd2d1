"""MLflow's local database: made by one process alone, then shared by runs and the server.

Here: its making, and the server's process, which makes it first. Not here: clients (registry.py).
Two processes that find no database would both make its tables, and one of them would die of it.
`python -m recsys_assets.resources.mlflow_database DATABASE -- COMMAND ...` becomes that command.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from recsys_assets.platform.local.locks import turn

SCHEME: Final = "sqlite:///"
_T = TypeVar("_T")


def made_alone(uri: str, make: Callable[[], _T]) -> _T:
    """What `make` makes, while no other process makes this database."""
    if not uri.startswith(SCHEME):
        return make()
    path = Path(uri.removeprefix(SCHEME))
    # A new database would announce each of its forty migrations.
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with turn(path.with_suffix(".lock")):
        return make()


def main(words: list[str]) -> None:
    database, _, *command = words
    if not Path(database).exists():
        from recsys_assets.resources.registry import mlflow_client

        mlflow_client(f"{SCHEME}{database}")
    os.execvp(command[0], command)  # noqa: S606 - the program that supervisor asked for


if __name__ == "__main__":
    main(sys.argv[1:])
