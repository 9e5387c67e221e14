#!/bin/sh
# Runs a command with an MQTT broker to test against: with_mosquitto.sh COMMAND…
# Takes the one at TEST_MQTT_BROKER, else the one of this machine; else starts one that is gone in the end.
set -eu
PYTHON=${PYTHON_OF_TESTS:-.venv/bin/python}
: "${TEST_MQTT_BROKER:=127.0.0.1:1883}"
export TEST_MQTT_BROKER
PATH=$PATH:/usr/sbin

answers() {
    "$PYTHON" - <<'END' 2>/dev/null
import os, socket
host, _, port = os.environ["TEST_MQTT_BROKER"].partition(":")
socket.create_connection((host, int(port)), 2).close()
END
}

if answers; then
    exec "$@"
fi
if ./scripts/need.sh mosquitto mosquitto; then
    port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    mosquitto -p "$port" >/dev/null 2>&1 &
    broker=$!
    trap 'kill "$broker" 2>/dev/null || true' EXIT
    trap 'exit 130' INT TERM
    TEST_MQTT_BROKER="127.0.0.1:$port"
    for _ in 1 2 3 4 5 6 7 8 9 10; do answers && break; sleep 0.2; done
else
    echo "No MQTT broker answers and none could be installed: tests that need one are skipped" >&2
fi
"$@"
