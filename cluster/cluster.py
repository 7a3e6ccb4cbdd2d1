"""The whole cluster as a test sees it: a node with real containers, reachable from the test's own process.

Here: bringing it up and down, and what a test may ask of it. Not here: what is installed on it (see `addons`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from cluster.access import Access
from cluster.build import ensure_built
from cluster.errors import NotReadyError
from cluster.host import check_prerequisites, reserve_number
from cluster.layout import RUNTIME_SOCKET_LIMIT, Layout
from cluster.node import import_image
from cluster.part_images import node_archives
from cluster.versions import NODE_TOOLS

STOP_SECONDS = 600.0  # what a hundred containers leave is many small files
REPOSITORY = Path(__file__).parent.parent


class Cluster(Access):
    """A context manager: a node that is Ready on entry; no process, mount, link or rule is left on exit.

    >>> with Cluster(tmp_path) as cluster:  # doctest: +SKIP
    ...     cluster.import_image(archive)
    ...     cluster.api.apply_text(manifests)
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.layout = Layout(state, 0)
        self.server = ""
        self.ready_seconds = 0.0
        self._holder: subprocess.Popen[str] | None = None
        self._number_lock: IO[str] | None = None

    def __enter__(self) -> Cluster:
        check_prerequisites()
        ensure_built(NODE_TOOLS)
        self.state.mkdir(parents=True, exist_ok=True)
        number, self._number_lock = reserve_number()
        self.layout = Layout(self.state, number)
        self.server = self.layout.addresses.server
        if len(os.fsencode(self.layout.runtime_socket)) > RUNTIME_SOCKET_LIMIT:
            raise NotReadyError(f"the path of the state folder is too long for a socket: {self.state}")
        started = time.monotonic()
        archives = [str(path) for path in node_archives()]
        command = [sys.executable, "-m", "cluster.holder", str(self.state), str(self.layout.number), *archives]
        # The holder shares the lock: the number is free again when the last of the two has gone.
        lock = [self._number_lock.fileno()]
        pipe = subprocess.PIPE
        self._holder = subprocess.Popen(
            command, cwd=REPOSITORY, text=True, start_new_session=True, pass_fds=lock, stdin=pipe, stdout=pipe
        )
        said = self._holder.stdout.readline().strip() if self._holder.stdout else ""
        if said != "ready":
            rest = self._holder.stdout.read() if self._holder.stdout else ""
            self.stop()
            raise NotReadyError(f"{said}\n{rest}\nlogs: {self.layout.logs}")
        self.ready_seconds = time.monotonic() - started
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def host_address(self) -> str:
        """This machine as pods see it: a server for pods that runs beside the cluster listens here."""
        return self.layout.host_address

    @property
    def phases(self) -> dict[str, float]:
        """How long each phase of coming up took."""
        told: dict[str, float] = json.loads(self.layout.ready.read_text(encoding="utf-8"))["phases"]
        return told

    @property
    def resident_bytes(self) -> dict[str, int]:
        """Memory of each part when the node had become ready."""
        told: dict[str, int] = json.loads(self.layout.ready.read_text(encoding="utf-8"))["resident_bytes"]
        return told

    def import_image(self, archive: Path) -> None:
        """Give the node an image; pods name it by the reference that is written in the archive."""
        import_image(self.layout.runtime_socket, archive)

    def stop(self) -> None:
        """Close the holder's input, which takes everything down, and wait for it."""
        if self._holder is None:
            return
        if self._holder.stdin is not None:
            self._holder.stdin.close()
        self._holder.wait(STOP_SECONDS)
        self._holder = None
        if self._number_lock is not None:
            self._number_lock.close()
