#!/bin/sh
# Stop the server that run.sh started; it gets the time to finish what it is receiving.
#
# Usage: scripts/stop.sh [--remove]
#   --remove   also remove the container and its network; the mail's volume stays
#
# From the environment or .env: PRIXFIXE_NAME, the container's name (prixfixe).
# Exit codes: 0 stopped or not running, 1 failed, 2 usage, 3 no Docker.

set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

remove=''
for argument; do
    case $argument in
    -h | --help) usage ;;
    --remove) remove=yes ;;
    *) misuse "unexpected argument $argument" ;;
    esac
done
need_docker
load_env
has_server || {
    say "There is no server $name"
    exit 0
}
docker stop "$name" >/dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' "$name")
case $code in
0) good "$name is stopped" ;;
137) say "$name did not end in time and was killed; what it answered 250 to is kept" ;;
*) say "$name is stopped; it had ended with exit code $code" ;;
esac
[ -n "$remove" ] || exit 0
volume=$(docker inspect --format '{{range .Mounts}}{{if eq .Destination "/var/mail"}}{{or .Name .Source}}{{end}}{{end}}' "$name")
docker rm "$name" >/dev/null
! is_ours network "$name" || docker network rm "$name" >/dev/null 2>&1 || : # others may still use it
good "$name is removed; its mail stays in ${volume:-no volume}"
