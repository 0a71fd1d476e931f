#!/usr/bin/env bash
# Installs lm-evaluation-harness and transformers beside the build and compares `ockham eval` with them on models/mini and
# on the test model; then asks `ockham serve` as they and the openai package do. `run.sh BUILD golden` also rewrites the
# numbers that `make test` compares with.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/interop/venv.sh
build=${1:-build/release}
data=${OCKHAM_TEST_DATA:-../shared}
venv=.venv-interop
if [ ! -d "$data/data/zeroshot" ]; then
  echo "no test data below $data; set OCKHAM_TEST_DATA" >&2
  exit 1
fi
make_venv "$venv" transformers==5.24.0 numpy datasets evaluate pytablewriter rouge-score sacrebleu scikit-learn sqlitedict dill \
  word2number more-itertools psutil pyyaml safetensors openai==3.57.0 tenacity aiohttp requests -- lm-eval==0.4.13 accelerate==1.15.0
export HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
compare=("$venv/bin/python" scripts/interop/compare.py --ockham "$build"/ockham --data "$data"/data)
golden=()
[ $# -gt 1 ] && golden=(--golden tests/study/harness_parity.json)
"${compare[@]}" "${golden[@]}" "$data"/models/stories260K
"${compare[@]}" models/mini
"$venv/bin/python" scripts/interop/serve.py --ockham "$build"/ockham --data "$data"/data models/mini
