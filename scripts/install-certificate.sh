#!/bin/sh
# Put a certificate and its key where the server reads them, readable for the server alone. A server
# that runs uses them within seconds. ACME clients run this after each renewal, as a hook.
#
# Usage: scripts/install-certificate.sh [--owner USER] [--to FOLDER] [CHAIN KEY]
#   CHAIN KEY     PEM files (fullchain.pem and privkey.pem in RENEWED_LINEAGE, which certbot sets)
#   --owner USER  who may read them, as a name or a number (1000, the user in the container)
#   --to FOLDER   where cert.pem and key.pem are (PRIXFIXE_SECRETS or ./secrets)
#
# To give files to another user needs root.
# Exit codes: 0 installed, 1 failed and the old files are in place, 2 usage.

set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

owner=1000 folder=''
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage ;;
    --owner | --to)
        [ $# -gt 1 ] && [ -n "$2" ] || misuse "$1: expected a value"
        case $1 in --owner) owner=$2 ;; *) folder=$2 ;; esac
        shift
        ;;
    -*) misuse "unexpected argument $1" ;;
    *) break ;;
    esac
    shift
done
case $#:${RENEWED_LINEAGE:-} in
2:*) chain=$1 key=$2 ;;
0:?*) chain=$RENEWED_LINEAGE/fullchain.pem key=$RENEWED_LINEAGE/privkey.pem ;;
*) misuse "expected CHAIN and KEY, or RENEWED_LINEAGE in the environment" ;;
esac
load_env
folder=${folder:-$secrets}
[ -d "$folder" ] || fail "$folder: no such folder"

# A copy beside the old file, with its rights, before anybody sees it by its name.
prepare() { # SOURCE BEGINNING
    grep -q "^-----BEGIN $2" "$1" 2>/dev/null || fail "$1: expected a file that can be read, with a PEM $2"
    copy=$(mktemp "$folder/.new.XXXXXX")
    copies="$copies $copy"
    cat "$1" >"$copy"
    chmod 0400 "$copy"
    [ "$(id -u)" = "$owner" ] || chown "$owner" "$copy" 2>/dev/null ||
        fail "the files cannot be given to $owner: run this as root, or with --owner"
}

copies=''
# shellcheck disable=SC2086 # names of mktemp
trap 'rm -f $copies' EXIT
trap 'exit 1' HUP INT TERM
prepare "$key" '.*PRIVATE KEY'
new_key=$copy
prepare "$chain" CERTIFICATE
# Between these two the server finds a key of another certificate, and goes on with the old pair.
mv -f "$new_key" "$folder/key.pem"
mv -f "$copy" "$folder/cert.pem"
good "The certificate is in $folder"
