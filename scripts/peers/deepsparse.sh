#!/usr/bin/env bash
# Sparse kernels beside DeepSparse 1.8.0, the last one with an engine, on single layers: 500 MB to install into
# build/bench-peers/deepsparse, then about 10 minutes. ROUNDS: how often each is measured. Needs Python 3.8 to 3.11 (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
scratch=build/bench-peers
venv=$scratch/deepsparse
packages=(deepsparse==1.8.0 onnx==1.14.1 numpy==1.26.4 protobuf==7.36.2)
suits() { "$1" -c 'import sys; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))' 2> /dev/null; }
for python in "${PYTHON:-python3}" python3.11 python3.10 python3.9; do
  if suits "$python"; then break; fi
done
suits "$python" || { echo "DeepSparse needs Python 3.8 to 3.11; name one with PYTHON" >&2; exit 1; }
wanted="${packages[*]} $PWD"
if [ "$(cat "$venv/complete" 2> /dev/null)" != "$wanted" ]; then
  echo "== installing ${packages[0]} into $venv"
  "$python" -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
  echo "$wanted" > "$venv/complete"
fi
cmake --build "$build" --target kernels_bench
"$venv/bin/python" scripts/peers/deepsparse_side.py run "$build/kernels_bench" "$scratch" "$scratch/deepsparse.json"
python3 scripts/peers/write_deepsparse.py "$scratch/deepsparse.json" docs/benchmarks.md
echo "== written: docs/benchmarks.md"
