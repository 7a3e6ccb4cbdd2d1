"""Typed settings, and the only place that reads the environment and the project's config file.

Here: the shape of the configuration and its loading, with every error reported at once. Not here: any use of it.
`RECSYS_HOME` names the one folder of all state (default `.recsys`); `RECSYS_CONFIG` the config file (default
`recsys.yaml` where it exists, else the packaged MovieLens-100K configuration).
"""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from recsys_assets.attribute_names import wrong_names
from recsys_assets.config_rules.book import contradictions
from recsys_assets.errors import UserFacingError
from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.records import AnalysisPlan
from recsys_assets.store_settings import (
    ALL_SECRETS,
    Secret,
    StoreSecrets,
    StoreSettings,
    missing_on_a_cluster,
    named_variables,
    read_secrets,
)

PACKAGED_CONFIG = Path(__file__).parent / "movielens.yaml"
TimeUnit = Literal["iso", "s", "ms", "us"]
# What people are told of a release.
NotifiedEvent = Literal["rejected", "held", "rolled_back", "promoted", "approval_asked", "paused", "resumed", "frozen"]
AttributeKind = Literal["category", "categories", "number", "text", "time"]


def _one_sign(given: object) -> object:
    """A CSV reader goes byte by byte, so a sign is one ASCII character."""
    if isinstance(given, str) and (len(given) != 1 or not given.isascii() or given in '"\r\n\x00'):
        raise ValueError("must be one ASCII character, and neither a quote nor a line break")
    return given


def _quote(given: object) -> object:
    """`none` and an empty text turn quotes off, as null does."""
    if given is None or given == "" or (isinstance(given, str) and given.lower() == "none"):
        return None
    if not isinstance(given, str) or len(given) != 1 or not given.isascii() or not given.isprintable() or given == " ":
        raise ValueError("must be one printable ASCII character, or none for files without quotes")
    return given


Separator = Annotated[str, BeforeValidator(_one_sign)]
Quote = Annotated[str | None, BeforeValidator(_quote)]
Port = Annotated[int, Field(ge=1, le=65_535)]
# A config of a person is a hundredth of this; aliases that stand for aliases grow without end when written out.
MAX_CONFIG_BYTES = 1 << 18
MAX_ALIASES = 16
KNOWN_VARIABLES = ("RECSYS_HOME", "RECSYS_CONFIG")
_RESERVED = {"home", "config_dir", "config_file", "secrets", "given_dagster_home"}
# What Kubernetes puts into every pod about a Service whose name begins with `recsys-`.
_SERVICE_LINK = re.compile(r"(RECSYS[A-Z0-9_]*?)_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")


class ConfigError(UserFacingError, ValueError):
    """The configuration is broken; the message lists every error with its place."""

    exit_code = 2


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TextLayout(_Section):
    """How text files of a source are written. `quote` encloses CSV fields; none where a quote is a sign like others."""

    format: Literal["parquet", "csv", "jsonl"] | None = None
    separator: Separator = ","
    quote: Quote = '"'

    @model_validator(mode="after")
    def _quote_is_no_separator(self) -> Self:
        if self.quote == self.separator:
            raise ValueError(f"separator and quote are both {self.quote!r}")
        return self


