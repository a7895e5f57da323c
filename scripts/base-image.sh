#!/bin/sh
# Make the base image debian:trixie-slim on a machine that cannot pull it.
#
# Usage: scripts/base-image.sh [--force] [--no-check-gpg] [--platform PLATFORM] [TAG]
#   --force         make it even where the image exists
#   --no-check-gpg  go on without Debian's archive keyring (nothing is verified then)
#   --platform      such as linux/arm64: of another processor, whose programs the kernel has to run
#                   by emulation (qemu-user-static); the TAG then ends with the processor's name
#
# Needs root, debootstrap and debian-archive-keyring. The mirror is that of the machine's apt
# sources, or DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR. The image also gets what a build needs to
# download as this machine does: its certificate authorities and the proxy and index settings of
# apt and pip. It is for building only: nothing of it but Debian packages reaches the product.
# The label prixfixe.base=local marks it. Exit codes: 0, 1 failed, 2 usage, 3 no Docker.

set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

force='' verify=yes tag='' platform=''
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage ;;
    --force) force=yes ;;
    --no-check-gpg) verify='' ;;
    --platform)
        [ $# -gt 1 ] || misuse "--platform: expected a value, such as linux/arm64"
        platform=$2
        shift
        ;;
    --platform=*) platform=${1#*=} ;;
    -*) misuse "unknown option $1" ;;
    *) tag=$1 ;;
    esac
    shift
done
architecture=$(architecture "$platform")
tag=${tag:-debian:trixie-slim${architecture:+-$architecture}}
readonly suite=trixie ca=/etc/host-ca.pem

# shellcheck disable=SC2016 # apt-get's own variable
apt_uri() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 "$1/*\$"; }

# Debian's keys in a file tree; .pgp is the newer name.
archive_keyring() {
    for end in pgp gpg; do
        file=/usr/share/keyrings/debian-archive-keyring.$end
        [ ! -f "$1$file" ] || {
            echo "$file"
            return
        }
    done
}

apt_settings() { apt-config dump | grep -E '^Acquire::(https?::.*Proxy|Check-(Valid-Until|Date)|Retries) ' || :; }

apt_sources() {
    printf 'Types: deb\nURIs: %s\nSuites: %s %s-updates\nComponents: main\nSigned-By: %s\n' \
        "$mirror" $suite $suite "$1"
    [ -z "$security" ] || printf '\nTypes: deb\nURIs: %s\nSuites: %s-security\nComponents: main\nSigned-By: %s\n' \
        "$security" $suite "$1"
}

# The machine's certificate bundles, each once.
authorities() {
    for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt \
        "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" "${REQUESTS_CA_BUNDLE:-}" "$(pip_setting cert)"; do
        [ -z "$file" ] || [ ! -f "$file" ] || readlink -f "$file"
    done | sort -u | while IFS= read -r file; do
        cat "$file"
        echo
    done
}

pip_setting() { python3 -m pip config get "global.$1" 2>/dev/null || :; }

# Indexes on this machine's disk mean nothing inside a build.
pip_settings() {
    echo '[global]'
    for key in index-url extra-index-url trusted-host proxy; do
        value=$(printenv "PIP_$(echo $key | tr a-z- A-Z_)" || pip_setting $key)
        value=$(printf '%s\n' "$value" | tr -s '[:space:]' '\n' | grep -v -e '^file:' -e '^/' | paste -s -d ' ' -)
        [ -z "$value" ] || printf '%s = %s\n' $key "$value"
    done
}

furnish() {
    rm -f "$1/etc/apt/sources.list"
    apt_sources "$(archive_keyring "$1")" >"$1/etc/apt/sources.list.d/debian.sources"
    apt_settings >"$1/etc/apt/apt.conf.d/90host"
    authorities >"$1$ca"
    [ ! -s "$1$ca" ] || echo "Acquire::https::CaInfo \"$ca\";" >>"$1/etc/apt/apt.conf.d/90host"
    pip_settings >"$1/etc/pip.conf"
    rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "${1:?}"/dev/*
}

need_docker
if [ -z "$force" ] && docker image inspect "$tag" >/dev/null 2>&1; then
    say "$tag exists already (--force makes it anew)"
    exit 0
fi
[ "$(id -u)" = 0 ] || fail "making a base image needs root (try sudo)"
command -v debootstrap >/dev/null || fail "debootstrap is missing (apt-get install debootstrap)"
mirror=${DEBIAN_MIRROR:-$(apt_uri /debian || :)}
security=${DEBIAN_SECURITY_MIRROR:-$(apt_uri /debian-security || :)}
[ -z "$architecture" ] || is_native "$architecture" || need_emulation "$architecture"
[ -n "$mirror" ] || fail "apt's sources name no Debian mirror: set DEBIAN_MIRROR to its URL"
keyring=$(archive_keyring '')
if [ -z "$verify" ]; then
    check=--no-check-gpg
elif [ -n "$keyring" ]; then
    check="--force-check-gpg --keyring=$keyring"
else
    fail "there is no Debian archive keyring to verify packages with (apt-get install debian-archive-keyring, or --no-check-gpg)"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
long='half a minute'
[ -z "$architecture" ] || is_native "$architecture" || long='three minutes, by emulation'
say "Making $tag from $mirror; this takes about $long"
# shellcheck disable=SC2086 # two options
debootstrap --variant=minbase ${architecture:+--arch="$architecture"} $check $suite "$work/root" "$mirror" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    fail "debootstrap failed; the end of its log is above"
}
furnish "$work/root"
if [ -z "$architecture" ]; then
    tar --numeric-owner -C "$work/root" -c . | docker import \
        --change 'LABEL prixfixe.base=local' --change 'CMD ["bash"]' \
        --change "ENV PIP_CERT=$ca SSL_CERT_FILE=$ca" - "$tag" >/dev/null
else # an import would be of this machine's processor, whatever it is told
    mkdir "$work/image"
    tar --numeric-owner -C "$work/root" -cf "$work/image/root.tar" .
    printf 'FROM scratch\nADD root.tar /\nLABEL prixfixe.base=local\nENV PIP_CERT=%s SSL_CERT_FILE=%s\nCMD ["bash"]\n' \
        "$ca" "$ca" >"$work/image/Dockerfile"
    docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
    docker build --quiet --platform "linux/$architecture" --tag "$tag" "$work/image" >/dev/null ||
        fail "the base image was not made; the reason is above"
fi
good "$tag is made"
