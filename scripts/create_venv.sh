#!/bin/sh
# Create a virtual environment with Python 3.11 to 3.13: create_venv.sh FOLDER
# Debian's python3-venv is installed first, where it is missing and we may.
set -eu
folder=$1

fail() {
    printf '\nmillwright: %s\n\n' "$*" >&2
    exit 1
}

find_python() {
    for candidate in ${PYTHON:-} python3.11 python3 python3.12 python3.13; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; then
            printf '%s' "$candidate"
            return
        fi
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}

install_venv_package() {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    command -v apt-get >/dev/null || return 1
    echo "Python has no venv module yet: installing python$version-venv"
    as_root apt-get update -qq && as_root apt-get install -y -qq "python$version-venv"
}

python=$(find_python)
[ -n "$python" ] || fail "Python 3.11 to 3.13 was not found. Install it (Debian 12: apt-get install python3 python3-venv)" \
    "or name it: make run PYTHON=/path/to/python3.11"

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    install_venv_package "$python" || fail "Python's venv module is missing and could not be installed." \
        "Run as root: apt-get install python3-venv. Then run the same make command again."
fi
exec "$python" -m venv "$folder"