class InteractionSource(TextLayout):
    """Files of events. `paths` are globs, local (relative to the config file, or with `{home}`) or s3://.

    `columns` maps our names to the file's: user_id, item_id and event_time are required, value and event_type optional.
    """

    paths: tuple[str, ...] = Field(min_length=1)
    columns: dict[str, str]
    time_unit: TimeUnit = "iso"
    value_range: tuple[float, float] | None = None

    @field_validator("columns")
    @classmethod
    def _columns_are_known_and_complete(cls, columns: dict[str, str]) -> dict[str, str]:
        required = {"user_id", "item_id", "event_time"}
        known = required | {"value", "event_type"}
        if missing := sorted(required - columns.keys()):
            raise ValueError(f"columns must map {', '.join(missing)}")
        if unknown := sorted(columns.keys() - known):
            raise ValueError(f"columns maps unknown names {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return columns

    @field_validator("value_range")
    @classmethod
    def _range_is_ordered(cls, given: tuple[float, float] | None) -> tuple[float, float] | None:
        if given is not None and given[0] > given[1]:
            raise ValueError(f"must run from low to high, not from {given[0]:g} to {given[1]:g}")
        return given


class Attribute(_Section):
    """One attribute of an item or a user: the file's column and how to read it. `separator` splits `categories`,
    `range` bounds a number, `may_be_future` lets a time lie after the moment at which it is read."""

    column: str
    kind: AttributeKind
    separator: str = Field(default="|", min_length=1)
    time_unit: TimeUnit = "iso"
    range: tuple[float, float] | None = None
    may_be_future: bool = False

    @model_validator(mode="after")
    def _limits_fit_the_kind(self) -> Self:
        if self.range is not None and self.kind != "number":
            raise ValueError(f"range is for attributes of kind number, not {self.kind}")
        if self.range is not None and self.range[0] > self.range[1]:
            raise ValueError(f"range must run from low to high, not from {self.range[0]:g} to {self.range[1]:g}")
        if self.may_be_future and self.kind != "time":
            raise ValueError(f"may_be_future is for attributes of kind time, not {self.kind}")
        return self


class EntitySource(TextLayout):
    """A file of items or of users: the id column and any number of attributes, by the name they get here.

    A new file must keep `min_kept_ratio` of what the table in place has: of its rows, of the identifiers that the
    newest interactions name, and of the share of rows with a value of each attribute. 0 accepts whatever comes.
    """

    path: str
    id_column: str
    attributes: dict[str, Attribute] = Field(default_factory=dict)
    min_kept_ratio: float = Field(default=0.6, ge=0, le=1)

    @field_validator("attributes")
    @classmethod
    def _names_are_free(cls, attributes: dict[str, Attribute]) -> dict[str, Attribute]:
        if wrong := wrong_names({name: each.kind for name, each in attributes.items()}):
            raise ValueError("; ".join(wrong))
        return attributes


class DataSettings(_Section):
    """Where interactions, items and users come from, and the days they span. `end_date` is the first day not in it."""

    start_date: date
    end_date: date | None = None
    interactions: InteractionSource
    items: EntitySource | None = None
    users: EntitySource | None = None
    max_null_share: float = Field(default=0.0, ge=0, lt=1)
    max_duplicate_share: float = Field(default=0.01, ge=0, lt=1)
    min_volume_ratio: float = Field(default=0.02, ge=0)
    max_volume_ratio: float = Field(default=50.0, gt=1)
    volume_trailing_days: int = Field(default=28, ge=1)

    @model_validator(mode="after")
    def _dates_are_ordered(self) -> Self:
        if self.end_date is not None and self.end_date <= self.start_date:
            raise ValueError(f"end_date {self.end_date} must lie after start_date {self.start_date}")
        return self


class FeatureSettings(_Section):
    """Windows, in days, over which events are counted."""

    windows_days: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 7, 30, 90), min_length=1)
    recent_items: int = Field(default=200, ge=1)

    @field_validator("windows_days")
    @classmethod
    def _windows_differ(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(given)) < len(given):
            raise ValueError("names a window twice")
        return given


class FeedbackUse(_Section):
    """What a training learns from reported feedback: events of these types on items that were shown to the user.

    Events on answers of a model that was rolled back are left out unless they are asked for.
    """

    use: bool = True
    include_rolled_back: bool = False
    event_types: tuple[str, ...] = ("click", "play", "purchase")


class TrainingSettings(_Section):
    """The two stages: how many candidates from each source, which cuts in time, and the ranker's parameters."""

    candidates_per_source: int = Field(default=80, ge=1)
    cuts: int = Field(default=6, ge=1)
    label_days: int = Field(default=7, ge=1)
    # Days from cut to cut; null is label_days. Closer cuts show the ranker more users in the middle of their history.
    cut_step_days: int | None = Field(default=None, ge=1)
    # Rows without a positive label that a fit takes of each list; null takes all.
    negatives_per_list: int | None = Field(default=40, ge=1)
    lookback_days: int = Field(default=365, ge=1)
    max_users_per_cut: int = Field(default=20_000, ge=1)
    num_boost_round: int = Field(default=200, ge=1)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    num_leaves: int = Field(default=31, ge=2)
    min_data_in_leaf: int = Field(default=50, ge=1)
    seeds: int = Field(default=1, ge=1)
    tuning_trials: int = Field(default=20, ge=1)
    seed: int = 7
    min_rows: int = Field(default=1_000, ge=1)
    # A top feature that alone ranks this well on validation is a leak, not a discovery.
    max_single_feature_auc: float = Field(default=0.98, gt=0.5, le=1)
    feedback: FeedbackUse = FeedbackUse()


