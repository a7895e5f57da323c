#!/bin/sh
# Show the log of the server that run.sh or compose started, and go on showing what it logs.
#
# Usage: scripts/logs.sh [--no-follow] [--tail N]
#   --no-follow   end at the end of the log
#   --tail N      begin with the last N lines (all)
#
# From the environment or .env: PRIXFIXE_NAME, the server's name (prixfixe).
# Exit codes: 0, 1 failed, 2 usage, 3 no Docker.

set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

follow=--follow tail=all
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage ;;
    --no-follow) follow='' ;;
    --tail)
        [ $# -gt 1 ] || misuse "--tail: expected a number of lines"
        tail=$2
        shift
        ;;
    --tail=*) tail=${1#--tail=} ;;
    *) misuse "unexpected argument $1" ;;
    esac
    shift
done
case $tail in
all) ;;
'' | *[!0-9]*) misuse "--tail $tail: expected a number of lines" ;;
esac
need_docker
load_env
find_server
exec docker logs ${follow:+"$follow"} --tail "$tail" "$server"
