#!/bin/sh
# Renew the locks in requirements/ from pyproject.toml.
#
# Usage: scripts/lock.sh [--check | UV_OPTION...]
#   --check      change nothing; fail when a lock does not fit pyproject.toml
#   UV_OPTION    such as --upgrade, or --upgrade-package NAME
#
# Needs uv. The locks hold for every platform and name no index and no path of this machine.
# Exit codes: 0, 1 failed, 2 usage.

set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

case ${1:-} in -h | --help) usage ;; esac
command -v uv >/dev/null || fail "uv is missing (python3 -m pip install uv)"
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
check='' locks=requirements
if [ "${1:-}" = --check ]; then
    check=yes locks=$work
    cp requirements/*.txt "$work"
    shift
fi

lock() { # FILE PYTHON SOURCE [OPTION...]
    file=$1 python=$2 source=$3
    shift 3
    uv pip compile "$source" --quiet --universal --generate-hashes --no-emit-index-url \
        --no-emit-find-links --custom-compile-command "scripts/lock.sh" \
        --python-version "$python" --output-file "$locks/$file" "$@"
}

sed -n '/^\[build-system\]/,/^$/s/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml |
    sed 's/", *"/\n/g' >"$work/build.in"
lock image.txt 3.13 pyproject.toml --extra postgresql "$@"
lock build.txt 3.13 "$work/build.in" --no-annotate "$@"
lock dev.txt 3.11 pyproject.toml --group lint --group typecheck --group test \
    --group container --group nox "$@"
lock ci.txt 3.11 --group=pyproject.toml:ci "$@"
lock peers.txt 3.11 --group=pyproject.toml:peers --no-deps "$@"
lock kubernetes.txt 3.11 --group=pyproject.toml:kubernetes --no-deps "$@"
for group in bench browser frameworks fuzz release; do lock $group.txt 3.11 pyproject.toml --group $group "$@"; done
[ -z "$check" ] || for file in image build ci dev peers kubernetes bench browser frameworks fuzz release; do
    diff -u "requirements/$file.txt" "$work/$file.txt" >&2 || fail "$file.txt does not fit pyproject.toml: run scripts/lock.sh"
done
good "The locks fit pyproject.toml"
