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
fail() { say "$red${0##*/}: $*$plain"; exit 1; }
misuse() { say "$red${0##*/}: $*$plain"; say "See ${0##*/} --help."; exit 2; }

# The help is the comment at the top of the script.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0; }

need_docker() {
    command -v docker >/dev/null 2>&1 || {
        say "${red}${0##*/}: there is no docker command: install Docker$plain"
        exit 3
    }
    reason=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null) || {
        say "${red}${0##*/}: Docker does not answer: ${reason:-unknown reason}$plain"
        exit 3
    }
}

# Read .env as compose does: NAME=value lines; what the environment has already, wins.
# shellcheck disable=SC2034 # the scripts use what is set here
load_env() {
    if [ -f "$root/.env" ]; then
        while IFS= read -r line || [ -n "$line" ]; do
            take_setting "$line"
        done <"$root/.env"
    fi
    image=${PRIXFIXE_IMAGE:-prixfixe} name=${PRIXFIXE_NAME:-prixfixe}
    volume=${PRIXFIXE_VOLUME:-prixfixe-mail} publish=${PRIXFIXE_PUBLISH:-127.0.0.1}
    smtp_port=${SMTP_PORT:-2525} http_port=${SMTP_HTTP_PORT:-8025}
}

take_setting() {
    key=$(printf '%s\n' "${1%%=*}" | sed 's/^[[:space:]]*\(export[[:space:]]\)\{0,1\}//; s/[[:space:]]*$//')
    case "$1:$key" in
    *=*:SMTP_*[!A-Z0-9_]* | *=*:PRIXFIXE_*[!A-Z0-9_]*) fail "$root/.env: cannot read '$1'" ;;
    *=*:SMTP_* | *=*:PRIXFIXE_*) ;;
    *) return 0 ;;
    esac
    printenv "$key" >/dev/null || export "$key=$(unquoted "${1#*=}")"
}

# A value without its quotes; an unquoted one also without a comment after it.
unquoted() {
    printf '%s\n' "$1" | sed "s/^[[:space:]]*//
        s/^\"\\([^\"]*\\)\".*/\\1/; t
        s/^'\\([^']*\\)'.*/\\1/; t
        s/[[:space:]]#.*//; s/[[:space:]]*\$//"
}
