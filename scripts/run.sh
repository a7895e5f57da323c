#!/bin/sh
# Start the server in a container, hardened as in docker-compose.yml, and wait until it is ready.
#
# Usage: scripts/run.sh
#
# Builds the image when it is missing. A server of run.sh is replaced: it keeps running when the
# settings or the container's limits are wrong, and gets the time to finish its sessions. Mail is in
# the volume and outlives containers; docker compose with the same name has the same volume.
# From the environment or .env: every SMTP_* setting (SMTP_PORT and SMTP_HTTP_PORT are also the
# ports on this machine; 0 takes any free one), and
#   PRIXFIXE_NAME     the server's name, its container's and network's (prixfixe)
#   PRIXFIXE_IMAGE    the image (prixfixe)
#   PRIXFIXE_VOLUME   volume, or ./folder or /folder, for mail (NAME-mail)
#   PRIXFIXE_SECRETS  folder that the server sees, read-only, as /run/secrets (./secrets)
#   PRIXFIXE_PUBLISH  address of the SMTP ports on this machine (127.0.0.1)
#   PRIXFIXE_HTTP_PUBLISH   address of health, metrics and API on this machine (127.0.0.1)
#   PRIXFIXE_MEMORY, PRIXFIXE_CPUS, PRIXFIXE_HEALTH_INTERVAL   (256m, 1, 5s)
# Exit codes: 0, 1 failed, 2 usage, 3 no Docker.

set -euf
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

case ${1:-} in
-h | --help) usage ;;
'') ;;
*) misuse "unexpected argument $1" ;;
esac

ports='' asked='' started=''

# Publish a setting's port; any free one (0) is chosen on this side, the server keeps its own.
publish() { # SETTING PORT DEFAULT ADDRESS
    case $2 in off | '') return 0 ;; esac
    [ "$2" != 0 ] || export "$1=$3"
    ports="$ports --publish $4:$2:${2#0}" asked="$asked $2"
    [ "$2" != 0 ] || ports=$ports$3
}

# A new server that does not become ready is not left behind.
undo() {
    status=$?
    [ -z "$started" ] || ! is_ours container "$name" || docker rm --force "$name" >/dev/null 2>&1 || :
    exit $status
}

# What the new server is to run with is tried first, on a port that is free, since the old one has its own.
step_aside() {
    docker run --rm --pull never --publish "$publish::2525" "$@" "$image" config >/dev/null || stay $?
    say "Replacing $name"
    docker stop "$name" >/dev/null
    docker rm "$name" >/dev/null
}

stay() { # EXIT_CODE
    case $1 in
    125) say "Docker refuses PRIXFIXE_MEMORY=$memory, PRIXFIXE_CPUS=$cpus or PRIXFIXE_PUBLISH=$publish" ;;
    137) say "PRIXFIXE_MEMORY=$memory is too little" ;;
    esac
    fail "$name stays as it was"
}

refused() {
    for port in $asked; do
        case $1 in *":$port"[!0-9]*already*) ;; *) continue ;; esac
        by=$(holder "$port")
        fail "port $port is taken$by: set SMTP_PORT or SMTP_HTTP_PORT, or stop what has it"
    done
    fail "Docker did not start it: $1"
}

holder() { # PORT
    found=$(docker ps --filter "publish=$1" --format '{{.Names}}' | sed -n 1p)
    [ -z "$found" ] || echo " by the container $found"
}

unwell() {
    docker stop "$name" >/dev/null 2>&1 || : # it may be about to end: then its exit code stays
    log=$(docker logs --tail 20 "$name" 2>&1) && [ -z "$log" ] || say "$log"
    end=$(docker inspect --format '{{with .State.ExitCode}}; exit code {{.}}{{end}}{{if .State.OOMKilled}}; out of memory{{end}}' "$name")
    case $end in *137* | *memory*) end="$end; PRIXFIXE_MEMORY=$memory" ;; esac
    case $log in '') log="it logged nothing" ;; *) log="the end of its log is above" ;; esac
    fail "the server did not become ready; $log$end"
}

# The volume as compose makes it, so that compose takes it for its own.
make_volume() {
    [ "$volume" = "$name-mail" ] || return 0
    docker volume inspect "$volume" >/dev/null 2>&1 || docker volume create \
        --label "com.docker.compose.project=$project" --label com.docker.compose.volume=mail "$volume" >/dev/null
}

need_docker
load_env
# Docker would make the folder, as root's.
case $secrets in /*) [ -d "$secrets" ] || [ -z "${PRIXFIXE_SECRETS:-}" ] || fail "PRIXFIXE_SECRETS=$secrets: no such folder" ;; esac
other=$(composed "$project" | sed -n 1p)
[ -z "$other" ] || ! is_running "$other" ||
    fail "compose runs the server $name as $other: change it with scripts/compose.sh up, or stop it with $(for_this)scripts/stop.sh"
if has_image "$image"; then tell_other_image; else "$root/scripts/build.sh"; fi
publish SMTP_PORT "$smtp_port" 2525 "$publish"
publish SMTP_HTTP_PORT "$http_port" 8025 "${PRIXFIXE_HTTP_PUBLISH:-127.0.0.1}"
publish SMTP_TLS_PORT "${SMTP_TLS_PORT:-off}" 2465 "$publish"
set -- --network "$name" --volume "$secrets:/run/secrets:ro,z" \
    --memory "$memory" --memory-swap "$memory" --cpus "$cpus"
for setting in $(env | sed -n 's/^\(SMTP_[A-Za-z0-9_]*\)=.*/\1/p'); do set -- "$@" --env "$setting"; done

trap undo EXIT
trap 'exit 1' HUP INT TERM
docker network inspect "$name" >/dev/null 2>&1 || docker network create --label prixfixe.by=run.sh "$name" >/dev/null
make_volume
if has_container; then step_aside "$@"; fi
started=yes
# It is started again after it was ready once: until then how it ended is to be told.
# shellcheck disable=SC2086 # options without blanks
error=$(docker run --detach --pull never --name "$name" --label prixfixe.by=run.sh $ports \
    --stop-timeout "$(grace)" --health-interval "$interval" \
    --read-only --cap-drop ALL --security-opt no-new-privileges:true \
    --tmpfs /tmp:size=16m,mode=1777,noexec,nosuid,nodev --pids-limit 64 \
    --log-driver json-file --log-opt max-size=10m --log-opt max-file=3 \
    --volume "$volume:/var/mail" "$@" "$image" 2>&1 >/dev/null) || refused "$error"
docker exec "$name" prixfixe wait --timeout 60 >/dev/null 2>&1 || unwell
docker update --restart unless-stopped "$name" >/dev/null
started=''

smtp=$(address "${SMTP_PORT:-2525}") http=$(address "${SMTP_HTTP_PORT:-8025}")
good "$name is ready"
say "  SMTP   $smtp     try it: scripts/test-smtp.sh ${smtp%:*} ${smtp##*:}"
[ -z "$http" ] || say "  HTTP   http://$http     read it: curl http://$http/api/v1/message/latest"
say "  logs   $(for_this)scripts/logs.sh     stop it: $(for_this)scripts/stop.sh"
