#!/bin/sh
# Make the role and the database of PrixFixe, in the cluster that Patroni just made.
#
# Usage: prepare.sh CONNECTION    PRIXFIXE_PASSWORD is the role's password
#
# No standby is there yet, so no commit waits for one.

set -eu
export PGOPTIONS='-c synchronous_commit=local'
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set password="$PRIXFIXE_PASSWORD" "$1" <<'END'
CREATE ROLE prixfixe LOGIN PASSWORD :'password';
GRANT pg_read_all_stats TO prixfixe;
CREATE DATABASE mail OWNER prixfixe;
END
