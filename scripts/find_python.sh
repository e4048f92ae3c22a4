#!/bin/sh
# Print a Python that the project runs on: 3.11 if there is one, else a newer one.
set -eu
for name in python3.11 python3 python3.12 python3.13; do
    if command -v "$name" >/dev/null 2>&1 &&
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        command -v "$name"
        exit 0
    fi
done
echo "no Python 3.11 or newer found: apt-get install python3 python3-venv" >&2
exit 1
