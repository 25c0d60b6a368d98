"""The programs of the cluster: their command lines and configuration files."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from hack.cluster.layout import (
    API_PORT,
    DOMAIN,
    NODE_IP,
    POD_CIDR,
    REGISTRY_PORT,
    S3_PORT,
    S3_REGION,
    SERVICE_CIDR,
    Cluster,
)
from hack.cluster.node import add, run
from hack.cluster.pki import kubeconfig
from hack.cluster.tools import cache, tool

if TYPE_CHECKING:
    from pathlib import Path

_CNI_PLUGINS = "/usr/lib/cni"
_CONTOUR_XDS_PORT = "8001"
# Tests make thousands of Jobs at once, and must not measure the defaults of the two (20 and 50 requests a second).
_FAST_CLIENT = ("--kube-api-qps=500", "--kube-api-burst=1000")


def _program(name: str, file: str = "") -> str:
    return str(tool(name) / (file or name))


def _write(cluster: Cluster, name: str, content: str | dict[str, object]) -> Path:
    """Write a configuration file; all that read YAML read JSON."""
    file = cluster.etc / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return file


def etcd(cluster: Cluster) -> None:
    """Keep the cluster's state. A power cut may lose it: the cluster is for tests, and fsync would slow them."""
    data = cluster.home / "etcd"
    data.mkdir(mode=0o700)
    add(cluster, "etcd", [_program("etcd"), f"--data-dir={data}", "--unsafe-no-fsync", "--log-level=warn"])


def apiserver(cluster: Cluster) -> None:
    """Serve the API."""
    pki = cluster.pki
    command = [
        _program("kubernetes", "kube-apiserver"),
        "--etcd-servers=http://127.0.0.1:2379",
        f"--secure-port={API_PORT}",
        f"--advertise-address={NODE_IP}",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-accounts.key",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
    ]
    add(cluster, "kube-apiserver", command)


def controllers(cluster: Cluster) -> None:
    """Run the controllers and the scheduler."""
    pki = cluster.pki
    manager = [
        _program("kubernetes", "kube-controller-manager"),
        f"--kubeconfig={kubeconfig(cluster, 'controller-manager')}",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--concurrent-job-syncs=50",
        *_FAST_CLIENT,
    ]
    add(cluster, "kube-controller-manager", manager)
    scheduler = [_program("kubernetes", "kube-scheduler"), f"--kubeconfig={kubeconfig(cluster, 'scheduler')}"]
    add(cluster, "kube-scheduler", [*scheduler, "--leader-elect=false", *_FAST_CLIENT])


