# shellcheck shell=sh
# What the scripts share; sourced, never run. Exit codes of all of them:
#   0 done   1 it failed   2 wrong usage   3 Docker is missing or does not answer

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    red=$(printf '\033[31m') green=$(printf '\033[32m') plain=$(printf '\033[0m')
else
    red='' green='' plain=''
fi

say() { printf '%s\n' "$*" >&2; }
good() { say "$green$*$plain"; }
fail() {
    say "$red${0##*/}: $*$plain"
    exit 1
}
misuse() {
    say "$red${0##*/}: $*$plain"
    say "See ${0##*/} --help."
    exit 2
}
no_docker() {
    say "$red${0##*/}: $*$plain"
    exit 3
}

# The help is the comment at the top of the script.
usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit 0
}

need_docker() {
    command -v docker >/dev/null 2>&1 || no_docker "there is no docker command: install Docker"
    reason=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null) ||
        no_docker "Docker does not answer: ${reason:-unknown reason}"
}

# --- settings

# Read .env as compose does: what the environment has already, wins, then the last line of a name.
# shellcheck disable=SC2034 # the scripts use what is set here
load_env() {
    given=$(awk 'BEGIN { for (name in ENVIRON) printf " %s ", name }')
    if [ -f "$root/.env" ]; then
        while IFS= read -r line || [ -n "$line" ]; do
            take_setting "$line"
        done <"$root/.env"
    fi
    image=${PRIXFIXE_IMAGE:-prixfixe} name=${PRIXFIXE_NAME:-prixfixe} project=${COMPOSE_PROJECT_NAME:-${PRIXFIXE_NAME:-prixfixe}}
    base=${PRIXFIXE_BASE_IMAGE:-debian:trixie-slim}
    volume=$(absolute "${PRIXFIXE_VOLUME:-$name-mail}") secrets=$(absolute "${PRIXFIXE_SECRETS:-./secrets}")
    memory=${PRIXFIXE_MEMORY:-256m} cpus=${PRIXFIXE_CPUS:-1} interval=${PRIXFIXE_HEALTH_INTERVAL:-5s}
    publish=${PRIXFIXE_PUBLISH:-127.0.0.1} smtp_port=${SMTP_PORT:-2525} http_port=${SMTP_HTTP_PORT:-8025}
}

# One line; those of other names and comments are passed over.
take_setting() {
    line=$(printf '%s\n' "$1" | sed 's/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}//; s/[[:space:]]*$//')
    case $line in SMTP_* | PRIXFIXE_*) ;; *) return 0 ;; esac
    case $line in *=*) ;; *) unreadable "NAME=value" ;; esac
    key=$(printf '%s\n' "${line%%=*}" | sed 's/[[:space:]]*$//')
    case $key in *[!A-Z0-9_]*) unreadable "NAME=value" ;; esac
    value=$(unquoted "${line#*=}")
    case $given in *" $key "*) ;; *) export "$key=$value" ;; esac
}

