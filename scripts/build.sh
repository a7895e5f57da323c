#!/bin/sh
# Build the image and tag it with its version and as latest; then, of it, the image `…-mailpit`
# that takes the place of Mailpit's in tests (docs/testing.md).
#
# Usage: scripts/build.sh [--platform PLATFORM] [DOCKER_BUILD_OPTION...]
#   --platform PLATFORM   linux/amd64 or linux/arm64; another processor's is built by emulation, and
#                         its image gets the tag of the processor alone (prixfixe:arm64)
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

platform=''
case ${1:-} in
-h | --help) usage ;;
--platform=*) platform=${1#*=} && shift ;;
--platform)
    [ $# -gt 1 ] || misuse "--platform: expected a value, such as linux/arm64"
    platform=$2 && shift 2
    ;;
-* | '') ;;
*) misuse "unexpected argument $1" ;;
esac
foreign=$(architecture "$platform")
need_docker
load_env
[ -z "$foreign" ] || ! is_native "$foreign" || foreign=''
[ -z "$foreign" ] || need_emulation "$foreign"
ensure_base "$foreign"
version=$(version)
created="org.opencontainers.image.created=$(date -u +%Y-%m-%dT%H:%M:%SZ)"
case ${foreign:+foreign}${image##*/} in
foreign*:*) made=$image tags="--tag $image" ;;
foreign*) made=$image:$foreign tags="--tag $image:$foreign" ;;
*:*) made=$image tags="--tag $image" others="--tag ${image%:*}-mailpit:${image##*:}" ;;
*)
    made=$image:$version tags="--tag $image:$version --tag $image:latest"
    others="--tag $image-mailpit:$version --tag $image-mailpit:latest"
    ;;
esac
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0 # the classic builder is enough
# shellcheck disable=SC2086 # a word a tag; an image's name has no blank
docker build $tags ${platform:+--platform "$platform"} "$@" \
    --build-arg "BASE_IMAGE=$base" \
    --build-arg "VERSION=$version" \
    --build-arg "REVISION=$(revision)" \
    --label "$created" "$root" >&2 || fail "the image was not built; the reason is above"
# shellcheck disable=SC2086 # see above
[ -n "$foreign" ] || docker build $others --file "$root/docker/mailpit.Dockerfile" --build-arg "IMAGE=$made" \
    --label "$created" "$root/docker" >&2 || fail "the image for Mailpit's place was not built"
good "$made $version is built: $(docker image inspect --format '{{.Id}}' "$made")"
