#!/bin/sh
# Send one message to any SMTP server, reading and checking every reply, and print the id that the
# server gave it, if it tells one ("queued as ID").
#
# Usage: scripts/test-smtp.sh [HOST PORT]
#   HOST PORT   where to (127.0.0.1 and SMTP_PORT or 2525)
#
# Needs one of bash, python3 and nc to open the connection. From the environment or .env:
#   PRIXFIXE_TEST_TO        recipient (you@example.com)
#   PRIXFIXE_TEST_SECONDS   time for the whole conversation (30)
# Exit codes: 0 accepted, 1 failed (step, what was expected and what came), 2 usage.

set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

case ${1:-} in -h | --help) usage ;; esac
case $# in 0 | 2) ;; *) misuse "expected HOST and PORT, or nothing" ;; esac
load_env
case $publish in 0.0.0.0 | '[::]' | '') publish=127.0.0.1 ;; esac
host=${1:-$publish} port=${2:-$smtp_port}
host=${host#[} host=${host%]}
case $port in *[!0-9]* | '' | 0) misuse "port $port: expected a number from 1 to 65535" ;; esac
to=${PRIXFIXE_TEST_TO:-you@example.com} seconds=${PRIXFIXE_TEST_SECONDS:-30} cr=$(printf '\r')

has() { command -v "$1" >/dev/null 2>&1; }

# Copies standard input to the server and what the server says to standard output; ends with 9 when it
# could not connect, as far as the tool knows.
# shellcheck disable=SC2016 # the programs' own variables
connect() {
    export LC_ALL=C
    if has bash; then
        exec bash -c 'exec 5<>"/dev/tcp/$1/$2" 6<&0 || exit 9; cat <&6 >&5 & exec cat <&5' connect "$host" "$port"
    elif has python3; then
        exec python3 -c '
import os, socket, sys, threading
try:
    server = socket.create_connection((sys.argv[1], int(sys.argv[2])))
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(9)
def send():
    while octets := os.read(0, 4096):
        server.sendall(octets)
threading.Thread(target=send, daemon=True).start()
while octets := server.recv(4096):
    os.write(1, octets)
' "$host" "$port"
    else
        exec nc "$host" "$port"
    fi
}

tidy() {
    exec 3>&- 4<&-
    kill "$connection" "$nap" "$watch" 2>/dev/null || :
    wait
    rm -rf "$work"
}

hear() { # STEP CODE : read a whole reply, which must have the code
    line=''
    while IFS= read -r line <&4; do
        line=${line%"$cr"}
        case $line in "$2"-*) ;; *) break ;; esac
    done
    case $line in "$2" | "$2 "*) good "  $1: $line" && return ;; esac
    [ -n "$line" ] || gone "$1" "$2"
    fail "$1: expected $2, got $line"
}

gone() { # STEP CODE : tell why nothing came: it never connected, time was up, or the server hung up
    ended=0 && wait "$connection" || ended=$?
    reason=$(grep -e 'not known' -e resolution -e 'No address' "$work/error" | sed -n 1p) # bash says more after it
    reason=${reason:-$(tail -n 1 "$work/error")}
    reason=${reason##*: }
    case $1.$ended in
    greeting.9) fail "cannot connect to $host port $port: $reason" ;;
    greeting.1) has bash || has python3 || fail "cannot connect to $host port $port${reason:+: $reason}" ;;
    *.143) fail "$1: expected $2, got no answer within $seconds seconds" ;;
    esac
    fail "$1: expected $2, got the end of the connection${reason:+ ($reason)}"
}

tell() { printf '%s\r\n' "$@" >&3 2>/dev/null || :; } # a lost connection shows in the reply

has bash || has python3 || has nc || fail "needs one of bash, python3 and nc: none is here"
work=$(mktemp -d)
mkfifo "$work/to" "$work/from" "$work/time"
trap '' PIPE
connect <"$work/to" >"$work/from" 2>"$work/error" &
connection=$!
# When time is up the connection is ended, so that no read waits for ever.
sleep "$seconds" >"$work/time" 2>/dev/null &
nap=$!
{ cat <"$work/time" && kill "$connection"; } >/dev/null 2>&1 &
watch=$!
trap tidy EXIT
trap 'exit 1' HUP INT TERM
exec 3>"$work/to" 4<"$work/from"

say "Talking to $host port $port"
hear greeting 220
tell "EHLO test-smtp.invalid"
hear EHLO 250
tell "MAIL FROM:<test-smtp@example.com>"
hear MAIL 250
tell "RCPT TO:<$to>"
hear RCPT 250
tell DATA
hear DATA 354
tell "From: <test-smtp@example.com>" "To: <$to>" "Subject: test-smtp.sh" \
    "Date: $(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S +0000')" \
    "Message-ID: <$(date +%s).$$@test-smtp.invalid>" "" "Sent by scripts/test-smtp.sh." "..a line that begins with a dot" .
hear "end of data" 250
id=''
case $line in *"queued as "?*) id=${line##*queued as } ;; esac
tell QUIT
hear QUIT 221
exec 3>&- # some nc end only when both sides have
! IFS= read -r line <&4 || fail "after QUIT: expected the end of the connection, got $line"
if [ -n "$id" ]; then
    good "Accepted under this id:"
    echo "$id"
else
    good "Accepted; the server told no id"
fi
