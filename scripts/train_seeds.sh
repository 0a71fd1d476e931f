#!/usr/bin/env bash
# Trains small FactWorld models that differ in their seed (and size), for verdicts over models instead of over one.
#   scripts/train_seeds.sh DIR [SEED...]     default seeds: 1 2 3 4 5
# DIR/h64-s1 ...: finished models are kept, interrupted ones go on where they stopped. One core each, one after another;
# start it twice with different seeds to use two cores. $OCKHAM names another program.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 1 ]; then
  echo "usage: scripts/train_seeds.sh DIR [SEED...]" >&2
  exit 2
fi
directory=$1
shift
[ $# -gt 0 ] || set -- 1 2 3 4 5
ockham=${OCKHAM:-build/release/ockham}
if [ ! -x "$ockham" ]; then
  echo "scripts/train_seeds.sh: $ockham is missing; run make, or give the program as OCKHAM=PATH" >&2
  exit 2
fi
mkdir -p "$directory"
for seed in "$@"; do
  for config in examples/train-seeds-*.yaml; do
    size=${config#examples/train-seeds-}
    name="h${size%.yaml}-s$seed"
    if [ -d "$directory/$name" ]; then
      echo "$name: there already"
      continue
    fi
    echo "$name: training"
    OMP_WAIT_POLICY=passive "$ockham" train --threads 1 "$config" --seed "$seed" -o "$directory/$name"
  done
done