class GateSettings(_Section):
    """What the offline gate asks. Margins are relative to the champion's or the baseline's value.

    `popularity_window_days` is the recent popularity that a model must reach: two weeks suit films, a day or less suits
    news, where a longer window is a floor that nothing can fall through.
    """

    metric: str = "ndcg_at_10"
    test_days: int = Field(default=14, ge=1)
    max_test_users: int = Field(default=20_000, ge=1)
    non_inferiority_margin: float = Field(default=0.10, gt=0, lt=1)
    floor_margin: float = Field(default=0.0, ge=0, lt=1)
    popularity_window_days: float = Field(default=14.0, gt=0)
    slice_margin: float = Field(default=0.25, gt=0, lt=1)
    min_slice_users: int = Field(default=20, ge=1)
    min_test_users: int = Field(default=30, ge=1)
    min_catalogue_coverage_ratio: float = Field(default=0.5, gt=0, le=1)
    max_popularity_share_ratio: float = Field(default=2.0, gt=1)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    bootstrap_samples: int = Field(default=2_000, ge=100)


class DriftSettings(_Section):
    """Effect sizes, not p values: the verdict must not depend on the sample size."""

    reference_days: int = Field(default=28, ge=1)
    current_days: int = Field(default=7, ge=1)
    max_distance: float = Field(default=0.1, gt=0)
    max_drifted_share: float = Field(default=0.5, gt=0, le=1)
    cooldown_seconds: float = Field(default=3_600, ge=0)


class ServingSettings(_Section):
    """Loopback ports and budgets of the local platform."""

    host: str = "127.0.0.1"
    gateway_port: Port = 8080
    gateway_admin_port: Port = 8081
    collector_port: Port = 8082
    mlflow_port: Port = 5000
    dagster_port: Port = 3000
    model_port_first: Port = 8100
    model_port_last: Port = 8199
    latency_budget_ms: float = Field(default=250.0, gt=0)
    online_store_timeout_ms: float = Field(default=50.0, gt=0)
    # The timeouts of the online store and of the ranker follow their usual times, and never fall below this. Raise it
    # on a machine that other work keeps busy: there a healthy store is late now and then.
    min_timeout_ms: float = Field(default=10.0, gt=0)
    ready_timeout_seconds: float = Field(default=90.0, gt=0)
    top_k: int = Field(default=10, ge=1, le=100)
    # The gateway's access log is moved aside at this size (some 600,000 requests), and so many of those are kept.
    gateway_log_bytes: int = Field(default=256 << 20, ge=1 << 16)
    gateway_log_files: int = Field(default=7, ge=1)

    @model_validator(mode="after")
    def _model_ports_are_a_range(self) -> Self:
        if self.model_port_last < self.model_port_first:
            raise ValueError(f"model_port_last {self.model_port_last} lies before model_port_first")
        return self

    # Lets `<home>/drills/<service>.json` turn a fault on in model servers that run. Never where real users come.
    drills: bool = False


class CollectorSettings(_Section):
    """What the feedback collector takes. Rates are events; a burst is what a client that was idle may send at once.

    `tokens_file` null is `<home>/keys/collector_tokens.json`. A log goes on in a new file after `segment_bytes`, and
    the newest `remembered_ids` events are known again when they are sent twice; the table removes older duplicates.
    """

    tokens_file: str | None = None
    max_body_bytes: int = Field(default=1 << 20, ge=1)
    max_in_flight: int = Field(default=256, ge=1)
    max_pending_bytes: int = Field(default=16 << 20, ge=1)
    client_events_per_second: float = Field(default=20_000.0, gt=0)
    events_per_second: float = Field(default=50_000.0, gt=0)
    burst_seconds: float = Field(default=2.0, gt=0)
    segment_bytes: int = Field(default=16 << 20, ge=1)
    remembered_ids: int = Field(default=2_000_000, ge=0)


class TrafficSettings(_Section):
    """Replayed users. `in_jobs` lets a headless `release` job replay traffic by itself; leave it off where real
    users come. `future` says where the replayed users' later events are: a source like `data.interactions`.
    `token_file` holds their client token, where the collector asks for one (relative to the config file, or with
    `{home}`)."""

    in_jobs: bool = False
    visitors: int = Field(default=20_000, ge=1)
    rate: float = Field(default=200.0, gt=0)
    seed: int = 7
    future: InteractionSource | None = None
    token_file: str | None = None


class RolloutSettings(_Section):
    """How a release moves. `tick_seconds` is how often a waiting run looks; the plan is fixed when a release opens."""

    tick_seconds: float = Field(default=2.0, gt=0)
    guard_interval_seconds: float = Field(default=0.5, gt=0)
    plan: AnalysisPlan


