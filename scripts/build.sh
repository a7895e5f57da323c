#!/bin/sh
# Build the image and tag it with its version and as latest.
#
# Usage: scripts/build.sh [DOCKER_BUILD_OPTION...]
#   DOCKER_BUILD_OPTION   such as --no-cache
#
# The base image is pulled when it is missing, and made here by scripts/base-image.sh where it
# cannot be pulled. From the environment or .env:
#   PRIXFIXE_IMAGE        the image's name (prixfixe); with a tag, that is the only one
#   PRIXFIXE_BASE_IMAGE   what to build on (debian:trixie-slim)
# Exit codes: 0, 1 failed, 2 usage, 3 no Docker.

set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

case ${1:-} in
-h | --help) usage ;;
-* | '') ;;
*) misuse "unexpected argument $1" ;;
esac
need_docker
load_env
ensure_base
version=$(version)
case ${image##*/} in
*:*) set -- --tag "$image" "$@" ;;
*) set -- --tag "$image:$version" --tag "$image:latest" "$@" ;;
esac
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0 # the classic builder is enough
docker build "$@" \
    --build-arg "BASE_IMAGE=$base" \
    --build-arg "VERSION=$version" \
    --build-arg "REVISION=$(revision)" \
    --label "org.opencontainers.image.created=$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    "$root" >&2 || fail "the image was not built; the reason is above"
good "$image $version is built: $(docker image inspect --format '{{.Id}}' "$image")"
