#!/usr/bin/env bash
# Measures `ockham eval` beside lm-evaluation-harness and writes docs/throughput.md. Needs what `make test-interop` installs,
# the test data, and an otherwise idle machine; says so and changes nothing where one is missing. Models: $MODELS.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
data=${OCKHAM_TEST_DATA:-../shared}
if [ ! -e .venv-interop/complete ] || [ ! -d "$data/data/mmlu" ]; then
  echo "== no comparison with lm-evaluation-harness: run \`make test-interop\` first, and set OCKHAM_TEST_DATA" >&2
  exit 0
fi
mkdir -p build/bench
export LD_LIBRARY_PATH=$PWD/.venv-interop/stubs HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export OMP_WAIT_POLICY=passive
echo "== ockham eval beside lm-evaluation-harness"
# shellcheck disable=SC2086
.venv-interop/bin/python scripts/interop/throughput.py --ockham "$build"/ockham --data "$data"/data \
  --repeats "${REPEATS:-3}" ${LIMIT:+--limit "$LIMIT"} ${MODELS:-models/mini} > build/bench/throughput.json
python3 scripts/write_throughput.py build/bench/throughput.json > build/bench/throughput.md
mv build/bench/throughput.md docs/throughput.md
echo "== written: docs/throughput.md"
