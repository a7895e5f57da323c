#!/bin/sh
# Start the server in a container, hardened as in docker-compose.yml, and wait until it is healthy.
#
# Usage: scripts/run.sh
#
# Builds the image when it is missing. A server that runs is replaced: it keeps running when the
# settings are wrong, gets the time to finish its sessions, and is started again when the new one
# does not become healthy. Mail is in the volume and outlives containers.
# From the environment or .env: every SMTP_* setting (SMTP_PORT and SMTP_HTTP_PORT are also the
# ports on this machine; 0 takes any free one), and
#   PRIXFIXE_NAME     the container's name (prixfixe)
#   PRIXFIXE_IMAGE    the image (prixfixe)
#   PRIXFIXE_VOLUME   volume, or ./folder or /folder, for mail (NAME-mail)
#   PRIXFIXE_SECRETS  folder that the server sees, read-only, as /run/secrets (./secrets)
#   PRIXFIXE_PUBLISH  address of the ports on this machine (127.0.0.1)
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

ports='' asked='' previous='' started=''

# Publish a setting's port; any free one (0) is chosen on this side, the server keeps its own.
publish() { # SETTING PORT DEFAULT
    case $2 in off | '') return 0 ;; esac
    [ "$2" != 0 ] || export "$1=$3"
    ports="$ports --publish $publish:$2:${2#0}" asked="$asked $2"
    [ "$2" != 0 ] || ports=$ports$3
}

# Without success things are as before.
undo() {
    status=$?
    [ -z "$started" ] || ! is_ours container "$name" || docker rm --force "$name" >/dev/null 2>&1 || :
    [ -z "$previous" ] || put_back
    exit $status
}

put_back() {
    docker rename "$name-previous" "$name" 2>/dev/null || : # it had not been renamed yet
    [ "$previous" != running ] || { docker start "$name" >/dev/null && say "The previous server runs again"; }
}

# What the new server is to run with is tried first, on a port that is free, since the old one has its own.
step_aside() {
    docker run --rm --pull never --publish "$publish::2525" "$@" "$image" config >/dev/null || stay $?
    # What a run that was killed has left does not run.
    ! has_container "$name-previous" || docker rm "$name-previous" >/dev/null || fail "$name stays as it was"
    say "Replacing $name"
    previous=$(docker inspect --format '{{.State.Status}}' "$name")
    docker stop "$name" >/dev/null
    docker rename "$name" "$name-previous"
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
        case $1 in *":$port"[!0-9]*already*) fail "port $port is taken: set SMTP_PORT or SMTP_HTTP_PORT, or stop what has it" ;; esac
    done
    fail "Docker did not start it: $1"
}

is_healthy() {
    docker exec "$name" prixfixe wait --timeout 60 >/dev/null 2>&1 || return 1
    tries=60
    while [ $tries -gt 0 ]; do
        case $(docker inspect --format '{{.State.Health.Status}}' "$name") in
        healthy) return 0 ;;
        unhealthy) return 1 ;;
        esac
        tries=$((tries - 1))
        sleep 1
    done
    return 1
}

# One that is started again and again has no exit code while it runs: let it end once more.
let_end() {
    docker update --restart no "$name" >/dev/null 2>&1 || return 0
    tries=10
    while [ $tries -gt 0 ]; do
        case $(docker inspect --format '{{.RestartCount}} {{.State.Running}}' "$name") in
        "0 "* | *" false") return 0 ;;
        esac
        tries=$((tries - 1))
        sleep 1
    done
}

unwell() {
    let_end
    log=$(docker logs --tail 20 "$name" 2>&1) && [ -z "$log" ] || say "$log"
    end=$(docker inspect --format '{{with .State.ExitCode}}; exit code {{.}}{{end}}{{if .State.OOMKilled}}; out of memory{{end}}{{with .RestartCount}}; restarts: {{.}}{{end}}' "$name")
    case $end in *137* | *memory*) end="$end; PRIXFIXE_MEMORY=$memory" ;; esac
    case $log in '') log="it logged nothing" ;; *) log="the end of its log is above" ;; esac
    fail "the server did not become healthy; $log$end"
}

need_docker
load_env
# Docker would make the folder, as root's.
case $secrets in /*) [ -d "$secrets" ] || [ -z "${PRIXFIXE_SECRETS:-}" ] || fail "PRIXFIXE_SECRETS=$secrets: no such folder" ;; esac
has_image "$image" || "$root/scripts/build.sh"
publish SMTP_PORT "$smtp_port" 2525
publish SMTP_HTTP_PORT "$http_port" 8025
publish SMTP_TLS_PORT "${SMTP_TLS_PORT:-off}" 2465
set -- --network "$name" --volume "$secrets:/run/secrets:ro,z" \
    --memory "$memory" --memory-swap "$memory" --cpus "$cpus"
for setting in $(env | sed -n 's/^\(SMTP_[A-Z0-9_]*\)=.*/\1/p'); do set -- "$@" --env "$setting"; done

trap undo EXIT
trap 'exit 1' HUP INT TERM
docker network inspect "$name" >/dev/null 2>&1 || docker network create --label prixfixe.by=run.sh "$name" >/dev/null
if has_server; then step_aside "$@"; fi
started=yes
# shellcheck disable=SC2086 # options without blanks
error=$(docker run --detach --pull never --name "$name" --label prixfixe.by=run.sh $ports \
    --restart unless-stopped --stop-timeout "$(grace)" --health-interval "$interval" \
    --read-only --cap-drop ALL --security-opt no-new-privileges:true \
    --tmpfs /tmp:size=16m,mode=1777,noexec,nosuid,nodev --pids-limit 64 \
    --log-driver json-file --log-opt max-size=10m --log-opt max-file=3 \
    --volume "$volume:/var/mail" "$@" "$image" 2>&1 >/dev/null) || refused "$error"
is_healthy || unwell
started=''
[ -z "$previous" ] || docker rm "$name-previous" >/dev/null
previous=''

smtp=$(address "${SMTP_PORT:-2525}") http=$(address "${SMTP_HTTP_PORT:-8025}")
good "$name is healthy"
say "  SMTP   $smtp     try it: scripts/test-smtp.sh ${smtp%:*} ${smtp##*:}"
[ -z "$http" ] || say "  HTTP   http://$http     read it: curl http://$http/api/v1/message/latest"
say "  logs   scripts/logs.sh     stop it: scripts/stop.sh"
