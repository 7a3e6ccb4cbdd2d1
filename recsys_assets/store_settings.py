"""Section `stores` of the settings: where state is kept when it is not kept in files of the home folder.

Here: its shape, what is wrong with it, and the secrets that it names. Not here: any connection. No secret stands in a
settings file: such a setting names the variable of the environment that holds it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

# Whoever loads the settings says which of these it uses, so that a guard need not be given what only a training reads.
Secret = Literal["ledger_url", "feast_registry_url", "online_password"]
ALL_SECRETS: Final[tuple[Secret, ...]] = ("ledger_url", "feast_registry_url", "online_password")
LEDGER_ONLY: Final[tuple[Secret, ...]] = ("ledger_url",)
_URLS: Final = {"ledger_url", "feast_registry_url"}
_SERVERS: Final = ("tables", "ledger_url_env", "feast_registry_url_env", "online", "mlflow")
_NO_COMMA: Final = {"online_password"}
_POSTGRES: Final = ("postgresql", "postgres")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
VariableName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{2,63}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class S3Settings(_Section):
    """Null is what the AWS libraries find by themselves. Keys come from the environment (AWS_*) or the pod's role."""

    endpoint_url: str | None = None
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]{2,32}$")

    @field_validator("endpoint_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        return None if url is None else _plain_address(url, ("http", "https"))


class RedisAddress(_Section):
    """`redis://host:port/db`, or `rediss://` with TLS."""

    host: str
    port: int
    db: int
    tls: bool


class StoreSettings(_Section):
    """Null everywhere is one machine: files and SQLite below the home folder."""

    # s3://bucket/prefix of the Delta tables, and of the signed bundles.
    tables: str | None = None
    bundles: str | None = None
    s3: S3Settings = S3Settings()
    # The variables that hold postgresql:// addresses, of the ledger and of Feast's registry, and the store's password.
    ledger_url_env: VariableName | None = None
    feast_registry_url_env: VariableName | None = None
    online: str | None = None
    online_password_env: VariableName | None = None
    mlflow: str | None = None
    # A dagster.yaml that somebody else wrote, such as Dagster's chart: used as it is, its folder is DAGSTER_HOME.
    dagster_instance: str | None = Field(default=None, pattern=r"^/([^/\x00]+/)+dagster\.yaml$")

    @field_validator("tables", "bundles")
    @classmethod
    def _names_a_bucket(cls, uri: str | None) -> str | None:
        return None if uri is None else "s3://" + "/".join(s3_place(uri)).rstrip("/")

    @field_validator("online")
    @classmethod
    def _is_redis(cls, url: str | None) -> str | None:
        if url is not None:
            redis_address(url)
        return url

    @field_validator("mlflow")
    @classmethod
    def _is_a_server(cls, url: str | None) -> str | None:
        return None if url is None else _plain_address(url, ("http", "https")).rstrip("/")


class StoreSecrets(_Section):
    """What the environment held. Neither shown nor dumped."""

    ledger_url: SecretStr | None = None
    feast_registry_url: SecretStr | None = None
    online_password: SecretStr | None = None


def s3_place(uri: str) -> tuple[str, str]:
    """Bucket and prefix of an s3:// place. Raises ValueError."""
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme.lower() != "s3" and "://" in uri:
        raise ValueError(f"must be s3://bucket/prefix, or null; the scheme {scheme}:// is not supported")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise ValueError("must be s3://bucket/prefix with the name of a bucket")
    parts = prefix.removesuffix("/").split("/") if prefix else []
    if any(part in {"", ".", ".."} for part in parts) or not prefix.isascii() or not prefix.isprintable():
        raise ValueError("must be s3://bucket/prefix without empty or relative parts")
    return bucket, "/".join(parts)


def redis_address(url: str) -> RedisAddress:
    """The parts of a Redis address. Raises ValueError."""
    told = "must be redis://host:port/db, or rediss:// with TLS"
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a name or a password; online_password_env names a variable that does")
    if parts.scheme not in {"redis", "rediss"} or not _HOST.fullmatch(parts.hostname or "") or parts.query:
        raise ValueError(told)
    if parts.port in {None, 0} or not re.fullmatch(r"(/\d{1,3})?", parts.path) or parts.fragment:
        raise ValueError(told)
    db = int(parts.path.strip("/") or 0)
    return RedisAddress(host=str(parts.hostname), port=int(parts.port or 0), db=db, tls=parts.scheme == "rediss")


def named_variables(raw: Mapping[str, Any]) -> dict[Secret, str]:
    """The variables that a raw section names, before anything of it was validated."""
    named = {secret: raw.get(f"{secret}_env") for secret in ALL_SECRETS}
    return {secret: name for secret, name in named.items() if isinstance(name, str)}


def missing_on_a_cluster(raw: Mapping[str, Any]) -> list[str]:
    """What a raw section must still name where pods of several machines write at once: files do not stand that.

    SQLite's locks and its write-ahead log do not hold on a volume that machines share, and Delta's commits neither.
    """
    return [name for name in _SERVERS if raw.get(name) is None]


def read_secrets(
    raw: Mapping[str, Any], environment: Mapping[str, str], needed: Collection[Secret]
) -> tuple[StoreSecrets, list[str]]:
    """What the named variables hold, and what is wrong with it; a message never tells a value."""
    found: dict[str, SecretStr] = {}
    errors: list[str] = []
    for secret, name in named_variables(raw).items():
        if secret not in needed:
            continue
        value = environment.get(name, "")
        if not value:
            errors.append(f"environment: {name} is not set, though stores.{secret}_env names it")
        elif secret in _URLS and not _is_postgres(value):
            errors.append(f"environment: {name} must be an address like postgresql://user:password@host:5432/database")
        elif secret in _NO_COMMA and "," in value:
            errors.append(f"environment: {name} holds a comma, which Feast's connection string cannot carry")
        else:
            found[secret] = SecretStr(value)
    return StoreSecrets(**found), errors


def _is_postgres(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in _POSTGRES and len(parts.path) > 1 and parts.port != 0
    except ValueError:
        return False


def _plain_address(url: str, schemes: tuple[str, ...]) -> str:
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname or not url.isascii() or not url.isprintable():
        raise ValueError("must be an address that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a name or a password")
    if parts.query or parts.fragment or " " in url or parts.port == 0:
        raise ValueError("must be an address without a query, a fragment or a space, and with a port that exists")
    return url
