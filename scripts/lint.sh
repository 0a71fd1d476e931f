#!/usr/bin/env bash
# Formatting and the include rule over everything, clang-tidy over the files changed since OCKHAM_LINT_BASE (default: the
# commit before the last one) and those not committed yet.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== clang-format"
git ls-files '*.cc' '*.h' | xargs clang-format --dry-run -Werror
echo "== include rule"
python3 scripts/check_layers.py
echo "== clang-tidy"
base=${OCKHAM_LINT_BASE:-$(git rev-parse --verify --quiet HEAD~1 || true)}
mapfile -t changed < <({ [ -z "$base" ] || git diff --name-only --diff-filter=d "$base"; git ls-files --others --exclude-standard; } |
  grep -E '^(ockham|cli)/.*\.cc$' | sort -u)
if [ ${#changed[@]} = 0 ]; then
  echo "no source changed"
  exit 0
fi
# The database of a build without precompiled headers: clang cannot read those of GCC.
cmake -S . -B build/tidy -G Ninja -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DOCKHAM_UNITY=OFF -DCMAKE_CXX_COMPILER=clang++ \
  -DCMAKE_C_COMPILER=clang > build/tidy-configure.log 2>&1 || { cat build/tidy-configure.log; exit 1; }
printf '%s\n' "${changed[@]}" | xargs -P 2 -n 1 clang-tidy -p build/tidy --quiet --warnings-as-errors='*' 2> build/tidy.log ||
  { grep -v 'warnings generated' build/tidy.log; exit 1; }
