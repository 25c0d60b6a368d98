#!/usr/bin/env bash
# Install what the cluster takes from Debian, a container runtime and tools of the network, and uv, with which tools.py
# gets what it does not build. The service that comes with containerd is not used; the node runs one of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# Where Debian puts iptables; not every way to become root sets it.
export PATH="$PATH:/usr/sbin:/sbin"

declare -A packages=(
  [containerd]=containerd [runc]=runc [/usr/lib/cni/ptp]=containernetworking-plugins [iptables]=iptables
  [conntrack]=conntrack [socat]=socat [ip]=iproute2 [nsenter]=util-linux [openssl]=openssl
  # Debian's only recommends the second, without which it does not start since trixie.
  [buildah]='buildah netavark'
)
missing=()
for program in "${!packages[@]}"; do
  # shellcheck disable=SC2206 # several words
  command -v "$program" >/dev/null || missing+=(${packages[$program]})
done
if [ ${#missing[@]} -gt 0 ] && ! hack/apt.sh "${missing[@]}"; then
  printf 'cluster: missing: %s. On Debian: sudo apt-get install %s\n' "${missing[*]}" "${missing[*]}" >&2
  exit 1
fi
hack/setup.sh uv
