#!/bin/sh
# Install what pip cannot, on Debian and Ubuntu: cross compiler, newlib, emulator, host compiler.
# Does nothing, and needs no rights, where everything is there already.
set -eu

missing=""
need() { # need COMMAND PACKAGE...
    command -v "$1" >/dev/null 2>&1 && return 0
    shift
    missing="$missing $*"
}

need arm-none-eabi-gcc gcc-arm-none-eabi
need qemu-system-arm qemu-system-arm
need gcc gcc libc6-dev
need make make
need git git
need cmake cmake
need ninja ninja-build
if ! echo '#include <string.h>' | arm-none-eabi-gcc -E -x c - >/dev/null 2>&1; then
    missing="$missing libnewlib-arm-none-eabi"
fi
python=$(sh "$(dirname "$0")/find_python.sh" 2>/dev/null || true)
if [ -z "$python" ]; then
    missing="$missing python3 python3-venv"
elif ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    missing="$missing python3-venv $(basename "$python")-venv"
fi

[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "please install:$missing" >&2
    exit 1
fi
sudo=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "not root and no sudo; please run: apt-get install$missing" >&2
        exit 1
    }
    sudo="sudo"
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
# shellcheck disable=SC2086  # a list of words on purpose
$sudo apt-get install -q -y --no-install-recommends $missing
