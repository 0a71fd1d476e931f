#!/usr/bin/env python3
"""Puts the figures of bench_peers.py into docs/benchmarks.md, in place of an earlier section of the same heading.
  write_section.py PEERS.json DOCS.md
"""
import json
import pathlib
import statistics
import sys

from sections import put_section

HEADING = "## Beside llmcompressor, per block\n"
NAMES = {"wanda": "Wanda 50 %", "sparsegpt": "SparseGPT 50 %", "gptq": "GPTQ, 4 bits, groups of 128",
         "awq": "AWQ, 4 bits, groups of 128"}
BARS = {"wanda": 1.4, "sparsegpt": 2, "gptq": 2, "awq": 4}


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def loads(results):
    runs = [run for place in [*results["methods"].values(), *results["solves"].values()] for side in place.values()
            if isinstance(side, list) for run in side]
    return [load for run in runs for load in run["load"]]


def section(results):
    load = loads(results)
    packages = results["packages"]
    rounds = max((len(place["ockham"]) for place in results["methods"].values()), default=0)
    yield HEADING
    yield (f"Written by `make bench-peers`. Random model in the shape of TinyLlama-1.1B (hidden 2048, intermediate 5632, bf16 on "
           f"disk), sequences of {results['tokens']} tokens, {results['threads']} threads, both programs in turns, medians of "
           f"{rounds} round{'s' if rounds != 1 else ''}. llmcompressor {packages['llmcompressor']} on PyTorch "
           f"{packages['torch']} with its defaults. A block is: carrying the states through the compressed block before, "
           f"calibrating, solving; for Ockham reading and writing too. Ockham computes in {results['parts'][0]['arithmetic']}, "
           f"which it chooses for this processor.\n")
    yield f"Machine: {results.get('machine', '?')}; load average {min(load):.1f} to {max(load):.1f} during the runs.\n"
    if max(load) > 3 * results["threads"]:
        yield ("The machine was busy with other work: seconds by the wall clock say little, the seconds of processor time, all "
               "threads together, are what can be compared.\n")
    yield "| method | sequences | program | s | processor s | Ockham is faster by (processor) | peak MiB |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for method, place in results["methods"].items():
        ours = place["ockham"]
        for side in ("ockham", "bfloat16", "float32"):
            if side not in place:
                continue
            runs = place[side]
            wall, processor = median(runs, "wall"), median(runs, "processor")
            ratio = "" if side == "ockham" else (f"{wall / median(ours, 'wall'):.1f} × "
                                                 f"({processor / median(ours, 'processor'):.1f} ×)")
            name = "Ockham" if side == "ockham" else f"llmcompressor, {side}"
            yield (f"| {NAMES[method]} | {place['samples']} | {name} | {wall:.1f} | {processor:.1f} | {ratio} | "
                   f"{max(run['peak_bytes'] for run in runs) / 2**20:,.0f} |")
    yield ("\nAimed at: " + ", ".join(f"{NAMES[method]} {bar} ×" for method, bar in BARS.items()) + ", each in half the memory. "
           "Ockham's AWQ also searches clips, which llmcompressor's does not.\n")
    parts = results["parts"]
    arithmetic = "f32" if parts[0]["arithmetic"] == "float32" else "bf16"
    forward = statistics.median(part["forward"] / part[arithmetic] for part in parts)
    yield (f"Parts: f32 product {median(parts, 'f32') / 1e9:,.0f} GFLOP/s, bf16 product {median(parts, 'bf16') / 1e9:,.0f}; a "
           f"block's forward at {100 * forward:.0f} % of the rate of the arithmetic in use; Gram matrices of 2048 and 5632 inputs "
           f"at {median(parts, 'gram_2048') / median(parts, 'f32'):.2f} and "
           f"{median(parts, 'gram_5632') / median(parts, 'f32'):.2f} times the f32 rate (counted as full products; one triangle "
           f"is computed).\n")
    yield "| one linear, Hessian given | Ockham, s | authors' column loop in PyTorch, s | faster by (processor) |"
    yield "| --- | --- | --- | --- |"
    for name, place in results["solves"].items():
        ours, theirs = place["ockham"], place["authors"]
        yield (f"| {name} | {median(ours, 'wall'):.2f} | {median(theirs, 'wall'):.2f} | "
               f"{median(theirs, 'wall') / median(ours, 'wall'):.1f} × "
               f"({median(theirs, 'processor') / median(ours, 'processor'):.1f} ×) |")


def main():
    results = json.loads(pathlib.Path(sys.argv[1]).read_text())
    put_section(sys.argv[2], HEADING, "\n".join(section(results)) + "\n")


main()
