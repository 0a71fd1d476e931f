#!/usr/bin/env bash
# The native engine beside llama.cpp on one random model in the shape of TinyLlama-1.1B: decode and prefill, in turns. Builds
# llama-cpp-python for this processor into build/bench-peers/llama: 80 MB to download, a quarter of an hour on two idle cores
# (BUILD_JOBS: how many compilers at a time); then about 15 minutes and 6 GB of disk. ROUNDS: how often each is measured; KINDS:
# which of llama.cpp's types. An interrupted run goes on after its last whole round.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
venv=build/bench-peers/llama
packages=(llama-cpp-python==0.3.36 numpy)
# All that this processor has but AMX: with it, which GGML_NATIVE takes along, this version ends in an illegal instruction.
options="-DGGML_NATIVE=OFF -DGGML_LLAMAFILE=ON -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_BMI2=ON -DGGML_FMA=ON -DGGML_F16C=ON"
for pair in avx512f:AVX512 avx512_vbmi2:AVX512_VBMI avx512_vnni:AVX512_VNNI avx512_bf16:AVX512_BF16; do
  if grep -qw "${pair%:*}" /proc/cpuinfo; then options+=" -DGGML_${pair#*:}=ON"; fi
done
wanted="${packages[*]} $options $PWD"
if [ "$(cat "$venv/complete" 2> /dev/null)" != "$wanted" ]; then
  echo "== building ${packages[0]} into $venv"
  python3 -m venv --clear "$venv"
  CMAKE_ARGS="-DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_OPENSSL=OFF -DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF $options" CMAKE_BUILD_PARALLEL_LEVEL=${BUILD_JOBS:-$(nproc)} \
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir "${packages[@]}"
  echo "$wanted" > "$venv/complete"
fi
scratch=build/bench-peers
side=(python3 scripts/peers/engine_side.py run "$build/ockham" "$venv/bin/python" "$scratch/venv" "$scratch")
PROMPT=512 "${side[@]}" "$scratch/engine-512.json"
# The longest that leaves room for decoding in the 2,048 tokens of this shape.
PROMPT=1984 KINDS=${KINDS:-Q8_0 Q4_0} "${side[@]}" "$scratch/engine-1984.json"
python3 scripts/peers/write_engine.py "$scratch"/engine-{512,1984}.json docs/benchmarks.md
