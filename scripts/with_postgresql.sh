#!/bin/sh
# Runs a command with a PostgreSQL to test against: with_postgresql.sh COMMAND…
# Takes the one at TEST_POSTGRESQL_URL, else the one of this machine; else starts one that is thrown away in the end.
set -eu
PYTHON=${PYTHON_OF_TESTS:-.venv/bin/python}
: "${TEST_POSTGRESQL_URL:=postgresql+psycopg://postgres@127.0.0.1:5432/test}"
export TEST_POSTGRESQL_URL

answers() {
    "$PYTHON" - <<'END' 2>/dev/null
import os, psycopg
psycopg.connect(os.environ["TEST_POSTGRESQL_URL"].replace("+psycopg", ""), connect_timeout=2).close()
END
}

programs() {
    found=$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1)
    [ -n "$found" ] || found=$(command -v initdb || true)
    [ -z "$found" ] || dirname "$found"
}

# PostgreSQL refuses to run as root.
as_owner() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid postgres --regid postgres --clear-groups "$@"
    else
        "$@"
    fi
}

start_own() {
    folder=$(mktemp -d)
    trap stop_own EXIT
    trap 'exit 130' INT TERM
    [ "$(id -u)" != 0 ] || chown postgres "$folder"
    port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    as_owner "$bin/initdb" --pgdata="$folder/data" --auth=trust --username=postgres >/dev/null
    as_owner "$bin/pg_ctl" --pgdata="$folder/data" --log="$folder/log" --wait \
        --options="-p $port -k $folder -c listen_addresses=127.0.0.1 -c fsync=off" start >/dev/null
    as_owner "$bin/createdb" --host=127.0.0.1 --port="$port" --username=postgres test
    TEST_POSTGRESQL_URL="postgresql+psycopg://postgres@127.0.0.1:$port/test"
}

stop_own() {
    as_owner "$bin/pg_ctl" --pgdata="$folder/data" --mode=immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}

if answers; then
    exec "$@"
fi
bin=$(programs)
if [ -z "$bin" ] && ./scripts/need.sh initdb postgresql; then
    bin=$(programs)
fi
if [ -n "$bin" ]; then
    start_own
else
    echo "No PostgreSQL answers and none could be installed: tests that need one are skipped" >&2
fi
"$@"
