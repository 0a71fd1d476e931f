#!/usr/bin/env bash
# What other packages read out of the files that ockham writes (about 60 MB to download). Nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/interop/venv.sh
ockham=${1:-build/release/ockham}
venv=.venv-formats
make_venv "$venv" transformers==5.24.0 gguf==0.19.0 safetensors==0.8.0 numpy pydantic loguru psutil \
  -- compressed-tensors==0.20.0 accelerate==1.15.0
export TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1
"$venv/bin/python" scripts/interop/formats_test.py "$ockham"
