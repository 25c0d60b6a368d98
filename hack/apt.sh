#!/usr/bin/env bash
# Install packages of Debian; whatever in hack/ needs one calls this. Exit code 1 where that is not possible: it takes
# root and apt-get.
set -euo pipefail
# dpkg wants it, and not every way to become root sets it.
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf 'apt: %s\n' "$*" >&2; }
[ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || exit 1

# None where systemd does not run: in a container there is nothing that could have been started.
services() {
  [ -d /run/systemd/system ] || return 0
  systemctl list-unit-files --type=service,socket,timer --state=enabled --no-legend --no-pager | awk '{ print $1 }' | sort
}

say "installing $*"
export DEBIAN_FRONTEND=noninteractive
# A machine that has just started may be busy with updates of its own.
install=(apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@")
before=$(services)
# The lists of a fresh machine are empty or old; one that has them needs no update.
"${install[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${install[@]}" >/dev/null; } >&2

# Debian starts the services of what it installs, now and at each boot; we need programs, and start them ourselves.
mapfile -t new < <(comm -13 <(printf '%s\n' "$before") <(services))
if [ ${#new[@]} -gt 0 ]; then
  say "stopping and disabling what came with that and is not needed: ${new[*]}"
  systemctl disable --now --quiet "${new[@]}" || say "systemctl failed; they may still run"
fi
