#!/bin/sh
# Put load on five servers at once and check, message by message, that each keeps what it accepted.
#
# Usage: scripts/stress-test.sh quick|burst|sustained|heavy|mixed|all [FOLDER]
#   FOLDER   for the results (evidence/stress)
#
# The servers and the generator are containers on a network that leads nowhere, as in
# docker-compose.stress-test.yml; how much the scenarios send is in prixfixe/load/scenarios.py. Each
# begins with empty servers, and none is left at the end. The results of a scenario are NAME.json, for
# prixfixe load report, and NAME-SERVER.jsonl, what a server keeps; NAME.html, a page with plots, and of
# several scenarios all.html, where Python has jinja2 and matplotlib (.venv/bin/pip install jinja2 matplotlib).
# Needs Python 3.11 or later on this machine, in .venv or as python3. The image is built when it is
# missing. From the environment or .env: PRIXFIXE_NAME, PRIXFIXE_IMAGE, SMTP_STORE.
# Exit codes: 0 every message was accepted and is kept, once and whole, 1 not so, 2 usage, 3 no Docker.

set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

all="quick burst sustained heavy mixed" servers="smtp1 smtp2 smtp3 smtp4 smtp5"

case ${1:-} in
-h | --help) usage ;;
quick | burst | sustained | heavy | mixed) scenarios=$1 ;;
all) scenarios=$all ;;
'') misuse "expected a scenario: ${all% *}, mixed or all" ;;
*) misuse "unexpected scenario $1: expected $all or all" ;;
esac
[ $# -le 2 ] || misuse "unexpected argument $3"
folder=${2:-$root/evidence/stress} python='' faults=''

stage() {
    "$root/scripts/compose.sh" --project-name "$name-stress" \
        --file "$root/docker-compose.stress-test.yml" "$@"
}

# What goes by the names of this stage and was made by somebody else would be removed with it.
leave_others_alone() {
    project=label=com.docker.compose.project=$name-stress by='{{.Label "prixfixe.by"}}'
    others=$({
        docker container ls --all --filter "$project" --format "container {{.Names}} $by"
        docker network ls --filter "$project" --format "network {{.Name}} $by"
        docker volume ls --filter "name=^$name-stress_mail[1-5]\$" --format "volume {{.Name}} $by"
    } | sed -n '/ stress-test\.sh$/!{s/ *$//;p;q;}')
    [ -z "$others" ] || fail "the $others was not made by stress-test.sh: remove it or set PRIXFIXE_NAME"
}

clear_stage() { stage down --volumes --remove-orphans >>"$log" 2>&1; }

find_python() {
    for python in "$root/.venv/bin/python" python3 python; do
        ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || return 0
    done
    fail "needs Python 3.11 or later, as .venv/bin/python or python3, to judge the results"
}

report() { PYTHONPATH="$root" "$python" -m prixfixe load report "$@"; }

can_draw() { "$python" -c 'import jinja2, matplotlib' 2>/dev/null; }

wrong() { # SCENARIO WHAT
    case " $faults " in *" $1 "*) ;; *) faults="$faults $1" ;; esac
    say "$red$1: $2$plain"
}

start_servers() {
    # shellcheck disable=SC2086 # a word a server
    stage up --detach --wait $servers >>"$log" 2>&1 && return
    tail -n 20 "$log" >&2
    fail "the servers did not become healthy; the end of $log is above"
}

send() { # SCENARIO
    # shellcheck disable=SC2046,SC2086 # a word a server
    stage run --rm -T generator load $(printf '%s:2525 ' $servers) --scenario "$1" --json \
        >"$folder/$1.json" 2>>"$log" || {
        [ -s "$folder/$1.json" ] || tail -n 5 "$log" >&2
        wrong "$1" "not every message was accepted"
    }
}

judge() { # SCENARIO
    scenario=$1
    set -- "$folder/$scenario.json"
    for server in $servers; do
        kept=$folder/$scenario-$server.jsonl
        stage exec -T "$server" prixfixe messages --json >"$kept" 2>>"$log" ||
            wrong "$scenario" "$server does not say what it keeps"
        set -- "$@" --kept "$server=$kept"
    done
    ! can_draw || set -- "$@" --html "$folder/$scenario.html"
    report "$@" || wrong "$scenario" "what is kept is not what was accepted"
}

run_scenario() { # SCENARIO
    say "$1: starting five servers"
    start_servers
    say "$1: running"
    send "$1"
    judge "$1"
    clear_stage
}

summarise() { # SCENARIO... : all of them on one page
    for scenario in "$@"; do
        set -- "$@" "$folder/$scenario.json"
        shift
    done
    report "$@" --html "$folder/all.html" >/dev/null
}

need_docker
load_env
find_python
mkdir -p "$folder"
folder=$(CDPATH='' cd -- "$folder" && pwd) log=$folder/compose.log
: >"$log"
has_image "$image" || "$root/scripts/build.sh"
leave_others_alone
trap clear_stage EXIT
trap 'exit 1' HUP INT TERM
clear_stage # what a run that was killed has left
for scenario in $scenarios; do run_scenario "$scenario"; done
# shellcheck disable=SC2086 # a word a scenario
case $scenarios in *' '*) ! can_draw || summarise $scenarios ;; esac
say "The results are in $folder"
[ -z "$faults" ] || fail "failed:$faults"
good "Every message is kept"
