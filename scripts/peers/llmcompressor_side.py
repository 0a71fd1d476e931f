#!/usr/bin/env python3
"""llmcompressor's side of `make bench-peers`: its one-shot entry point with defaults, stopped after the second block. Prints
one JSON object with the seconds between the ends of the first and second block's solves: carrying the states through the
compressed first block, calibrating the second and solving it.
  llmcompressor_side.py MODEL METHOD IDS.npy float32|bfloat16
"""
import json
import os
import resource
import sys
import time

import datasets
import numpy
import torch
import transformers
from llmcompressor import oneshot
from llmcompressor.core import LifecycleCallbacks
from llmcompressor.pipelines.cache import IntermediatesCache

MODEL, METHOD, IDS, DTYPE = sys.argv[1:5]


def recipe():
    if METHOD == "wanda":
        from llmcompressor.modifiers.pruning import WandaPruningModifier
        return WandaPruningModifier(sparsity=0.5, targets=["Linear"], ignore=["re:.*lm_head"])
    if METHOD == "sparsegpt":
        from llmcompressor.modifiers.pruning import SparseGPTModifier
        return SparseGPTModifier(sparsity=0.5, targets=["Linear"], ignore=["re:.*lm_head"])
    if METHOD == "gptq":
        from llmcompressor.modifiers.gptq import GPTQModifier
        return GPTQModifier(scheme="W4A16", targets=["Linear"], ignore=["lm_head"])
    try:
        from llmcompressor.modifiers.awq import AWQModifier
    except ImportError:
        from llmcompressor.modifiers.transform.awq import AWQModifier
    return AWQModifier(scheme="W4A16_ASYM", targets=["Linear"], ignore=["lm_head"])


def times():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"wall": time.monotonic(), "processor": usage.ru_utime + usage.ru_stime}


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    ends = []
    finish = LifecycleCallbacks.sequential_epoch_end

    def measured(submodules, **kwargs):
        submodules, before = set(submodules), times()
        result = finish(submodules, **kwargs)
        if not any(hasattr(module, "mlp") for module in submodules):
            return result  # the embedding alone is a step of its own
        ends.append((before, times()))
        if len(ends) == 2:
            (_, first), (start, second) = ends
            figures = {clock: second[clock] - first[clock] for clock in first}
            figures["method"] = second["wall"] - start["wall"]
            figures["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            figures["threads"] = torch.get_num_threads()
            print(json.dumps(figures), flush=True)
            os._exit(0)
        return result

    LifecycleCallbacks.sequential_epoch_end = measured
    # AWQ pins memory for an accelerator, which fails where there is none.
    IntermediatesCache._pin_intermediate = classmethod(lambda cls, intermediate: None)
    ids = numpy.load(IDS).tolist()
    data = datasets.Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]})
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=getattr(torch, DTYPE))
    oneshot(model=model, tokenizer=MODEL, dataset=data, recipe=recipe(), max_seq_length=len(ids[0]),
            num_calibration_samples=len(ids), pipeline="sequential")
    sys.exit("llmcompressor ended before its second block")


main()
