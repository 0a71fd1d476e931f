#!/usr/bin/env bash
# The torch-free half with clang under AddressSanitizer and UndefinedBehaviorSanitizer.
#   scripts/sanitize.sh       its tests but for long simulations (label slow), then every fuzz target for OCKHAM_FUZZ_SECONDS
#                             (default 5) from the seeds with the same random numbers each time, so that a change is
#                             judged by what it changed
#   scripts/sanitize.sh fuzz  every fuzz target for OCKHAM_FUZZ_SECONDS (default 60), other numbers each time, from all that
#                             earlier runs found worth keeping
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-check}
build=build/sanitize
cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang \
  -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -gline-tables-only -DNDEBUG" -DOCKHAM_WITH_TORCH=OFF -DOCKHAM_FUZZ=ON \
  -DOCKHAM_SANITIZE=address,undefined > $build-configure.log 2>&1 ||
  { cat $build-configure.log; exit 1; }
echo "== building the torch-free half with sanitizers"
cmake --build $build -j "$(nproc)"
if [ "$mode" = fuzz ]; then
  seconds=${OCKHAM_FUZZ_SECONDS:-60} seed=0 kept=$build/corpus
else
  (cd $build && ctest --output-on-failure -j "$(nproc)" -LE slow)
  seconds=${OCKHAM_FUZZ_SECONDS:-5} seed=1 kept=$build/corpus-check
  rm -rf "$kept"
fi
fuzz() {
  target=$1 name=$(basename "$1")
  echo "== fuzzing $name"
  corpus=$kept/$name
  seeds=tests/fuzz/seeds/${name#fuzz_}
  mkdir -p "$corpus"
  "$target" -seed=$seed -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -verbosity=0 -print_final_stats=0 \
    -artifact_prefix="$build/" "$corpus" $([ -d "$seeds" ] && echo "$seeds") 2> "$corpus.log" ||
    { tail -n 40 "$corpus.log"; exit 255; }  # ends the others, too
}
export -f fuzz
export kept seed seconds build
find "$build" -maxdepth 1 -name 'fuzz_*' -type f -executable | sort | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}'