class WebhookSettings(_Section):
    """One receiver of notifications. `secret_file` holds what signs them (relative to the config file, or with
    `{home}`); without it they are not signed. Without `events` it hears all of them."""

    url: str
    events: tuple[NotifiedEvent, ...] = Field(default=get_args(NotifiedEvent), min_length=1)
    secret_file: str | None = None
    timeout_seconds: float = Field(default=5.0, gt=0, le=60)

    @field_validator("url")
    @classmethod
    def _is_a_plain_web_address(cls, url: str) -> str:
        return _web_address(url)


class NotificationSettings(_Section):
    """Who hears of a release. `ui_url` is Dagster's address for people, where it is not the loopback one."""

    webhooks: tuple[WebhookSettings, ...] = ()
    ui_url: str | None = None

    @field_validator("ui_url")
    @classmethod
    def _leads_somewhere(cls, url: str | None) -> str | None:
        return None if url is None else _web_address(url).rstrip("/")

    @model_validator(mode="after")
    def _no_receiver_stands_twice(self) -> Self:
        urls = [webhook.url for webhook in self.webhooks]
        if len(set(urls)) != len(urls):
            raise ValueError("a url stands twice: one entry lists all of its events")
        return self


class Settings(_Section):
    """Everything that can be set. Built by `load_settings`, passed on as an argument."""

    home: Path
    config_dir: Path
    data: DataSettings
    features: FeatureSettings = FeatureSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    drift: DriftSettings = DriftSettings()
    serving: ServingSettings = ServingSettings()
    collector: CollectorSettings = CollectorSettings()
    traffic: TrafficSettings = TrafficSettings()
    rollout: RolloutSettings
    notifications: NotificationSettings = NotificationSettings()
    stores: StoreSettings = StoreSettings()
    model_name: str = Field(default="recommender", pattern=r"^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$")
    platform: Literal["local", "kubernetes"] = "local"
    kubernetes: KubernetesSettings = KubernetesSettings()
    config_file: Path
    # Of the environment, never of the file.
    secrets: StoreSecrets = Field(default=StoreSecrets(), exclude=True, repr=False)
    given_dagster_home: Path | None = None

    def path(self, *parts: str) -> Path:
        """A path below the home folder."""
        return self.home.joinpath(*parts)

    @property
    def collector_tokens_file(self) -> Path:
        """Where the hashes of the collector's client tokens stand."""
        named = self.collector.tokens_file
        return Path(self.resolve(named)) if named else self.path("keys", "collector_tokens.json")

    @property
    def dagster_home(self) -> Path:
        """Where Dagster's instance is configured: ours below the home folder, unless somebody gave another."""
        if self.stores.dagster_instance:
            return Path(self.stores.dagster_instance).parent
        return self.given_dagster_home or self.path("dagster")

    def resolve(self, pattern: str) -> str:
        """A source's path with `{home}` filled in, relative ones taken from the config file's folder."""
        filled = pattern.replace("{home}", str(self.home))
        if "://" in filled or Path(filled).is_absolute():
            return filled
        return str(self.config_dir / filled)

    @property
    def gateway_url(self) -> str:
        """Where users, replayed or real, find the gateway."""
        if self.platform == "kubernetes":
            return self.kubernetes.gateway_url
        return f"http://{self.serving.host}:{self.serving.gateway_port}"

    @property
    def ui_url(self) -> str:
        """Where people find Dagster."""
        return self.notifications.ui_url or f"http://{self.serving.host}:{self.serving.dagster_port}"

    def environment(self) -> dict[str, str]:
        """The variables that make a child process read these same settings."""
        return {"RECSYS_HOME": str(self.home), "RECSYS_CONFIG": str(self.config_file)}


