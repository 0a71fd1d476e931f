#!/usr/bin/env python3
"""Puts the figures of engine_side.py into docs/benchmarks.md, in place of an earlier section of the same heading.
  write_engine.py ENGINE.json... DOCS.md
"""
import json
import pathlib
import statistics
import sys

from sections import put_section

HEADING = "## The native engine beside llama.cpp and PyTorch\n"
# What is aimed at: of llama.cpp's rate of the type beside it.
AIMS = {("int8", "decode"): 1, ("int4", "decode"): 1, ("int4, half zeros", "decode"): 1.2,
        ("int4, half of the groups", "decode"): 1.6, ("int3", "decode"): 1.7, ("int2", "decode"): 1.7, ("int8", "prefill"): 2,
        ("int4", "prefill"): 2}
TORCH_AIMS = {"int8": 1.25}
INTRODUCTION = ("Written by `make bench-peers`. Random weights in the shape of TinyLlama-1.1B, one sequence; ratios are those of each "
                "round. llama-cpp-python 0.3.36 built for this processor, without AMX; Ockham's integers in groups of 128, heads in "
                "int8; prompts before integers in two parts, which takes two products for each weight, with `--fast` in 8 bits. "
                "Prefill's share is that of the rate of tiles in the same round, and of what the same processor multiplies without "
                "tiles (VNNI, AVX-512 BF16): as many operations as the model has, whatever it takes.\n")


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def ratio(aim, ours, theirs):
    ratios = [a / b for a, b in zip(ours, theirs)]
    return f"{statistics.median(ratios):.2f}" + (f" (aim {aim})" if aim else "")


def section(results):
    loads = [one["load"] for one in results["rounds"]]
    yield (f"A prompt of {results['prompt']} tokens, {results['threads']} threads, medians (least to greatest) of "
           f"{len(results['rounds'])} rounds in turns, load average {min(loads):.1f} to {max(loads):.1f}:\n")
    yield "| llama.cpp | GB | Ockham | GB | decode, tokens/s: llama.cpp | Ockham | ratio | of the bandwidth | prefill: llama.cpp | Ockham | ratio | of the unit's rate | of it without tiles |"
    yield "| --- | ---: | --- | ---: | --- | --- | ---: | ---: | --- | --- | ---: | ---: | ---: |"
    for theirs, ours in results["pairs"]:
        peers, own = results["llama"][theirs], [turn[ours] for turn in results["ockham"]]
        cells = [theirs, f"{peers[0]['bytes'] / 1e9:.2f}", ours, f"{own[0]['bytes'] / 1e9:.2f}"]
        for phase in ("decode", "prefill"):
            a, b = [run[phase] for run in own], [run[phase] for run in peers]
            share = statistics.median(run[phase + "_share"] for run in own)
            cells += [spread(b), spread(a), ratio(AIMS.get((ours, phase)), a, b), f"{100 * share:.0f} %"]
        vectors = [run["vector_share"] for run in own if "vector_share" in run]
        cells.append(f"{100 * statistics.median(vectors):.0f} %" if vectors else "")
        yield "| " + " | ".join(cells) + " |"
    for kind, runs in results["torch"].items():
        name = {"bf16": "transformers in bfloat16", "int8": "PyTorch's dynamic int8"}[kind]
        prefill = [run["prefill"] for run in runs]
        beside = [f"{ours} {ratio(TORCH_AIMS.get(ours), [turn[ours]['prefill'] for turn in results['ockham']], prefill)}"
                  for ours in (kind, f"{kind}, --fast") if ours in results["ockham"][0]]
        yield (f"\n{name}: prefill {spread(prefill)} tokens/s." +
               (f" Ockham's rate of it, round by round: {', '.join(beside)}." if beside else ""))
    yield ""


def main():
    lines = [HEADING, INTRODUCTION]
    for path in sys.argv[1:-1]:
        lines += section(json.loads(pathlib.Path(path).read_text()))
    put_section(sys.argv[-1], HEADING, "\n".join(lines))


main()
