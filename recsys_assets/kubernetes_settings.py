"""Section `kubernetes` of the settings: names, sizes and time limits of what runs on a Kubernetes cluster.

Here: its shape and what is wrong with it. Not here: any manifest, any request. Read only where `platform: kubernetes`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Label = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Subdomain = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
Role = Literal["stable", "canary", "shadow"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GatewaySettings(_Section):
    """The gateway that users come through: the Gateway object, and the Service and port of its pods.

    `hosts` are the host names that the route answers for; `url` is where people and replayed users find the gateway,
    where that is not the Service's own name.
    """

    name: Label = "recsys-gateway"
    namespace: Label | None = None
    service: Label = "recsys-gateway"
    port: int = Field(default=80, ge=1, le=65_535)
    # Labels of the gateway's pods, which the filters that make the split sticky select.
    labels: dict[str, str] = Field(default={"istio": "recsys-gateway"}, min_length=1)
    hosts: tuple[str, ...] = Field(default=("*",), min_length=1)
    url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+$")
    # How long one gateway pod may take to say how it splits.
    timeout_seconds: float = Field(default=2.0, gt=0)


class ServiceAccounts(_Section):
    """The identities: each may do only what its Role in the chart lists."""

    dagster: Label = "recsys-dagster"
    guard: Label = "recsys-guard"
    model: Label = "recsys-model"
    gateway: Label = "recsys-gateway"
    collector: Label = "recsys-collector"


class Resources(_Section):
    """What one container asks for and may at most use."""

    cpu: Quantity = "500m"
    memory: Quantity = "512Mi"
    cpu_limit: Quantity | None = "1"
    memory_limit: Quantity = "2Gi"


class Autoscaling(_Section):
    """How many replicas one model version's service has. Each version has a service, so canary and champion are sized
    separately, each by its own load.

    `cpu` is the target utilisation of the request in percent; `requests` is the target of requests per second and
    replica, by KEDA from Prometheus at `prometheus_url`.
    """

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    metric: Literal["none", "cpu", "requests"] = "none"
    target: int = Field(default=60, ge=1)
    prometheus_url: str | None = Field(default=None, pattern=r"^https?://\S+$")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas {self.max_replicas} lies below min_replicas {self.min_replicas}")
        if self.metric == "requests" and self.prometheus_url is None:
            raise ValueError("metric requests needs prometheus_url")
        return self


class KubernetesSettings(_Section):
    """One installation, in one namespace. Without `context` and `kubeconfig` a pod uses its own service account, and a
    person the current context of the usual kubeconfig."""

    namespace: Label = "recsys"
    cluster_domain: Subdomain = "cluster.local"
    context: str | None = None
    kubeconfig: str | None = None
    # How the route is stored: an Istio VirtualService, or a Gateway API HTTPRoute.
    route: Literal["istio", "gateway-api"] = "istio"
    gateway: GatewaySettings = GatewaySettings()
    image: str = Field(default="recsys-assets:0.1.0", pattern=r"^[a-z0-9][^\s]*$")
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[Subdomain, ...] = ()
    service_accounts: ServiceAccounts = ServiceAccounts()
    # The shared volume below /var/lib/recsys, the public keys, and what model servers get as environment variables.
    home_claim: Subdomain = "recsys-home"
    public_keys_config_map: Subdomain = "recsys-public-keys"
    model_environment_secrets: tuple[Subdomain, ...] = ()
    # A role that is not named here has these sizes.
    resources: Resources = Resources()
    resources_by_role: dict[Role, Resources] = Field(default_factory=dict)
    # Steps of a run are pods of their own, so many at once; one that is not named has what the run launcher gives.
    resources_by_step: dict[str, Resources] = Field(default_factory=dict)
    concurrent_steps: int = Field(default=4, ge=1)
    autoscaling: Autoscaling = Autoscaling()
    connect_timeout_seconds: float = Field(default=3.0, gt=0)
    request_timeout_seconds: float = Field(default=15.0, gt=0)

    @field_validator("gateway")
    @classmethod
    def _hosts_differ(cls, given: GatewaySettings) -> GatewaySettings:
        if len(set(given.hosts)) < len(given.hosts):
            raise ValueError("hosts names a host twice")
        return given

    @property
    def gateway_namespace(self) -> str:
        """Where the gateway lives: with everything else, unless it is said."""
        return self.gateway.namespace or self.namespace

    @property
    def gateway_url(self) -> str:
        """Where users, replayed or real, find the gateway from inside the cluster."""
        place = f"{self.gateway.service}.{self.gateway_namespace}.svc.{self.cluster_domain}"
        return self.gateway.url or f"http://{place}:{self.gateway.port}"

    def service_host(self, service: str) -> str:
        """The host name of the Service that KServe makes for a model version."""
        return f"{service}-predictor.{self.namespace}.svc.{self.cluster_domain}"

    def sizes(self, role: Role) -> Resources:
        """The resources of a model server in this role."""
        return self.resources_by_role.get(role, self.resources)
