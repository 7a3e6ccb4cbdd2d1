"""The model server process: fetch its bundle, verify it and its attestation, load it, prove it, then listen.

Here: arguments and start-up, in an order in which nothing is parsed that was not vouched for. Not here: any route.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recsys_assets.recommender.bundle import Manifest
    from recsys_assets.recommender.recommender import Recommender

EXIT_REFUSED = 3
EXIT_NO_STORE = 4
# Where Kubernetes looks for a container's last words; it keeps this much of them.
_TERMINATION_LOG = Path("/dev/termination-log")
_TERMINATION_BYTES = 4_096
GOLDEN_TOLERANCE = 1e-6
# One core a process: threads of OpenMP or BLAS would only take each other's time. Read when numpy is first imported.
_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
_NOT_SERVED = ("pandas", "sklearn", "matplotlib", "graphviz", "dask", "distributed", "pyarrow", "cffi")
# As in faults.py, which a test compares: nothing of ours is imported before the arguments are known.
_FAULTS = ("slow", "failing", "crossed_users", "worse", "stale_features")


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    bundle: Path
    remote: str | None
    cache: Path
    seconds: float
    home: Path
    host: str
    port: int
    service: str | None
    replica: str | None
    public_key: Path
    digest: str | None
    attestation: Path | None
    attestation_key: Path
    unattested: bool
    online_store: Path | str
    online_password_env: str | None
    online_timeout_ms: float
    min_timeout_ms: float
    deadline_ms: float
    cached_users: int
    fault: str | None
    drills: bool


def parse_options(arguments: list[str]) -> Options:
    """Read the arguments; argparse explains and exits where they are wrong."""
    parser = argparse.ArgumentParser("recsys_assets.serving.server", description=__doc__)
    parser.add_argument("--bundle", required=True, help="the signed bundle: a folder, or s3://bucket/prefix/<version>")
    parser.add_argument("--bundle-cache", type=Path, help="where a bundle on s3:// is fetched to (default: below home)")
    parser.add_argument("--bundle-seconds", type=float, default=120.0, help="how long fetching it may take")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True, help="keys, online store and logs stand below it")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--service", help="name of the exposure file (default: <model>-v<version>)")
    parser.add_argument("--replica", help="this process among several of the service: names its file of exposures")
    parser.add_argument("--public-key", type=Path)
    parser.add_argument("--digest", help="SHA-256 of the manifest that must be served")
    parser.add_argument("--attestation", type=Path, help="what the gates said (default: beside the bundle)")
    parser.add_argument("--attestation-key", type=Path, help="the promoter's public key")
    parser.add_argument("--unattested", action="store_true", help="for probes of a bundle that no gate has seen yet")
    parser.add_argument("--online-store", help="a file of SQLite (default: below home), or redis://host:port/db")
    parser.add_argument("--online-password-env", help="the variable that holds the password of redis://")
    parser.add_argument("--online-timeout-ms", type=float, default=50.0)
    parser.add_argument("--min-timeout-ms", type=float, default=10.0, help="store and ranker are waited for so long")
    parser.add_argument("--deadline-ms", type=float, default=200.0, help="after it the ranker is left out")
    parser.add_argument("--cached-users", type=int, default=50_000, help="whose last ranking is kept; 0 is nobody")
    parser.add_argument("--fault", choices=_FAULTS, help="a drill from the start, see faults.py")
    parser.add_argument("--drills", action="store_true", help="heed <home>/drills/<service>.json, see switch.py")
    given = parser.parse_args(arguments)
    from recsys_assets.serving.bundle_fetch import is_remote

    if given.replica and "/" in given.replica:
        parser.error("--replica must be a plain name")
    if given.online_password_env and given.online_password_env not in os.environ:
        parser.error(f"--online-password-env: {given.online_password_env} is not set")
    home = given.home.absolute()
    cache = (given.bundle_cache or home / "bundle-cache").absolute()
    remote = given.bundle if is_remote(given.bundle) else None
    return Options(
        bundle=cache if remote else Path(given.bundle).absolute(),
        remote=remote,
        cache=cache,
        seconds=given.bundle_seconds,
        home=home,
        host=given.host,
        port=given.port,
        service=given.service,
        replica=given.replica,
        public_key=given.public_key or home / "keys" / "bundle_signing.pub",
        digest=given.digest,
        attestation=given.attestation,
        attestation_key=given.attestation_key or home / "keys" / "release_signing.pub",
        unattested=given.unattested,
        online_store=_online_store(given.online_store, home),
        online_password_env=given.online_password_env,
        online_timeout_ms=given.online_timeout_ms,
        min_timeout_ms=given.min_timeout_ms,
        deadline_ms=given.deadline_ms,
        cached_users=given.cached_users,
        fault=given.fault,
        drills=given.drills,
    )


def _online_store(given: str | None, home: Path) -> Path | str:
    if given is None:
        return home / "feast" / "online.db"
    return given if "://" in given else Path(given)


def fetched(options: Options) -> Options:
    """The options with the bundle on this machine. Raises BundleRefused and StoreError."""
    if options.remote is None:
        return options
    from recsys_assets.bundle_store import Limits
    from recsys_assets.serving.bundle_fetch import fetch

    folder = fetch(options.remote, options.cache, Limits(seconds=options.seconds))
    return replace(options, bundle=folder)


def verify(options: Options) -> None:
    """Signature, digest and attestation, with nothing imported that could parse an array or a model. BundleRefused."""
    from recsys_assets.serving.attestation import verify_attestation
    from recsys_assets.signing import verify_bundle

    verify_bundle(options.bundle, options.public_key, digest=options.digest)
    if not options.unattested:
        verify_attestation(options.bundle, options.attestation_key, path=options.attestation)


def load(options: Options) -> tuple[Manifest, Recommender]:
    """Verified, then digests, then the files themselves, then the golden requests. Raises BundleRefused."""
    from recsys_assets.signing import TamperedBundle, UnusableBundle

    verify(options)
    from recsys_assets.recommender.bundle import BundleError, check_bundle
    from recsys_assets.recommender.recommender import Recommender

    _import_lightgbm_alone()
    bundle = options.bundle
    try:
        manifest = check_bundle(bundle)
    except BundleError as broken:
        raise TamperedBundle(f"{bundle}: {broken}") from broken
    try:
        recommender = Recommender.load(bundle)
    except (ValueError, LookupError, OSError) as broken:
        # Genuine, but of another time: for one, a ranker fitted on features that this code does not make.
        raise UnusableBundle(f"{bundle}: {type(broken).__name__}: {broken}") from broken
    if recommender.feature_names != manifest.feature_names:
        raise UnusableBundle(f"{bundle}: the manifest's feature names are not the ranker's")
    prove(recommender, bundle)
    return manifest, recommender


def _import_lightgbm_alone() -> None:
    """LightGBM also imports whatever it finds of these, for interfaces that no server uses: most of the time that a
    start takes, and more than half of the memory."""
    absent = [name for name in _NOT_SERVED if name not in sys.modules]
    # What is None there cannot be imported.
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        import lightgbm  # noqa: F401
    finally:
        for name in absent:
            del sys.modules[name]


def prove(recommender: Recommender, bundle: Path) -> None:
    """Raise BundleRefused where this machine ranks a golden request otherwise than the training did."""
    from recsys_assets.recommender.bundle import read_golden
    from recsys_assets.signing import UnusableBundle

    for number, golden in enumerate(read_golden(bundle)):
        ranking = recommender.recommend(golden.profile(), k=golden.k)
        off = max((abs(a - b) for a, b in zip(ranking.scores, golden.scores, strict=False)), default=0.0)
        if ranking.items != golden.items or off > GOLDEN_TOLERANCE:
            raise UnusableBundle(f"{bundle}: golden request {number} is answered otherwise here, off by {off:.3g}")


def serve(options: Options) -> None:
    """Fetch, load and answer until SIGTERM."""
    options = fetched(options)
    manifest, recommender = load(options)

    import uvicorn

    from recsys_assets.serving.app import build_app
    from recsys_assets.serving.assembly import assemble
    from recsys_assets.serving.http import KEEP_ALIVE_SECONDS

    uvicorn.run(
        build_app(assemble(options, manifest, recommender)),
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
    )


def main(arguments: list[str] | None = None) -> int:
    """Exit code 3 says that the bundle was refused, 4 that the store did not give it; a line of JSON says why."""
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    for name, value in _THREADS.items():
        os.environ.setdefault(name, value)
    # A thread that reads the store asks for the interpreter a dozen times, and would wait 5 ms for it each time.
    sys.setswitchinterval(0.000_5)
    from recsys_assets.bundle_store import StoreError
    from recsys_assets.signing import BundleRefused

    try:
        serve(options)
    except BundleRefused as refused:
        return _say("refused", refused, EXIT_REFUSED)
    except StoreError as failed:
        return _say("store", failed, EXIT_NO_STORE)
    return 0


def _say(what: str, why: Exception, code: int) -> int:
    """One line on stderr, and where Kubernetes shows a container's last words."""
    line = json.dumps({what: type(why).__name__, "reason": str(why)[: _TERMINATION_BYTES // 2]}) + "\n"
    sys.stderr.write(line)
    with contextlib.suppress(OSError):  # there is none outside of Kubernetes, and stderr has it all
        if _TERMINATION_LOG.is_file():
            _TERMINATION_LOG.write_text(line, encoding="utf-8")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
