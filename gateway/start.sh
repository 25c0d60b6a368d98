#!/bin/sh
# Check the settings, put them into the configuration beside this file, and become nginx.
# Exit codes: 2 for a wrong setting, 1 for an endpoint whose name DNS does not know (now).
set -eu

wrong=""
complain() { echo "gateway: $*" >&2; wrong=yes; }

endpoint=${GATEWAY_ENDPOINT:-}
bucket=${GATEWAY_BUCKET:-}
prefix=${GATEWAY_PREFIX:-}
size=${GATEWAY_CACHE_SIZE:-1g}
seconds=${GATEWAY_CACHE_SECONDS:-10}
stable=${GATEWAY_STABLE_MAX_AGE:-300}
listen=${GATEWAY_LISTEN:-8080}
run=${GATEWAY_RUN_DIR:-/tmp}
cache=${GATEWAY_CACHE_DIR:-/var/cache/nginx}
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
servers=${GATEWAY_RESOLVER:-}
proxies=${GATEWAY_TRUSTED_PROXIES:-}
rate=${GATEWAY_RATE:-}
burst=${GATEWAY_RATE_BURST:-200}
ages=${GATEWAY_MAX_AGES:-}
origins=${GATEWAY_CORS_ORIGINS:-*}
metrics=${GATEWAY_METRICS_LISTEN:-9113}
account=${AWS_ACCESS_KEY_ID:-}

# Only characters that mean nothing to nginx and to sed pass.
authority=${endpoint#*://}
authority=${authority%/}
case $endpoint in
  "") complain "GATEWAY_ENDPOINT is missing: the URL of the S3 server, such as http://minio.storage.svc:9000" ;;
  http://?* | https://?*)
    case $authority in
      "" | :* | *[!]A-Za-z0-9.:[-]*) complain "GATEWAY_ENDPOINT must be http(s)://host or http(s)://host:port, not '$endpoint'" ;;
    esac ;;
  *) complain "GATEWAY_ENDPOINT must begin with http:// or https://, not '$endpoint'" ;;
esac
case $bucket in
  "") complain "GATEWAY_BUCKET is missing: the name of the bucket" ;;
  *[!A-Za-z0-9._-]* | .*) complain "GATEWAY_BUCKET is no name of a bucket: '$bucket'" ;;
esac
prefix=${prefix#/}
prefix=${prefix%/}
case /$prefix/ in
  *[!A-Za-z0-9._/-]* | */./* | */../* | *//?*) complain "GATEWAY_PREFIX is no prefix of keys: '$prefix'" ;;
esac
case $size in
  *[!0-9kmg]* | [!1-9]* | *[kmg]?* | *[0-9] | "") complain "GATEWAY_CACHE_SIZE must be a size such as 500m or 10g, not '$size'" ;;
esac
case $seconds in
  *[!0-9]* | 0* | "") complain "GATEWAY_CACHE_SECONDS must be a number of seconds from 1 on, not '$seconds'" ;;
esac
case $stable in
  *[!0-9]* | "") complain "GATEWAY_STABLE_MAX_AGE must be a number of seconds, not '$stable'" ;;
esac
case $listen in
  *[!]A-Fa-f0-9.:[]* | "") complain "GATEWAY_LISTEN must be a port or address:port, not '$listen'" ;;