def load_settings(
    *, home: Path | None = None, config: Path | None = None, secrets: Collection[Secret] = ALL_SECRETS
) -> Settings:
    """Read the config file and the environment; raise ConfigError with all errors at once.

    `secrets` are those that the caller uses: only they must be in the environment.
    """
    chosen = config or _config_path()
    raw = _read_yaml(chosen)
    stores = raw.get("stores")
    stores = stores if isinstance(stores, dict) else {}
    place = (home or Path(os.environ.get("RECSYS_HOME") or ".recsys")).absolute()
    errors = [*_unknown_variables(named_variables(stores).values()), *_not_a_folder(place)]
    found, missing = read_secrets(stores, os.environ, secrets)
    errors += missing
    if raw.get("platform") == "kubernetes":
        needed = missing_on_a_cluster(stores)
        errors += [f"{chosen}: stores.{name}: must be set on platform kubernetes" for name in needed]
    reserved = sorted(_RESERVED & raw.keys())
    errors += [f"{chosen}: {name} cannot be set in the file" for name in reserved]
    values = {k: v for k, v in raw.items() if k not in reserved} | {
        "home": place,
        "config_dir": chosen.absolute().parent,
        "config_file": chosen.absolute(),
        "secrets": found,
        "given_dagster_home": _given_dagster_home(raw),
    }
    try:
        settings = Settings.model_validate(values)
    except ValidationError as broken:
        errors += [f"{chosen}: {_place(e['loc'])}: {e['msg']} (got {_short(e['input'])})" for e in broken.errors()]
        raise ConfigError(_all(errors)) from None
    errors += [f"{chosen}: {said}" for said in contradictions(settings)]
    if errors:
        raise ConfigError(_all(errors))
    return settings


def _unknown_variables(named: Collection[str]) -> list[str]:
    known = [*KNOWN_VARIABLES, *sorted(set(named) - set(KNOWN_VARIABLES))]
    ours = sorted(k for k in os.environ if k.startswith("RECSYS_") and k not in known)
    told = ", ".join(known)
    return [f"environment: unknown variable {name} (known: {told})" for name in ours if not _is_service_link(name)]


def _not_a_folder(home: Path) -> list[str]:
    """What stands in the way of a home folder there. One that is not there yet can still be made."""
    try:
        at = next(place for place in (home, *home.parents) if place.exists())
    except OSError as refused:
        return [f"environment: RECSYS_HOME {home}: {refused.strerror}"]
    return [] if at.is_dir() else [f"environment: RECSYS_HOME {home}: {at} is a file, not a folder"]


def _is_service_link(name: str) -> bool:
    """Whether Kubernetes set it: in a pod, together with the address of that Service."""
    found = _SERVICE_LINK.fullmatch(name)
    pod = "KUBERNETES_SERVICE_HOST" in os.environ
    return pod and found is not None and f"{found[1]}_SERVICE_HOST" in os.environ


def _given_dagster_home(raw: Mapping[str, Any]) -> str | None:
    """On Kubernetes the chart mounts the instance; on one machine a DAGSTER_HOME of another project is not ours."""
    given = os.environ.get("DAGSTER_HOME")
    # Dagster takes an absolute path only.
    return str(Path(given).absolute()) if given and raw.get("platform") == "kubernetes" else None


def secret_variable(name: str) -> str:
    """What a variable that a setting names holds. Raises ConfigError."""
    if value := os.environ.get(name, ""):
        return value
    raise ConfigError(f"environment: {name} is not set, though a setting names it")


def _config_path() -> Path:
    if named := os.environ.get("RECSYS_CONFIG"):
        return Path(named)
    return Path("recsys.yaml") if Path("recsys.yaml").exists() else PACKAGED_CONFIG


class _Loader(yaml.SafeLoader):
    """YAML's safe subset, with dates left as text, so that a wrong one is a settings error with its place, and with a
    key that stands twice refused, where YAML would quietly take the second."""

    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                raise yaml.composer.ComposerError(None, None, f"more than {MAX_ALIASES} aliases", None)
        composed: yaml.Node | None = super().compose_node(parent, index)
        return composed

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a name must be a text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: longer than {MAX_CONFIG_BYTES} bytes")
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except OSError as broken:
        raise ConfigError(f"{path}: cannot be read: {broken}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid YAML: nested too deep") from None
    except (yaml.YAMLError, UnicodeDecodeError) as broken:
        raise ConfigError(f"{path}: not valid YAML: {broken}") from None
    if not isinstance(loaded, dict) or not all(isinstance(k, str) for k in loaded):
        raise ConfigError(f"{path}: must be a mapping of sections at its top")
    return loaded


def _web_address(url: str) -> str:
    """The address, if a request can be sent to it and nothing secret but its path stands in it."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isascii() or not url.isprintable():
        raise ValueError("must be an address that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a name or a password; secret_file signs what is sent")
    if parts.fragment or " " in url or parts.port == 0:
        raise ValueError("must be an address without a fragment or a space, and with a port that exists")
    return url


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in loc) or "(top)"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60


def _short(value: object) -> str:
    text = _REPR.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _all(errors: list[str]) -> str:
    return f"{len(errors)} error(s) in the configuration:\n" + "\n".join(f"  - {e}" for e in errors)
