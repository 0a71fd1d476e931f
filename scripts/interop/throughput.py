#!/usr/bin/env python3
"""How fast `ockham eval` and lm-evaluation-harness on transformers answer the same tasks: same model, data, threads and
float32, in turn, in one run. Prints JSON; scripts/write_throughput.py makes a page of it.
  throughput.py --ockham build/release/ockham --data DIR [--repeats 3] [--limit N] [--task NAME]... MODEL [MODEL ...]

The harness's side counts its log-likelihood calls alone, its requests made beforehand; Ockham's side the whole
evaluation of the task, prompts, scores and intervals included.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

THREADS = 2
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(THREADS)

import harness_tasks  # noqa: E402
import lm_eval  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

TASKS = [("knowledge/mmlu", 5), ("zeroshot/hellaswag", 0), ("zeroshot/arc_easy", 0), ("zeroshot/piqa", 0),
         ("zeroshot/boolq", 0)]
BATCH = 16


class Timed(HFLM):
    """Keeps the seconds and the token counts of its log-likelihood calls."""
    seconds = 0.0
    lengths = None

    def _loglikelihood_tokens(self, requests, *args, **kwargs):
        self.lengths = [(len(context), len(continuation)) for _, context, continuation in requests]
        start = time.perf_counter()
        answers = super()._loglikelihood_tokens(requests, *args, **kwargs)
        self.seconds += time.perf_counter() - start
        return answers


def time_harness(model, manager, names, shots, limit):
    model.seconds = 0.0
    results = lm_eval.simple_evaluate(model=model, tasks=names, task_manager=manager, num_fewshot=shots,
                                      bootstrap_iters=0, log_samples=True, limit=limit)
    samples = [sample for name in names for sample in results["samples"][name]]
    requests = {sum(len(sample["resps"]) for sample in samples)} - {len(model.lengths)}
    assert not requests, "the harness asked in several calls"
    return model.seconds, len(samples), model.lengths


def time_ockham(program, engine, model, data, task, shots, limit, folder):
    output = os.path.join(folder, "ockham.json")
    command = [program, "eval", model, "--data", data, "--tier", "full", "--engine", engine, "--overwrite", "--threads",
               str(THREADS), "-o", output, "--tasks", task, "--num-fewshot", str(shots)]
    if engine == "libtorch":
        command += ["--dtype", "float32"]
    if limit:
        command += ["--items", str(limit)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with open(output) as file:
        result = json.load(file)["tasks"][0]
    return result["seconds"], max(metric["n"] for metric in result["metrics"])


def time_suite(program, model, tier, folder):
    start = time.perf_counter()
    subprocess.run([program, "eval", model, "--tasks", "factworld/*", "--tier", tier, "--threads", str(THREADS),
                    "--overwrite", "-o", os.path.join(folder, "suite.json")], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def sharing(lengths):
    """What computing every context once saves: n(c + k) / (c + nk), over all items; continuations of one item follow
    each other and have the same context length."""
    apart = sum(context + continuation for context, continuation in lengths)
    together, previous = 0, None
    for context, continuation in lengths:
        together += continuation + (context if context != previous else 0)
        previous = context
    return apart / together


def measure(arguments, model_path, folder):
    torch.set_num_threads(THREADS)
    tasks = harness_tasks.write(folder, arguments.data)
    manager = TaskManager(include_path=folder, include_defaults=False)
    model = Timed(pretrained=model_path, dtype="float32", device="cpu", batch_size=BATCH)
    rows = []
    for task, shots in (row for row in TASKS if row[0] in arguments.tasks):
        names = list(tasks[task])
        limit = arguments.limit
        theirs, ours, items = [], [], {}
        for _ in range(arguments.repeats):
            seconds, items["lm-eval"], lengths = time_harness(model, manager, names, shots, limit)
            theirs.append(seconds)
            seconds, items["ockham"] = time_ockham(arguments.ockham, arguments.engine, model_path, arguments.data,
                                                   task, shots, items["lm-eval"] if limit else 0, folder)
            ours.append(seconds)
        assert items["lm-eval"] == items["ockham"], (task, items)
        rows.append({"task": task, "shots": shots, "items": items["ockham"], "harness_seconds": theirs,
                     "ockham_seconds": ours, "sharing": sharing(lengths),
                     "context_tokens": statistics.mean(c for c, _ in lengths),
                     "continuation_tokens": statistics.mean(k for _, k in lengths)})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ockham", default="build/release/ockham")
    parser.add_argument("--engine", choices=["native", "libtorch"], default="native",
                        help="of Ockham's side; both compute in float32")
    parser.add_argument("--data", required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=int, help="documents per task of the harness; default: all")
    parser.add_argument("--task", action="append", dest="tasks", choices=[task for task, _ in TASKS], help="default: all")
    parser.add_argument("models", nargs="+")
    arguments = parser.parse_args()
    arguments.data = os.path.abspath(arguments.data)
    arguments.tasks = arguments.tasks or [task for task, _ in TASKS]
    result = {"threads": THREADS, "batch": BATCH, "repeats": arguments.repeats,
              "engine": arguments.engine, "lm_eval": lm_eval.__version__,
              "transformers": transformers.__version__, "torch": torch.__version__, "models": {}}
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            result["models"][os.path.basename(model.rstrip("/"))] = measure(arguments, model, folder)
        first, all_tasks = arguments.models[0], len(arguments.tasks) == len(TASKS)
        result["suite"] = {tier: [time_suite(arguments.ockham, first, tier, folder) for _ in range(arguments.repeats)]
                           for tier in ("quick", "full") if all_tasks}
    result["machine"] = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    with open("/proc/cpuinfo") as file:
        result["machine"] = next((line.split(":")[1].strip() for line in file if line.startswith("model name")),
                                 result["machine"])
    result["load"] = os.getloadavg()[0]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