esac
case $metrics in
  unix:/*[!A-Za-z0-9._/-]* | "") complain "GATEWAY_METRICS_LISTEN is no path: '$metrics'" ;;
  unix:/*) ;;
  *[!]A-Fa-f0-9.:[]*) complain "GATEWAY_METRICS_LISTEN must be a port, address:port or unix:/path, not '$metrics'" ;;
esac
case $rate in
  "" | [1-9]*/second | [1-9]*/minute)
    case ${rate%/*} in
      *[!0-9]*) complain "GATEWAY_RATE must be like 100/second or 600/minute, not '$rate'" ;;
    esac ;;
  *) complain "GATEWAY_RATE must be like 100/second or 600/minute, not '$rate'" ;;
esac
case $burst in
  *[!0-9]* | 0* | "") complain "GATEWAY_RATE_BURST must be a number from 1 on, not '$burst'" ;;
esac
# Lists are words with spaces between them; none of them may be a pattern of the shell.
set -f
trusted=""
for network in ${proxies:-127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 ::1 fc00::/7}; do
  case $network in
    *[!A-Fa-f0-9.:/]*) complain "GATEWAY_TRUSTED_PROXIES must be addresses and networks, not '$network'" ;;
    *) trusted="$trusted set_real_ip_from $network;" ;;
  esac
done
lifetimes=""
for pair in $ages; do
  path=${pair%=*}
  case $path in
    *[!A-Za-z0-9._/-]* | [!/]* | "") complain "GATEWAY_MAX_AGES must be like /media/shop/=604800, not '$pair'"; continue ;;
  esac
  case ${pair##*=} in
    *[!0-9]* | "") complain "GATEWAY_MAX_AGES must be like /media/shop/=604800, not '$pair'"; continue ;;
  esac
  lifetimes="$lifetimes ~^$(echo "$path" | sed 's/\./[.]/g') \"public, max-age=${pair##*=}\";"
done
allowed=""
vary='more_set_headers "Vary: Origin";'
for origin in $origins; do
  case $origin in
    "*") allowed='default "*";'; vary="" ;;
    http://?* | https://?*)
      case ${origin#*://} in
        *[!A-Za-z0-9.:-]*) complain "GATEWAY_CORS_ORIGINS must be like https://shop.example, or *, not '$origin'" ;;
        *) allowed="$allowed \"$origin\" \"$origin\";" ;;
      esac ;;
    *) complain "GATEWAY_CORS_ORIGINS must be like https://shop.example, or *, not '$origin'" ;;
  esac
done
set +f
if [ -n "$account" ]; then
  [ -n "${AWS_SECRET_ACCESS_KEY:-}" ] || complain "AWS_SECRET_ACCESS_KEY is missing, for AWS_ACCESS_KEY_ID is there"
  [ -n "${AWS_REGION:-}" ] || complain "AWS_REGION is missing, for AWS_ACCESS_KEY_ID is there"
fi
signing=${GATEWAY_SIGNING_KEY:-}
previous=${GATEWAY_SIGNING_PREVIOUS_KEY:-}
if [ -n "$signing$previous" ]; then
  [ ${#signing} -ge 32 ] || complain "GATEWAY_SIGNING_KEY must have at least 32 characters"
  [ -z "$previous" ] || [ ${#previous} -ge 32 ] || complain "GATEWAY_SIGNING_PREVIOUS_KEY must have at least 32 characters"
  [ -n "$account" ] || complain "AWS_ACCESS_KEY_ID is missing: with GATEWAY_SIGNING_KEY an account must read private/*"
fi
home=$(cd "${0%/*}" && pwd)
case $home in
  *[!A-Za-z0-9._/-]*) complain "the path '$home' has characters that nginx would take for its own" ;;
esac
for directory in "$run" "$cache"; do
  case $directory in
    *[!A-Za-z0-9._/-]*) complain "the path '$directory' has characters that nginx would take for its own" ;;
    *) [ -w "$directory" ] || complain "the directory '$directory' is not there, or not writable" ;;
  esac
done
case $certificates in
  *[!A-Za-z0-9._/-]*) complain "SSL_CERT_FILE has characters that nginx would take for its own: '$certificates'" ;;
  *) [ -r "$certificates" ] || complain "SSL_CERT_FILE cannot be read: '$certificates'" ;;
esac

case $authority in
  *]) name=$authority ;;
  *) name=${authority%:*} ;;
esac
# nginx asks DNS itself, again and again, so that a server that moves is found. It wants IPv6 addresses in brackets.
if [ -z "$servers" ] && [ -r /etc/resolv.conf ]; then
  servers=$(awk '$1 == "nameserver" { printf "%s ", ($2 ~ /:/) ? "[" $2 "]" : $2 }' /etc/resolv.conf)
fi
case $servers in
  *[!]A-Fa-f0-9.:\ []*) complain "GATEWAY_RESOLVER must be addresses of DNS servers, not '$servers'" ;;
esac
is_name=""
case $name in
  "["*) ;;
  *[!0-9.]*) is_name=yes ;;
esac
case $endpoint in
  https://*) [ -n "$is_name" ] || complain "GATEWAY_ENDPOINT must have a name with https: nginx verifies no addresses" ;;
esac
[ -z "$is_name" ] || [ -n "$servers" ] ||
  complain "GATEWAY_ENDPOINT is a name, and no DNS server is known: set GATEWAY_RESOLVER"
[ -z "$wrong" ] || exit 2

# It takes names as they are; the short ones of a cluster (minio.storage.svc) are completed here, as its resolver would.
full=$name
if [ -n "$is_name" ] && [ -z "${GATEWAY_RESOLVER:-}" ]; then
  full=""
  for domain in "" $(awk '$1 == "search" { $1 = ""; found = $0 } END { print found }' /etc/resolv.conf); do
    candidate=${name%.}${domain:+.$domain}
    if getent ahosts "$candidate." >/dev/null; then full=$candidate; break; fi
  done
  if [ -z "$full" ]; then
    # Whoever started it tries again: DNS may be late, and a completion can only be found here.
    echo "gateway: the name of GATEWAY_ENDPOINT is not known to DNS, as it is or completed: '$name'" >&2
    exit 1
  fi
fi

zone=""
limit=""
if [ -n "$rate" ]; then
  unit=${rate#*/}
  zone="limit_req_zone \$binary_remote_addr zone=clients:10m rate=${rate%/*}r/${unit%"${unit#?}"};"
  limit="limit_req zone=clients burst=$burst nodelay;"
fi
# To an account that may list the bucket S3 says what is missing: a refusal is then a fault of the settings.
refused=""
[ -z "$account" ] || refused="403 "

# Started by root, its workers would be another user, who cannot use the directories of this one.
user=""
[ "$(id -u)" -ne 0 ] || user="user root;"

sed \
  -e "s|\${GATEWAY_USER}|$user|g" \
  -e "s|\${GATEWAY_HOME}|$home|g" \
  -e "s|\${GATEWAY_TRUSTED}|$trusted|g" \
  -e "s|\${GATEWAY_RATE_ZONE}|$zone|g" \
  -e "s|\${GATEWAY_RATE_LIMIT}|$limit|g" \
  -e "s|\${GATEWAY_MAX_AGES}|$lifetimes|g" \
  -e "s|\${GATEWAY_CORS}|$allowed|g" \
  -e "s|\${GATEWAY_VARY}|$vary|g" \
  -e "s|\${GATEWAY_STABLE_MAX_AGE}|$stable|g" \
  -e "s|\${GATEWAY_REFUSED}|$refused|g" \
  -e "s|\${GATEWAY_METRICS_LISTEN}|$metrics|g" \
  -e "s|\${GATEWAY_STORE_PATH}|/$bucket${prefix:+/$prefix}|g" \
  -e "s|\${GATEWAY_STORE_SCHEME}|${endpoint%%://*}|g" \
  -e "s|\${GATEWAY_STORE}|$full${authority#"$name"}|g" \
  -e "s|\${GATEWAY_ENDPOINT_HOST}|$authority|g" \
  -e "s|\${GATEWAY_ENDPOINT_NAME}|$name|g" \
  -e "s|\${GATEWAY_RESOLVER}|${servers:+resolver $servers;}|g" \
  -e "s|\${GATEWAY_LISTEN}|$listen|g" \
  -e "s|\${GATEWAY_RUN_DIR}|$run|g" \
  -e "s|\${GATEWAY_CACHE_DIR}|$cache|g" \
  -e "s|\${GATEWAY_CACHE_SIZE}|$size|g" \
  -e "s|\${GATEWAY_CACHE_SECONDS}|$seconds|g" \
  -e "s|\${SSL_CERT_FILE}|$certificates|g" \
  "$home/nginx.conf" >"$run/nginx.conf"
# Left by one that was killed, it would be an address in use.
rm -f "$run/origin.sock"
case $metrics in unix:*) rm -f "${metrics#unix:}" ;; esac
exec nginx -e stderr -c "$run/nginx.conf"
