#!/bin/sh
# Have a TVM with Relay for the tests, if that can be had in a bounded time.
#
#   sh scripts/relay/try.sh FOLDER
#
# Never fails: FOLDER/.missing says why there is none, and the tests skip with it. A failure is not
# tried again for a day, except by make relay-env. TVM_PATCH_RELAY=0 says not to try at all;
# TVM_PATCH_RELAY_TIMEOUT_S bounds the time (300 s).
set -u
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
limit_s=${TVM_PATCH_RELAY_TIMEOUT_S:-300}
needed_kb=2500000

missing() {
    mkdir -p "$folder"
    echo "$1" >"$folder/.missing"
    echo "tests of tvm_patch.relay will skip: $1"
    exit 0
}

test -z "${TVM_RELAY_PYTHON:-}" || exit 0
if test -e "$folder/.ready" &&
    test -z "$(find "$here" -newer "$folder/.ready" \( -name setup.sh -o -name '*.c' \))"; then
    exit 0
fi
test "${TVM_PATCH_RELAY:-1}" != 0 || missing "TVM_PATCH_RELAY=0"
test "$(uname -s)-$(uname -m)" = Linux-x86_64 ||
    missing "there is a wheel with Relay for Linux on x86-64 only, this is $(uname -s) on $(uname -m)"
if test -n "$(find "$folder/.missing" -mtime -1 2>/dev/null)"; then
    read -r reason <"$folder/.missing"
    case $reason in
    "TVM_PATCH_RELAY=0") ;;
    *" (make relay-env tries again)") missing "$reason" ;;
    *) missing "$reason (make relay-env tries again)" ;;
    esac
fi
mkdir -p "$folder"
free_kb=$(df -Pk "$folder" | awk 'NR == 2 { print $4 }')
test "$free_kb" -ge "$needed_kb" ||
    missing "it takes $((needed_kb / 1000)) MB of disk, $((free_kb / 1000)) are free"

echo "setting up a TVM with Relay for its tests, $limit_s s at most; TVM_PATCH_RELAY=0 does without"
# Where there is no network, say so soon.
export PIP_RETRIES=2 PIP_DEFAULT_TIMEOUT=30
timeout -k 10 "$limit_s" sh "$here/setup.sh" "$folder" >"$folder/setup.log" 2>&1
code=$?
case $code in
0) exit 0 ;;
124 | 137) missing "setting it up takes more than $limit_s s" ;;
*)
    last=$(grep -v '^ *$' "$folder/setup.log" | tail -n 1 | cut -c -200)
    missing "setting it up failed ($folder/setup.log): $last"
    ;;
esac
