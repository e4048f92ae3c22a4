#!/bin/sh
# Set up a TVM that still has Relay, AOT executor and USMP, in a folder of its own.
#
#   sh scripts/relay/setup.sh FOLDER
#
# The wheel of bitblas carries TVM 0.17 with all of that. FOLDER/relay-python runs Python there.
set -eu
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)

rm -f "$folder/.ready" "$folder/.missing"
test -x "$folder/bin/python" || "$(sh "$here/../find_python.sh")" -m venv "$folder"
pip="$folder/bin/python -m pip install --quiet --disable-pip-version-check"
$pip --no-deps 'bitblas==0.1.0.post1'
$pip 'numpy<2' psutil scipy decorator attrs cloudpickle tornado typing_extensions \
    nvidia-cuda-runtime-cu12 nvidia-cuda-nvrtc-cu12 pytest hypothesis 2>&1 |
    grep -v -e 'bitblas 0.1.0.post1 requires' -e "pip's dependency resolver" >&2 || true
# Without extras: the planner and the pass need no more.
$pip -e "$repository"

packages=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
tvm="$packages/bitblas/3rdparty/tvm"
mkdir -p "$folder/stubs"
cc -shared -fPIC -Wall -Wextra -Werror -Wl,-soname,libcuda.so.1 \
    -o "$folder/stubs/libcuda.so.1" "$here/libcuda_stub.c"
cat >"$folder/relay-python" <<END
#!/bin/sh
# Python with a TVM that has Relay. Tuned schedules are not fetched from the net.
export PYTHONPATH="$tvm/python\${PYTHONPATH:+:\$PYTHONPATH}"
export TVM_LIBRARY_PATH="$tvm/build"
export LD_LIBRARY_PATH="$folder/stubs:$packages/nvidia/cuda_runtime/lib:$packages/nvidia/cuda_nvrtc/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export TOPHUB_LOCATION="\${TOPHUB_LOCATION:-NONE}"
exec "$folder/bin/python" "\$@"
END
chmod +x "$folder/relay-python"
"$folder/relay-python" -c 'import tvm.relay, tvm_patch.relay'
touch "$folder/.ready"
