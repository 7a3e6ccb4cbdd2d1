"""One writer at a time of what runs share, however a run was started.

Here: waiting for the lock, and the name of the run that holds it. Not here: the locks (writer_locks.py).
A run may be queued by a sensor, the UI or a backfill, or executed in a shell (`dagster job execute`), which asks no
queue. So the lock is taken where the writing is done. It ends with its process, whatever ends that.
"""

import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, ParamSpec, TypeVar, cast

import dagster as dg

from recsys_assets.resources.writer_locks import FileLock, LockLost, LockUnavailable, PostgresLock
from recsys_assets.settings import Settings

LOOK_SECONDS: Final = 0.25
_P = ParamSpec("_P")
_T = TypeVar("_T")


def one_writer(settings: Settings, name: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Have the body of an asset run alone. `name` is what it writes: the asset, with all that it keeps."""

    def alone(body: Callable[_P, _T]) -> Callable[_P, _T]:
        if inspect.isgeneratorfunction(body):

            @functools.wraps(body)
            def yielding(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[Any]:
                with _lock_of_this_step(settings, name):
                    yield from body(*args, **kwargs)

            return _marked(cast("Callable[_P, _T]", yielding), name)

        @functools.wraps(body)
        def returning(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            with _lock_of_this_step(settings, name):
                return body(*args, **kwargs)

        return _marked(returning, name)

    return alone


def _marked(body: Callable[_P, _T], name: str) -> Callable[_P, _T]:
    """What it writes alone, for whoever asks a body."""
    vars(body)["writes_alone"] = name
    return body


@contextmanager
def exclusive(settings: Settings, name: str, *, who: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Wait until nobody else writes `name`, then keep everybody else waiting. `who` is what the others are told.

    Raises LockUnavailable where nobody can say who writes, LockLost where the lock ended before the writing did.
    """
    with _lock(settings, name, who) as lock:
        began, told = time.monotonic(), ""
        while not lock.take():
            holder = lock.holder() or "another run"
            if holder != told:
                tell(f"{name}: waiting for {holder}, which is writing it")
                told = holder
            time.sleep(LOOK_SECONDS)
        if told:
            tell(f"{name}: waited {time.monotonic() - began:.0f} s for {told}; this run goes on")
        yield
        lock.require_held()


def _lock(settings: Settings, name: str, who: str) -> AbstractContextManager[FileLock | PostgresLock]:
    """Where several machines may write, the database that they share; else a file of the home."""
    url = settings.secrets.ledger_url
    if settings.stores.ledger_url_env and url is not None:
        return PostgresLock(url.get_secret_value(), f"{settings.model_name}/{name}", who)
    return FileLock(settings.path("locks", f"{name}.lock"), who)


@contextmanager
def _lock_of_this_step(settings: Settings, name: str) -> Iterator[None]:
    who, tell = _this_run()
    try:
        with exclusive(settings, name, who=who, tell=tell):
            yield
    except (LockLost, LockUnavailable) as broken:
        raise dg.Failure(f"{name}: {broken}") from broken


def _this_run() -> tuple[str, Callable[[str], None]]:
    """The run that this step belongs to, and where its log is; a body that is called by hand belongs to none."""
    from dagster._core.execution.context.compute import current_execution_context

    context = current_execution_context.get()
    if context is None:
        return "a process without a run", logging.getLogger(__name__).info
    return f"run {context.run.run_id}", context.log.info
