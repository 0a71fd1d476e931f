#!/usr/bin/env python3
"""Checks the include rule of docs/architecture.md: which folder of ockham/ may include which, and no cycles;
and that kernels share their rows out by the one function that has threads."""
import pathlib
import re
import sys

BASE = {"core"}
WORKSHOP = BASE | {"io", "text", "tensor", "model", "methods"}
MEASURED = WORKSHOP | {"pipeline", "eval"}
MAY_INCLUDE = {
    "core": set(),
    "io": BASE,
    "text": BASE | {"io"},
    "kernels": BASE,
    "runtime": BASE | {"io", "text", "kernels"},
    "serve": BASE | {"io", "text", "runtime"},
    "world": BASE | {"io", "text"},
    "eval": BASE | {"io", "text"},
    "report": BASE | {"io", "text", "eval"},
    "bench": BASE | {"io", "kernels", "runtime", "report"},
    "server": BASE | {"io", "text", "eval"},
    "tensor": BASE,
    "model": BASE | {"io", "tensor"},
    "methods": BASE | {"tensor", "model"},
    "pipeline": WORKSHOP,
    "train": MEASURED | {"world"},
    "search": MEASURED | {"kernels", "runtime", "report", "bench"},
    "study": MEASURED | {"train", "world", "report", "runtime", "search"},
}
TORCH_FREE = {"core", "io", "text", "kernels", "runtime", "bench", "serve", "world", "eval", "report", "server"}


def problems(root):
    for path in sorted(root.glob("ockham/**/*")):
        if path.suffix not in (".cc", ".h"):
            continue
        folder = path.relative_to(root / "ockham").parts[0]
        if folder not in MAY_INCLUDE:
            yield f"{path}: the folder '{folder}' has no row in scripts/check_layers.py"
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if "at::parallel_for(" in line and path.name != "parallel.cc":
                yield f"{path}:{number}: at::parallel_for runs on one thread here; call parallel_rows (ockham/tensor/parallel.h)"
            found = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
            if not found:
                continue
            target = found.group(1)
            if target.startswith("ockham/"):
                other = target.split("/")[1]
                if other != folder and other not in MAY_INCLUDE[folder]:
                    yield f"{path}:{number}: {folder} may not include {other}"
            elif target.startswith("cli/"):
                yield f"{path}:{number}: the library may not include the command line"
            elif re.match(r"(ATen|torch|c10)/", target):
                if folder in TORCH_FREE:
                    yield f"{path}:{number}: {folder} stands without libtorch"
                elif path.suffix == ".h" and not target.startswith("ATen/core/") and folder != "tensor":
                    yield f"{path}:{number}: headers include ockham/tensor/tensor.h instead of {target}"


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    found = list(problems(root))
    for line in found:
        print(line)
    if not found:
        print("include rule holds")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
