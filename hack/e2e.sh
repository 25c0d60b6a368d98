#!/usr/bin/env bash
# Build the images and run the end-to-end tests on a real Kubernetes; `make e2e` calls this.
#
#   CLUSTER=local     (default) a cluster of our own, made and removed by hack/cluster/kind; needs root, no Docker
#   CLUSTER=kind      the real kind, found in PATH as kubectl is
#   CLUSTER=current   the cluster of $KUBECONFIG, whose nodes have the images (or get them from $MEDIA_E2E_REGISTRY)
#
# kind and current need an ingress controller: MEDIA_E2E_INGRESS_CLASS (default: the cluster's default class) and
# MEDIA_E2E_INGRESS_URL (default: http:// and the address of the first node). The S3 server then is a pod.
# PYTEST_ARGS are passed on. The transcripts of docs/operations/troubleshooting.md are held to what kubectl says; with
# MEDIA_TRANSCRIPTS=1 they are written anew instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.tools/bin:$PATH" CLUSTER="${CLUSTER:-local}"

python=.venv/bin/python
name=media-e2e
# Before the tests, whose time limit is none for builds.
tools() { "$python" hack/cluster/tools.py "$@"; }
need() { command -v "$1" || { echo "e2e: $1 is not in PATH" >&2; exit 1; }; }

hack/setup.sh test
options=(--timeout=600)
build=()
remove() {
  # A second Ctrl-C is not to leave half a cluster.
  trap '' INT TERM
  "$kind" delete cluster --name "$name" --kubeconfig .cache/e2e.kubeconfig
}
case "$CLUSTER" in
  local)
    [ "$(id -u)" -eq 0 ] || { echo "e2e: CLUSTER=local needs root" >&2; exit 1; }
    hack/cluster/setup.sh
    kubectl=$(tools | sed -n 's/^kubernetes //p')/kubectl
    kind=hack/cluster/kind
    build=(--program buildah)
    ;;
  kind)
    kubectl=$(need kubectl)
    kind=$(need kind)
    # From whose images it loads.
    build=(--program docker)
    ;;
  current)
    need kubectl >/dev/null
    : "${KUBECONFIG:?CLUSTER=current takes the cluster of KUBECONFIG}"
    ;;
  *)
    echo "e2e: CLUSTER is local, kind or current, not $CLUSTER" >&2
    exit 1
    ;;
esac
tools helm versitygw >/dev/null
if [ "$CLUSTER" != current ]; then
  mkdir -p .cache
  options+=(--cluster-name="$name" --kubeconfig=.cache/e2e.kubeconfig --kind-bin="$kind" --kind-kubectl-bin="$kubectl")
  # Also when the run is interrupted or fails; it is no error if the tests have removed it.
  trap remove EXIT
fi
"$python" hack/images/build.py "${build[@]}"
# shellcheck disable=SC2086 # several words
"$python" -m pytest tests/e2e "${options[@]}" ${PYTEST_ARGS:-}
