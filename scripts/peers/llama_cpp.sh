#!/usr/bin/env bash
# What llama.cpp makes of the GGUF files that ockham writes. Builds llama-cpp-python from source into build/test-peers: 80 MB to
# download, a quarter of an hour on two idle cores (BUILD_JOBS: how many compilers at a time).
set -euo pipefail
cd "$(dirname "$0")/../.."
ockham=${1:-build/release/ockham}
venv=build/test-peers/venv
packages=(llama-cpp-python==0.3.36 tokenizers==0.23.1 pyyaml numpy)
# The same instructions on every machine, and none of the special products: which inputs llama.cpp rounds depends on them.
options="-DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_BMI2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_LLAMAFILE=OFF"
wanted="${packages[*]} $options $PWD"
if [ "$(cat "$venv/complete" 2> /dev/null)" != "$wanted" ]; then
  echo "== building ${packages[0]} into $venv"
  python3 -m venv --clear "$venv"
  CMAKE_ARGS="-DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_OPENSSL=OFF -DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF $options" CMAKE_BUILD_PARALLEL_LEVEL=${BUILD_JOBS:-$(nproc)} \
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir "${packages[@]}"  # the cache forgets the options
  echo "$wanted" > "$venv/complete"
fi
OMP_WAIT_POLICY=passive "$venv/bin/python" scripts/peers/llama_cpp_side.py "$ockham"
