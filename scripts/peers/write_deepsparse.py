#!/usr/bin/env python3
"""Puts the figures of deepsparse_side.py into docs/benchmarks.md, in place of an earlier section of the same heading.
  write_deepsparse.py DEEPSPARSE.json DOCS.md
"""
import json
import pathlib
import statistics
import sys

from sections import put_section

HEADING = "## Beside DeepSparse, single layers\n"
NAMES = {"float32": "one product with 4096 x 11008 weights, float32",
         "int8": "the feed-forward block of LLaMA-2-7B, int8"}
# How many times as fast as DeepSparse one token is meant to be.
AIMS = {"float32": {0: 1, 0.5: 1, 0.7: 1.25, 0.8: 1.6, 0.9: 2}, "int8": {0: 0.95, 0.5: 0.95, 0.7: 1.1, 0.9: 1.25}}


def least(runs):
    return min(run["least"] for run in runs)


def median(runs):
    return statistics.median(run["median"] for run in runs)


def cell(runs):
    return f"{least(runs):.2f} / {median(runs):.2f}"


def row(layer):
    theirs = [run for process in layer["deepsparse"] for run in process]
    ours, dense = (layer["dense"] + layer["sparse"],) * 2 if layer["sparsity"] == 0 else (layer["sparse"], layer["dense"])
    ratio = least(theirs) / least(ours)
    aim = AIMS[layer["kind"]].get(layer["sparsity"]) if layer["tokens"] == 1 else None
    against = "" if layer["sparsity"] == 0 else f"{least(dense) / least(ours):.2f} ×"
    stored = layer["about"][0]["sparse"].split(", ")[-1]
    form = "rows" if layer["sparsity"] == 0 else stored.partition(" kept ")[2] or "dense"
    return (f"| {100 * layer['sparsity']:.0f} % | {cell(ours)} | {form} | {cell(theirs)} | {ratio:.2f} × | "
            f"{'' if aim is None else f'{aim} ×'} | {against} |")


def section(results):
    versions = {layer["about"][1]["version"] for layer in results["layers"]}
    loads = [layer["load"] for layer in results["layers"]]
    yield HEADING
    yield (f"Written by `make bench-peers`. DeepSparse {', '.join(sorted(versions))} (the last with an engine; two processes, both with "
           f"pinned threads, one with huge pages) and `kernels_bench layer`, {results['threads']} threads, in turns, {results['rounds']} "
           f"rounds of 0.3 s for each process. Milliseconds of a call: least of all / median of the runs' medians. Zeros at random places. "
           f"The ratio is that of the least times.\n")
    priority = "" if not results.get("is_realtime") else " While a program measured, nobody else's work got between (`REALTIME=1`)."
    yield f"Machine: {results['machine']}; load average {min(loads):.1f} to {max(loads):.1f}.{priority}\n"
    groups = {}
    for layer in results["layers"]:
        groups.setdefault((layer["kind"], layer["tokens"]), []).append(layer)
    for (kind, tokens), layers in groups.items():
        yield f"{NAMES[kind][0].upper()}{NAMES[kind][1:]}, {tokens} token{'s' if tokens > 1 else ''}:\n"
        yield "| zeros | Ockham, ms | stored as | DeepSparse, ms | DeepSparse / Ockham | aimed at | Ockham dense / sparse |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        yield from map(row, layers)
        yield ""


def main():
    results = json.loads(pathlib.Path(sys.argv[1]).read_text())
    put_section(sys.argv[2], HEADING, "\n".join(section(results)))


main()
