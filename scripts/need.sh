#!/bin/sh
# Sees to it that a program is there, with Debian's package manager where we may: need.sh PROGRAM PACKAGE
set -eu
program=$1 package=$2

installed() {
    command -v "$program" >/dev/null || ls /usr/lib/postgresql/*/bin/"$program" >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

installed && exit 0
if command -v apt-get >/dev/null; then
    echo "Installing $package"
    { as_root apt-get update -qq && as_root apt-get install -y -qq "$package"; } >/dev/null 2>&1 || true
fi
installed || { echo "$program is missing; install it (Debian: apt-get install $package)" >&2; exit 1; }
