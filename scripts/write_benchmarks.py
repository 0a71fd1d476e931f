#!/usr/bin/env python3
"""Turns the JSON that bench/*_bench printed into docs/benchmarks.md."""
import json
import pathlib
import sys


def main():
    folder = pathlib.Path(sys.argv[1])
    evaluation = json.loads((folder / "eval.json").read_text())
    shapes = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("mini", "tinyllama")}
    print("# Benchmarks\n")
    print("Written by `make bench`; every figure is of one run on one machine. Compare only figures of the same run.\n")
    print(f"Machine: {evaluation['machine']}; {evaluation['threads']} threads.\n")
    print("## Evaluation of models/mini (libtorch backend, medians of five)\n")
    print("| what | figure |\n| --- | --- |")
    print(f"| loading | {evaluation['load_seconds']:.3f} s |")
    print(f"| perplexity, 32 x 512 tokens | {evaluation['perplexity_tokens_per_second']:,.0f} tokens/s |")
    print(f"| multiple choice, {evaluation['choice_items']} items of 4 options "
          f"| {evaluation['choice_items_per_second']:,.0f} items/s |")
    print(f"| peak memory of the process | {evaluation['peak_bytes'] / 2**20:,.0f} MiB |\n")
    print("## Wanda, block by block, on random weights\n")
    print("TinyLlama-1.1B shape: hidden 2048, intermediate 5632, 22 blocks, bf16; 32 x 512 calibration tokens. The forward share is "
          "the calibration forward's rate of floating-point operations over that of a plain bf16 matrix product measured in the "
          "same run. Where the processor has no bf16 instructions Ockham computes in float32 instead, and the share is beyond "
          "100 %: compare with the float32 product there.\n")
    print("| | mini | TinyLlama-1.1B |\n| --- | --- | --- |")
    rows = [
        ("parameters", "parameters", lambda v: f"{v:,}"),
        ("loading, s", "load_seconds", lambda v: f"{v:.2f}"),
        ("Wanda 50 %, s in all", "wanda_seconds", lambda v: f"{v:.1f}"),
        ("s per block", "seconds_per_block", lambda v: f"{v:.3f}"),
        ("of that two forwards, s", "forward_seconds_per_block", lambda v: f"{v:.3f}"),
        ("of that the method, s", "method_seconds_per_block", lambda v: f"{v:.3f}"),
        ("peak memory, MiB", "peak_bytes", lambda v: f"{v / 2**20:,.0f}"),
        ("bf16 matrix product, GFLOP/s", "gemm_gflops", lambda v: f"{v:,.0f}"),
        ("f32 matrix product, GFLOP/s", "gemm_f32_gflops", lambda v: f"{v:,.0f}"),
        ("calibration forward, GFLOP/s", "forward_gflops", lambda v: f"{v:,.0f}"),
        ("forward share", "forward_share_of_gemm", lambda v: f"{100 * v:.0f} %"),
    ]
    for label, key, text in rows:
        print(f"| {label} | " + " | ".join(text(shapes[name][key]) for name in ("mini", "tinyllama")) + " |")


if __name__ == "__main__":
    main()
