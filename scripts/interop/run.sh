#!/usr/bin/env bash
# Installs lm-evaluation-harness and transformers beside the build and compares `ockham eval` with them on models/mini and on
# the test model. `run.sh BUILD golden` also rewrites the numbers that `make test` compares with. Their PyTorch is the wheel
# that .venv already holds, as for formats.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
data=${OCKHAM_TEST_DATA:-../shared}
venv=.venv-interop
packages=(transformers==5.24.0 numpy datasets evaluate pytablewriter rouge-score sacrebleu scikit-learn sqlitedict dill
  word2number more-itertools psutil pyyaml safetensors
  filelock typing-extensions sympy networkx jinja2 fsspec)  # the last line: what torch imports
alone=(lm-eval==0.4.13 accelerate==1.15.0)                  # depend on torch, which is there already
site=$(echo .venv/lib/python3*/site-packages)
wanted="${packages[*]} ${alone[*]} $PWD"

if [ ! -d "$data/data/zeroshot" ]; then
  echo "no test data below $data; set OCKHAM_TEST_DATA" >&2
  exit 1
fi
if [ "$(cat "$venv/complete" 2> /dev/null)" != "$wanted" ]; then
  echo "== installing ${alone[0]} into $venv"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "${alone[@]}"
  echo "$PWD/$site" > "$(echo "$venv"/lib/python3*/site-packages)/torch.pth"
  "$venv/bin/python" scripts/interop/torch_stubs.py "$site/torch/lib" "$venv/stubs"
  echo "$wanted" > "$venv/complete"
fi
export LD_LIBRARY_PATH=$PWD/$venv/stubs HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_WAIT_POLICY=passive
compare=("$venv/bin/python" scripts/interop/compare.py --ockham "$build"/ockham --data "$data"/data)
golden=()
[ $# -gt 1 ] && golden=(--golden tests/study/harness_parity.json)
"${compare[@]}" "${golden[@]}" "$data"/models/stories260K
"${compare[@]}" models/mini
