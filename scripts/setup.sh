#!/usr/bin/env bash
# Installs what is missing on Debian 12 or Ubuntu 24.04: packages, a private virtual environment with libtorch, the crates.
# Looks first and touches nothing that is there; without root it prints the command to run and stops.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(build-essential cmake ninja-build ccache git pkg-config python3 python3-venv
  nlohmann-json3-dev libcli11-dev libfmt-dev libyaml-cpp-dev libsqlite3-dev libssl-dev libcurl4-openssl-dev libgtest-dev
  clang clang-format clang-tidy libclang-rt-dev chromium qemu-user)
torch_version=2.15.0
cuda_wheels=("nvidia-cuda-runtime==13.2.*" "nvidia-cuda-cupti==13.2.*")
oldest_cargo=1.85

say() { printf '== %s\n' "$*"; }

# Names differ between the two distributions.
if [ "$(. /etc/os-release && echo "$ID")" = ubuntu ]; then
  packages=("${packages[@]/chromium/}")  # a snap there: the report is then tested where a Chromium is on the path
  packages=("${packages[@]/libclang-rt-dev/libclang-rt-18-dev}")
else
  packages=("${packages[@]/libclang-rt-dev/libclang-rt-14-dev}")
fi

# True when cargo is there and new enough for the crates.
cargo_is_new() {
  command -v cargo > /dev/null || return 1
  local found
  found=$(cargo --version | awk '{print $2}')
  [ "$(printf '%s\n%s\n' "$oldest_cargo" "$found" | sort -V | head -n 1)" = "$oldest_cargo" ]
}

missing=()
for package in "${packages[@]}"; do
  [ -n "$package" ] || continue
  dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'install ok installed' || missing+=("$package")
done
cargo_is_new || missing+=(cargo-web rustc-web)

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "These packages are missing. Install them, then run the same command again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  say "installing ${missing[*]}"
  apt-get update -q > /dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" > /dev/null
fi
cargo_is_new || { echo "cargo is older than $oldest_cargo and the distribution has no newer one; install a newer Rust" >&2; exit 1; }

# Only the wheel's C++ libraries are used; no Python of it runs.
marker=.venv/ockham-torch-$torch_version
if [ ! -e "$marker" ]; then
  say "installing libtorch $torch_version into .venv (a large download)"
  python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --no-deps "torch==$torch_version" "${cuda_wheels[@]}"
  touch "$marker"
fi

if [ ! -e build/rust/.fetched ] || [ rust/Cargo.lock -nt build/rust/.fetched ]; then
  say "fetching the crates"
  mkdir -p build/rust
  cargo fetch --quiet --locked --manifest-path rust/Cargo.toml
  touch build/rust/.fetched
fi
say "everything that is needed is installed"
