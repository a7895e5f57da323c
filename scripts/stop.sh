#!/bin/sh
# Stop the server that run.sh or compose started; it gets the time to finish what it is receiving.
#
# Usage: scripts/stop.sh [--remove]
#   --remove   also remove the container and its network; the mail's volume stays
#
# From the environment or .env: PRIXFIXE_NAME, the server's name (prixfixe).
# Exit codes: 0 stopped, 1 failed or there was nothing to stop, 2 usage, 3 no Docker.

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
find_server
if is_running "$server"; then
    docker stop "$server" >/dev/null
    code=$(docker inspect --format '{{.State.ExitCode}}' "$server")
    case $code in
    0) good "$server is stopped" ;;
    137) say "$server did not end in time and was killed; what it answered 250 to is kept" ;;
    *) say "$server is stopped; it had ended with exit code $code" ;;
    esac
else
    [ -n "$remove" ] || fail "$server does not run: there is nothing to stop"
fi
[ -n "$remove" ] || exit 0
volume=$(docker inspect --format '{{range .Mounts}}{{if eq .Destination "/var/mail"}}{{or .Name .Source}}{{end}}{{end}}' "$server")
docker rm "$server" >/dev/null
# Others may still use the network.
if [ "$server" != "$name" ]; then
    docker network rm "${project}_mail" >/dev/null 2>&1 || :
elif is_ours network "$name"; then
    docker network rm "$name" >/dev/null 2>&1 || :
fi
good "$server is removed; its mail stays in ${volume:-no volume}"
