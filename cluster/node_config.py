"""The configuration of containerd, the network of pods, kubelet and kube-proxy.

Here: texts as pure functions of the layout, with the reason for each unusual value. Not here: starting anything.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from cluster.components import CLUSTER_DOMAIN
from cluster.layout import NODE, Layout
from cluster.pki import Pair

PAUSE_IMAGE = "localhost/pause:own"
PLUGINS = "/usr/lib/cni"  # where Debian's containernetworking-plugins puts them


def containerd(at: Layout) -> str:
    """containerd with runc, overlayfs and the network plugins of Debian."""
    return f"""version = 2
root = "{at.state}/containerd"
state = "{at.state}/containerd-state"
# Streams of exec and port-forward only; no pod needs anything of it.
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs"]
[grpc]
  address = "{at.runtime_socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{at.state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def pod_network(at: Layout) -> str:
    """A routed link per pod. On a bridge, answers between two pods of one service would bypass the translation."""
    addresses = {"type": "host-local", "ranges": [[{"subnet": at.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    addresses["dataDir"] = str(at.state / "cni-addresses")
    plugins = [{"type": "ptp", "ipMasq": False, "ipam": addresses}]
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins})


def kubelet(at: Layout, authority: Path, serving: Pair) -> str:
    """kubelet on cgroup v1 with the cgroupfs driver, which is what works without systemd."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": at.node_address,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(serving.certificate),
            "tlsPrivateKeyFile": str(serving.key),
            "containerRuntimeEndpoint": f"unix://{at.runtime_socket}",
            "clusterDNS": [at.dns_address],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": str(at.state / "resolv.conf"),
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": at.cgroup,
            "failSwapOn": False,
            "maxOpenFiles": 20000,
            "oomScoreAdj": 0,
            # The disk is shared with whatever else is on this machine: its fill level says nothing about the pods.
            "evictionHard": {"memory.available": "100Mi"},
            "imageGCHighThresholdPercent": 100,
            "imageMinimumGCAge": "24h",
            "syncFrequency": "10s",
            "nodeStatusUpdateFrequency": "5s",
            "shutdownGracePeriod": "0s",
        }
    )


def kube_proxy(at: Layout, kubeconfig: Path) -> str:
    """kube-proxy by iptables, which leaves the connection tracking of the machine as it is."""
    untouched = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    return yaml.safe_dump(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "mode": "iptables",
            "clusterCIDR": at.pods,
            "detectLocalMode": "ClusterCIDR",
            "hostnameOverride": NODE,
            "conntrack": untouched,
            "iptables": {"minSyncPeriod": "0s", "syncPeriod": "30s"},
        }
    )
