# Sourced by scripts that hold ockham beside Python packages: `make_venv VENV PACKAGE... -- PACKAGE...` installs those
# before the dashes with what they depend on, those behind alone, because they depend on torch: that is the wheel which .venv
# already holds, with empty libraries in place of the CUDA ones that its Python half binds. Nothing is done where VENV
# already holds this list.
torch_imports=(filelock typing-extensions sympy networkx jinja2 fsspec)

make_venv() {
  local venv=$1 packages=() alone=() site wanted
  shift
  while [ "$1" != -- ]; do packages+=("$1") && shift; done
  shift
  alone=("$@")
  site=$(echo .venv/lib/python3*/site-packages)
  wanted="${packages[*]} ${torch_imports[*]} -- ${alone[*]} $PWD"
  if [ "$(cat "$venv/complete" 2> /dev/null)" != "$wanted" ]; then
    echo "== installing ${packages[0]}, ${alone[0]} and what they need into $venv"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" "${torch_imports[@]}"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "${alone[@]}"
    echo "$PWD/$site" > "$(echo "$venv"/lib/python3*/site-packages)/torch.pth"
    "$venv/bin/python" scripts/interop/torch_stubs.py "$site/torch/lib" "$venv/stubs"
    echo "$wanted" > "$venv/complete"
  fi
  export LD_LIBRARY_PATH=$PWD/$venv/stubs OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1
}
