#!/usr/bin/env python3
"""Empty stand-ins for the CUDA libraries that PyTorch's wheel is linked with, so that `import torch` works on the libraries
of .venv alone, without several GB of packages that no CPU run calls. Every function they are asked for returns 0.
  torch_stubs.py TORCH_LIB_DIRECTORY OUT
"""
import collections
import pathlib
import re
import subprocess
import sys

LIBRARIES, OUT = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    present = sorted(LIBRARIES.glob("lib*.so*"))
    names = {path.name for path in present + sorted(LIBRARIES.glob("../../nvidia/*/lib/lib*.so*"))}
    missing, versions = set(), {}  # libraries, and the library of each symbol version
    wanted, defined = set(), set()
    for path in present:
        needed = re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", str(path)))
        missing |= {name for name in needed if re.match("lib(cu|nv|nccl)", name) and name not in names}
        library = None
        for word, value in re.findall(r"(File|Name): (\S+)", output("readelf", "-V", "-W", str(path))):
            library = value if word == "File" else library
            versions.setdefault(value, library)
        wanted |= set(re.findall(r" [Uvw] (\S+)", output("nm", "-D", "--undefined-only", str(path))))
        defined |= set(re.findall(r" [A-Zu] (\S+)", output("nm", "-D", "--defined-only", str(path))))
    symbols = collections.defaultdict(lambda: collections.defaultdict(set))  # library, version
    for symbol in wanted - {name.split("@")[0] for name in defined}:
        name, _, version = symbol.partition("@")
        library = versions.get(version)
        if library in missing:
            symbols[library][version].add(name)
        elif not version and re.match("_*(cu|nv|nccl)", name):
            symbols[min(missing)][""].add(name)
    OUT.mkdir(parents=True, exist_ok=True)
    for library in missing:
        source, script = OUT / "stub.c", OUT / "stub.map"
        functions = sorted(set().union(*symbols[library].values()))
        source.write_text("".join(f"long {name}(void) {{ return 0; }}\n" for name in functions))
        script.write_text("".join(f"{version} {{ global: {' '.join(name + ';' for name in sorted(found))} }};\n"
                                  for version, found in symbols[library].items() if version))
        subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-fno-builtin", f"-Wl,-soname,{library}",
                        *([f"-Wl,--version-script,{script}"] if script.stat().st_size > 0 else []),
                        "-o", str(OUT / library), str(source)], check=True)


main()