# A value without its quotes; an unquoted one also without a comment after it. What compose would
# expand ($, and \ in double quotes) is refused rather than read another way.
unquoted() {
    text=$(printf '%s\n' "$1" | sed 's/^[[:space:]]*//')
    case $text in
    \'*\'*) printf '%s\n' "$text" | sed "s/^'\\([^']*\\)'.*/\\1/" && return ;;
    \"*[\\\$]*\"*) unreadable "single quotes around a value with \$ or \\" ;;
    \"*\"*) printf '%s\n' "$text" | sed 's/^"\([^"]*\)".*/\1/' && return ;;
    \'* | \"*) unreadable "a closing quote" ;;
    esac
    text=$(printf '%s\n' "$text" | sed 's/[[:space:]]#.*//; s/[[:space:]]*$//')
    case $text in *\$*) unreadable "single quotes around a value with \$" ;; esac
    printf '%s\n' "$text"
}

unreadable() { fail "$root/.env: cannot read '${line%%=*}': expected $1"; }

# A path from the checkout's folder; a volume's name stays one.
absolute() { case $1 in ./* | ../*) echo "$root/$1" ;; *) echo "$1" ;; esac }

# Seconds from SIGTERM to SIGKILL: what the server takes for itself, and some to spare.
grace() {
    printf '%s\n' "${SMTP_SHUTDOWN_TIMEOUT:-8}" | awk '
        { n = $0 + 0 }
        /ms$/ { n /= 1000 } /[0-9] *m$/ { n *= 60 } /h$/ { n *= 3600 } /d$/ { n *= 86400 }
        { printf "%d\n", n + 12 }'
}

# --- images and containers

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# Pulled, or where no registry is reached, made here. Another processor's gets a tag of its own.
ensure_base() { # [ARCHITECTURE]
    wanted=$base
    [ -z "${1:-}" ] || base=$base-$1
    has_image "$base" && return
    say "Pulling $wanted${1:+ of $1}"
    if [ -n "${1:-}" ]; then pull_foreign "$1" && return; else docker pull --quiet "$base" >/dev/null && return; fi
    [ "$wanted" = debian:trixie-slim ] || fail "the base image $wanted cannot be had"
    "$root/scripts/base-image.sh" ${1:+--platform "linux/$1"} "$base" || fail "the base image $base cannot be had"
}

# A pull takes the name away from the image of this machine's processor, which gets it back.
pull_foreign() { # ARCHITECTURE
    had=$(docker image inspect --format '{{.Id}}' "$wanted" 2>/dev/null) || had=''
    docker pull --quiet --platform "linux/$1" "$wanted" >/dev/null || return
    docker tag "$wanted" "$base"
    if [ -n "$had" ]; then docker tag "$had" "$wanted"; else docker rmi --no-prune "$wanted" >/dev/null; fi
}

# What Debian and Docker call the processor of a platform, such as linux/arm64; nothing of none.
architecture() { # PLATFORM
    case $1 in
    '') ;;
    linux/amd64 | linux/arm64) echo "${1#linux/}" ;;
    linux/arm64/v8) echo arm64 ;;
    *) misuse "--platform $1: expected linux/amd64 or linux/arm64" ;;
    esac
}

# Whether the engine's own processor is this one.
is_native() { # ARCHITECTURE
    case $(docker info --format '{{.Architecture}}') in
    x86_64 | amd64) [ "$1" = amd64 ] ;;
    aarch64 | arm64) [ "$1" = arm64 ] ;;
    *) false ;;
    esac
}

emulator() { case $1 in amd64) echo qemu-x86_64 ;; arm64) echo qemu-aarch64 ;; esac }

# The kernel has to hand another processor's programs to an emulator, and to find it from inside a
# container (flag F).
need_emulation() { # ARCHITECTURE
    folder=${PRIXFIXE_BINFMT:-/proc/sys/fs/binfmt_misc}
    grep -q '^flags: .*F' "$folder/$(emulator "$1")" 2>/dev/null ||
        fail "this machine runs no programs of $1: $folder/$(emulator "$1") is not there, or without the flag F. apt-get install qemu-user-static binfmt-support, or build on a machine of $1"
}

version() { sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$root/prixfixe/__init__.py"; }

# The commit, marked when files differ from it.
revision() { git -C "$root" describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null || echo unknown; }

# The image that is there by the usual name may be of another checkout, or of an older commit.
tell_other_image() {
    [ -z "${PRIXFIXE_IMAGE:+given}" ] || return 0
    built=$(docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.revision"}}' "$image" 2>/dev/null) || return 0
    here=$(revision)
    case $built.$here in unknown.* | .* | *.unknown | "$here.$here") return 0 ;; esac
    say "The image $image is of another commit than this checkout ($built, not $here). To build it anew: scripts/build.sh"
}

# Whether run.sh made a container or network.
is_ours() { # KIND NAME
    case $1 in container) labels=.Config.Labels ;; *) labels=.Labels ;; esac
    [ "$(docker "$1" inspect --format "{{index $labels \"prixfixe.by\"}}" "$2" 2>/dev/null)" = run.sh ]
}

# Whether run.sh has a container; one of that name that it did not make is left alone.
has_container() {
    docker container inspect "$name" >/dev/null 2>&1 || return
    is_ours container "$name" || fail "the container $name was not made by run.sh: remove it or set PRIXFIXE_NAME"
}

# The containers of compose's servers; of one project, or of all that are a server of ours.
composed() { # [PROJECT]
    docker ps --all --filter "label=com.docker.compose.project${1:+=$1}" \
        --filter label=com.docker.compose.service=smtp --filter label=com.docker.compose.oneoff=False \
        --filter label=org.opencontainers.image.title=prixfixe --format '{{.Names}}'
}

# The server of this name, by whichever way it was started: its container is $server.
find_server() {
    server=$name
    has_container && return
    server=$(composed "$project" | sed -n 1p)
    [ -n "$server" ] || fail "there is no server $name$(others): start it with scripts/run.sh or scripts/compose.sh up --wait"
}

# What else there is: a name that is misspelt is found so.
others() {
    found=$({
        docker ps --all --filter label=prixfixe.by=run.sh --format '{{.Names}}'
        composed
    } | tr '\n' ' ')
    [ -z "$found" ] || echo " (there is: ${found% }; PRIXFIXE_NAME says which)"
}

is_running() { [ "$(docker inspect --format '{{.State.Running}}' "$1" 2>/dev/null)" = true ]; }

# What makes a command that is told about this server, when its name is not the usual one.
for_this() { [ "$name" = prixfixe ] || echo "PRIXFIXE_NAME=$name "; }

# Where a port of the container is on this machine.
address() { docker port "$name" "$1/tcp" 2>/dev/null | sed -n 1p; }
