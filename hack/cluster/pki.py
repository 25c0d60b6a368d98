"""The cluster's certificate authority and what it signs, by openssl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hack.cluster.layout import API_PORT, API_SERVICE_IP, DOMAIN, NODE_IP, Cluster
from hack.cluster.node import run

if TYPE_CHECKING:
    from pathlib import Path

_NO_CA = "basicConstraints=critical,CA:FALSE"
_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
#: Who the parts are to the API server: common name and organization.
USERS = {
    "admin": ("kubernetes-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "kubelet": ("system:node:{node}", "system:nodes"),
}


def make(cluster: Cluster) -> None:
    """Make all keys and certificates, and a kubeconfig for each user."""
    cluster.pki.mkdir(mode=0o700)
    usage = "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"
    _request(cluster.pki / "ca", "/CN=media-operator-cluster", "-addext", usage)
    names = ",".join([*(f"DNS:{name}" for name in _API_NAMES), f"IP:{NODE_IP}", f"IP:{API_SERVICE_IP}"])
    _sign(cluster, "apiserver", "/CN=kube-apiserver", f"subjectAltName={names}", "extendedKeyUsage=serverAuth")
    ingress = f"subjectAltName=DNS:*.{DOMAIN},DNS:*.media.{DOMAIN},IP:{NODE_IP}"
    _sign(cluster, "ingress", f"/CN=*.{DOMAIN}", ingress, "extendedKeyUsage=serverAuth")
    run("openssl", "genrsa", "-out", cluster.pki / "service-accounts.key", "2048")
    for user, (name, group) in USERS.items():
        subject = f"/CN={name.format(node=cluster.node)}" + (f"/O={group}" if group else "")
        _sign(cluster, user, subject, "extendedKeyUsage=clientAuth")
        kubeconfig(cluster, user).write_text(json.dumps(_kubeconfig(cluster, user)))


def kubeconfig(cluster: Cluster, user: str) -> Path:
    """Return the kubeconfig file of one of `USERS`."""
    return cluster.pki / f"{user}.kubeconfig"


def _sign(cluster: Cluster, name: str, subject: str, *extensions: str) -> None:
    ca = ("-CA", f"{cluster.pki}/ca.crt", "-CAkey", f"{cluster.pki}/ca.key")
    added = [word for extension in (_NO_CA, *extensions) for word in ("-addext", extension)]
    _request(cluster.pki / name, subject, *ca, *added)


def _request(path: Path, subject: str, *options: str) -> None:
    out = ("-out", f"{path}.crt", "-keyout", f"{path}.key")
    run("openssl", "req", "-x509", *_EC, *out, "-days", "3650", "-subj", subject, *options)


def _kubeconfig(cluster: Cluster, user: str) -> dict[str, object]:
    pki = cluster.pki
    server = {"server": f"https://{NODE_IP}:{API_PORT}", "certificate-authority": f"{pki}/ca.crt"}
    identity = {"client-certificate": f"{pki}/{user}.crt", "client-key": f"{pki}/{user}.key"}
    name = f"kind-{cluster.name}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": server}],
        "users": [{"name": name, "user": identity}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
