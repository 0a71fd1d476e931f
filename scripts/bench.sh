#!/usr/bin/env bash
# Measures loading, evaluation and Wanda, and writes docs/benchmarks.md from what it measured. Needs an otherwise idle machine
# and 5 GB of disk for the made-up model.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
scratch=build/bench
mkdir -p "$scratch"
cmake --build "$build" --target compress_bench eval_bench
echo "== evaluation of models/mini"
"$build"/eval_bench models/mini > "$scratch"/eval.json
for shape in mini tinyllama; do
  echo "== wanda on the shape of $shape"
  "$build"/compress_bench $shape "$scratch"/$shape > "$scratch"/$shape.json
  rm -rf "${scratch:?}"/$shape
done
python3 scripts/write_benchmarks.py "$scratch" > docs/benchmarks.md
if [ -e build/bench-peers/peers.json ]; then
  python3 scripts/peers/write_section.py build/bench-peers/peers.json docs/benchmarks.md
fi
peers=build/bench-peers
if [ -f $peers/deepsparse.json ]; then python3 scripts/peers/write_deepsparse.py $peers/deepsparse.json docs/benchmarks.md; fi
if [ -f $peers/engine-512.json ]; then
  python3 scripts/peers/write_engine.py $(ls -v $peers/engine-{512,1984}.json 2> /dev/null) docs/benchmarks.md
fi
echo "== written: docs/benchmarks.md"
