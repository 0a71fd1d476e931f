#!/usr/bin/env python3
"""Turns the JSON of scripts/interop/throughput.py into docs/throughput.md. Further files, of further models, are put beside
the first.
  write_throughput.py FILE.json..."""
import json
import statistics
import sys


def main():
    runs = []
    for path in sys.argv[1:]:
        with open(path) as file:
            runs.append(json.load(file))
    data = runs[0]
    median = statistics.median
    print("# Throughput beside lm-evaluation-harness\n")
    print("Written by `make bench`; medians of alternating runs on one machine. Same model, data, float32 and "
          f"{data['threads']} threads; Ockham's engine is the {data['engine']} one, the harness's batch size is {data['batch']}. Its time is that of its log-likelihood "
          "calls, Ockham's that of the whole task.\n")
    print(f"Machine: {data['machine']}; lm-eval {data['lm_eval']}, transformers {data['transformers']}, "
          f"torch {data['torch']}; {data['repeats']} run{'s' if data['repeats'] > 1 else ''} each; load average at the end {data['load']:.1f}.\n")
    print("*Sharing* is n(c + k) / (c + n k) over the task's items: what computing each context once for its n continuations "
          "can save. lm-eval itself shares the context of continuations of one token (MMLU, BoolQ).\n")
    for run, model, rows in ((run, *entry) for run in runs for entry in run["models"].items()):
        print(f"## {model}\n")
        if run is not data:
            print(f"{run['repeats']} run{'s' if run['repeats'] > 1 else ''}; {run['machine']}, load {run['load']:.1f}.\n")
        print("| task | items | tokens, context + continuation | lm-eval, items/s | ockham, items/s | ratio (range) | sharing "
              "|\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for row in rows:
            theirs, ours = row["harness_seconds"], row["ockham_seconds"]
            ratios = [a / b for a, b in zip(theirs, ours)]
            print(f"| {row['task']}, {row['shots']} shots | {row['items']} | {row['context_tokens']:.0f} + "
                  f"{row['continuation_tokens']:.1f} | {row['items'] / median(theirs):,.3g} | "
                  f"{row['items'] / median(ours):,.3g} | {median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) | "
                  f"{row['sharing']:.2f} |")
        print()
    print("## FactWorld on the first model, whole command\n")
    print("| tier | seconds |\n| --- | ---: |")
    for tier, seconds in data["suite"].items():
        print(f"| {tier} | {median(seconds):.1f} |")


if __name__ == "__main__":
    main()
