#!/usr/bin/env bash
# Measures Ockham beside llmcompressor on one checkpoint made on the spot, then the native engine beside its peers, and puts sections
# into docs/benchmarks.md. Downloads PyTorch and llmcompressor (1 GB) into build/bench-peers; about 10 minutes a round on two idle
# cores (ROUNDS=3).
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
scratch=build/bench-peers
venv=$scratch/venv
# The newest PyTorch that this llmcompressor takes. Its CUDA libraries, several GB, are replaced by empty ones.
alone=(torch==2.14.0 llmcompressor==0.14.0.1 compressed-tensors==0.19.0 accelerate==1.15.0)
packages=(transformers==5.17.0 numpy pydantic loguru psutil filelock typing-extensions sympy networkx jinja2 fsspec safetensors
  tqdm pyyaml requests pillow datasets)
wanted="${alone[*]} ${packages[*]} $PWD"
if [ "$(cat "$venv/complete" 2> /dev/null)" != "$wanted" ]; then
  echo "== installing llmcompressor and PyTorch into $venv"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "${alone[@]}"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
  "$venv/bin/python" scripts/interop/torch_stubs.py "$(echo "$PWD/$venv"/lib/python3*/site-packages/torch/lib)" "$venv/stubs"
  echo "$wanted" > "$venv/complete"
fi
cmake --build "$build" --target peers_bench
python3 scripts/bench_peers.py "$build/peers_bench" "$venv" "$scratch" "$scratch/peers.json"
python3 scripts/peers/write_section.py "$scratch/peers.json" docs/benchmarks.md
bash scripts/peers/engine.sh "$build"
bash scripts/peers/deepsparse.sh "$build"
echo "== written: docs/benchmarks.md"
