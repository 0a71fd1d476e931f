#!/usr/bin/env bash
# Installs lm-evaluation-harness and transformers beside the build and compares `ockham eval` with them on models/mini and on
# the test model. `run.sh BUILD golden` also rewrites the numbers that `make test` compares with.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
data=${OCKHAM_TEST_DATA:-../shared}
packages=(torch==2.15.0 transformers==5.24.0 lm-eval==0.4.13 accelerate)

if [ ! -d "$data/data/zeroshot" ]; then
  echo "no test data below $data; set OCKHAM_TEST_DATA" >&2
  exit 1
fi
if [ ! -e .venv-interop/complete ]; then
  echo "== installing ${packages[*]} into .venv-interop (several GB)"
  python3 -m venv .venv-interop
  .venv-interop/bin/pip install --quiet --disable-pip-version-check "${packages[@]}"
  touch .venv-interop/complete
fi
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_WAIT_POLICY=passive
compare=(.venv-interop/bin/python scripts/interop/compare.py --ockham "$build"/ockham --data "$data"/data)
golden=()
[ $# -gt 1 ] && golden=(--golden tests/study/harness_parity.json)
"${compare[@]}" "${golden[@]}" "$data"/models/stories260K
"${compare[@]}" models/mini