def containerd(cluster: Cluster, pause_image: str) -> None:
    """Run containers and give them a network."""
    network: dict[str, object] = {
        "cniVersion": "0.4.0",
        "name": "pods",
        # Each pod has a cable of its own to the node, as with kind: a bridge would need br_netfilter, whose settings
        # are the whole machine's.
        "plugins": [
            {
                "type": "ptp",
                "ipam": {"type": "host-local", "subnet": POD_CIDR, "routes": [{"dst": "0.0.0.0/0"}]},
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    net = _write(cluster, "net.d/10-pods.conflist", network).parent
    config = f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  # Without CAP_SYS_RESOURCE, which a machine that is a container itself may lack, no process may lower its OOM score.
  restrict_oom_score_adj = true
  sandbox_image = "{pause_image}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_CNI_PLUGINS}"
    conf_dir = "{net}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
    add(cluster, "containerd", ["containerd", f"--config={_write(cluster, 'containerd.toml', config)}"])


def kubelet(cluster: Cluster) -> None:
    """Run pods."""
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": f"{cluster.pki}/ca.crt"}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cluster.cgroup}",
        "clusterDNS": [NODE_IP],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        # A machine of a developer is often nearly full and has swap; neither is a reason not to run tests.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "failSwapOn": False,
        "failCgroupV1": False,
        "maxPods": 200,
        "serializeImagePulls": False,
        # Names from outside do not resolve: the cluster cannot get there anyway.
        "resolvConf": str(_write(cluster, "resolv.conf", "")),
        "rotateCertificates": False,
    }
    command = [
        _program("kubernetes", "kubelet"),
        f"--config={_write(cluster, 'kubelet.json', config)}",
        f"--kubeconfig={kubeconfig(cluster, 'kubelet')}",
        f"--hostname-override={cluster.node}",
        f"--node-ip={NODE_IP}",
    ]
    add(cluster, "kubelet", command)


def proxy(cluster: Cluster) -> None:
    """Make Services reachable."""
    command = [
        _program("kubernetes", "kube-proxy"),
        f"--kubeconfig={kubeconfig(cluster, 'proxy')}",
        f"--hostname-override={cluster.node}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={POD_CIDR}",
        # The limits of connection tracking are the machine's.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]
    add(cluster, "kube-proxy", command)


def coredns(cluster: Cluster) -> None:
    """Resolve the names of Services, and `*.test` as the node. Nothing else exists."""
    config = f"""cluster.local in-addr.arpa ip6.arpa {{
  bind {NODE_IP}
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {kubeconfig(cluster, "admin")}
    pods insecure
    ttl 5
  }}
}}
{DOMAIN} {{
  bind {NODE_IP}
  template IN A {{
    answer "{{{{ .Name }}}} 60 IN A {NODE_IP}"
  }}
  template ANY ANY {{
    rcode NOERROR
  }}
}}
. {{
  bind {NODE_IP}
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"""
    add(cluster, "coredns", [_program("coredns"), "-conf", str(_write(cluster, "Corefile", config))])


def registry(cluster: Cluster) -> None:
    """Keep images, in the cache: a new cluster gets unchanged layers from there."""
    storage = cache() / "registry"
    storage.mkdir(parents=True, exist_ok=True)
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}},
        "http": {"addr": f":{REGISTRY_PORT}"},
    }
    add(cluster, "registry", [_program("registry"), "serve", str(_write(cluster, "registry.yaml", config))])


def s3(cluster: Cluster) -> dict[str, str]:
    """Serve objects, and return the root credentials; accounts are made by its admin API."""
    data, accounts = cluster.home / "s3", cluster.home / "s3-accounts"
    data.mkdir()
    accounts.mkdir(mode=0o700)
    access, secret = "root", secrets.token_urlsafe(30)
    command = [
        _program("versitygw"),
        f"--port=:{S3_PORT}",
        f"--region={S3_REGION}",
        f"--iam-dir={accounts}",
        "--keep-alive",
        "--quiet",
        "posix",
        str(data),
    ]
    add(cluster, "versitygw", command, ROOT_ACCESS_KEY=access, ROOT_SECRET_KEY=secret)
    return {"access_key": access, "secret_key": secret, "iam_dir": str(accounts), "data_dir": str(data)}


def ingress(cluster: Cluster) -> None:
    """Serve Ingresses and HTTPRoutes."""
    contour = _program("contour")
    gateway: dict[str, object] = {"gateway": {"gatewayRef": {"namespace": "projectcontour", "name": "contour"}}}
    xds = ("--xds-address=127.0.0.1", f"--xds-port={_CONTOUR_XDS_PORT}")
    serve = [
        contour,
        "serve",
        "--no-incluster",
        f"--kubeconfig={kubeconfig(cluster, 'admin')}",
        f"--config-path={_write(cluster, 'contour.yaml', gateway)}",
        *xds,
        # Between it and Envoy is only the node's loopback.
        "--insecure",
        "--disable-leader-election",
        f"--ingress-status-address={NODE_IP}",
    ]
    add(cluster, "contour", serve)
    bootstrap = cluster.etc / "envoy.json"
    run(
        contour, "bootstrap", bootstrap, *xds, "--admin-address=/run/envoy.sock", f"--resources-dir={cluster.etc}/envoy"
    )
    envoy = [
        _program("envoy"),
        *("--config-path", str(bootstrap)),
        *("--service-cluster", "projectcontour"),
        *("--service-node", "envoy"),
        *("--concurrency", "2"),
        *("--log-level", "warning"),
        "--disable-hot-restart",
    ]
    add(cluster, "envoy", envoy)
