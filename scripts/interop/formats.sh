#!/usr/bin/env bash
# What other packages read out of the files that ockham writes. Their PyTorch is the wheel that .venv already holds, with
# empty libraries in place of the CUDA ones, so little is downloaded (about 60 MB). Nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
ockham=${1:-build/release/ockham}
venv=.venv-formats
packages=(transformers==5.24.0 gguf==0.19.0 safetensors==0.8.0 numpy pydantic loguru psutil
  filelock typing-extensions sympy networkx jinja2 fsspec)  # the second line: what torch imports
alone=(compressed-tensors==0.20.0 accelerate==1.15.0)       # depend on torch, which is there already
site=$(echo .venv/lib/python3*/site-packages)
marker=$venv/complete
wanted="${packages[*]} ${alone[*]} $PWD"
if [ "$(cat "$marker" 2> /dev/null)" != "$wanted" ]; then
  echo "== installing the independent readers into $venv"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "${alone[@]}"
  echo "$PWD/$site" > "$(echo "$venv"/lib/python3*/site-packages)/torch.pth"
  "$venv/bin/python" scripts/interop/torch_stubs.py "$site/torch/lib" "$venv/stubs"
  echo "$wanted" > "$marker"
fi
export LD_LIBRARY_PATH=$PWD/$venv/stubs OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1
"$venv/bin/python" scripts/interop/formats_test.py "$ockham"
