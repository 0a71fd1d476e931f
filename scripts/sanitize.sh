#!/usr/bin/env bash
# The torch-free half with clang under AddressSanitizer and UndefinedBehaviorSanitizer: its tests, then every fuzz target for
# OCKHAM_FUZZ_SECONDS (default 5) each.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/sanitize
cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang \
  -DOCKHAM_WITH_TORCH=OFF -DOCKHAM_FUZZ=ON -DOCKHAM_SANITIZE=address,undefined > $build-configure.log 2>&1 ||
  { cat $build-configure.log; exit 1; }
echo "== building the torch-free half with sanitizers"
cmake --build $build -j "$(nproc)"
(cd $build && ctest --output-on-failure -j "$(nproc)" -LE slow)
for target in "$build"/fuzz_*; do
  [ -x "$target" ] && [ -f "$target" ] || continue
  echo "== fuzzing $(basename "$target")"
  corpus=$build/corpus/$(basename "$target")
  seeds=tests/fuzz/seeds/$(basename "$target" | sed s/fuzz_//)
  mkdir -p "$corpus"
  "$target" -max_total_time="${OCKHAM_FUZZ_SECONDS:-5}" -rss_limit_mb=2048 -timeout=10 -verbosity=0 \
    -print_final_stats=0 "$corpus" $([ -d "$seeds" ] && echo "$seeds") 2> "$corpus.log" || { tail -n 40 "$corpus.log"; exit 1; }
done
