#!/usr/bin/env bash
# Install what the cluster takes from Debian: a container runtime and tools of the network. tools.py makes the rest.
# The service that comes with containerd is not used; the node runs one of its own.
set -euo pipefail

declare -A packages=(
  [containerd]=containerd [runc]=runc [/usr/lib/cni/ptp]=containernetworking-plugins [iptables]=iptables
  [conntrack]=conntrack [socat]=socat [ip]=iproute2 [nsenter]=util-linux [openssl]=openssl [buildah]=buildah
)
missing=()
for program in "${!packages[@]}"; do
  command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  printf 'cluster: missing: %s. On Debian: sudo apt-get install %s\n' "${missing[*]}" "${missing[*]}" >&2
  exit 1
fi
printf 'cluster: installing %s with apt-get\n' "${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install -y -qq --no-install-recommends)
# The lists of a fresh machine are empty or old; one that has them needs no update.
"${install[@]}" "${missing[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${install[@]}" "${missing[@]}" >/dev/null; } >&2
