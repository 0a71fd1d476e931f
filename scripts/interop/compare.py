#!/usr/bin/env python3
"""The same tasks, data and model through lm-evaluation-harness on transformers and through `ockham eval`.

Log-likelihoods must agree to 1e-4 (relative beyond 100 nats), accuracies exactly. Run by `make test-interop`.
  compare.py --ockham build/release/ockham --data DIR MODEL [MODEL ...]
  --golden FILE   also write the harness's numbers for tests/study/harness_parity_slow_test.cc (one model)
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

import harness_tasks
import lm_eval
import transformers
from lm_eval.tasks import TaskManager

METRICS = {"acc": "accuracy", "acc_norm": "accuracy_norm", "acc_bytes": "accuracy_bytes", "perplexity": "perplexity"}


def run_harness(model, folder, names, shots):
    results = lm_eval.simple_evaluate(
        model="hf", model_args={"pretrained": model, "dtype": "float32", "trust_remote_code": False}, tasks=names,
        task_manager=TaskManager(include_path=folder, include_defaults=False), num_fewshot=shots, batch_size=16,
        device="cpu", bootstrap_iters=0, log_samples=True)
    return results


def run_ockham(program, model, data, tasks, shots, folder):
    """The results by task name; a name ending in .yaml is a file of the harness, read as it is."""
    output = os.path.join(folder, "ockham.json")
    command = [program, "eval", model, "--data", data, "--tier", "full", "--dtype", "float32", "--overwrite", "-o",
               output, "--tasks", ",".join(tasks)]
    if shots is not None:
        command += ["--num-fewshot", str(shots)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(output) as file:
        return {task["task"]: task for task in json.load(file)["tasks"]}


def harness_logprobs(sample):
    """The log-likelihoods of a document's requests, in order."""
    return [float(response[0][0]) for response in sample["resps"]]


def compare_task(ockham, theirs, ids):
    """Largest difference of log-likelihoods, and the metrics of both sides."""
    items = {item["id"]: item for item in ockham["items"]}
    largest, count = 0.0, 0
    sums = {}
    for name, id_of in ids.items():
        for sample in theirs["samples"][name]:
            item = items.pop(id_of(sample["doc_id"]))
            ours = item["extra"].get("logprobs", [item["extra"].get("logprob")])
            wanted = harness_logprobs(sample)
            assert len(ours) == len(wanted), (name, item["id"])
            for a, b in zip(ours, wanted):
                largest = max(largest, abs(a - b) / max(1.0, abs(b) / 100))
            count += 1
            for metric in METRICS:
                if metric in sample:
                    sums.setdefault(metric, []).append(sample[metric])
    assert not items, f"items without a document: {list(items)[:3]}"
    metrics = {}
    for metric, values in sums.items():
        mean = sum(values) / len(values)
        metrics[METRICS[metric]] = math.exp(-mean) if metric == "perplexity" else mean
    return largest, count, metrics


def ockham_metrics(task):
    return {METRICS.get(m["name"], m["name"]): m["value"] / (100 if m["unit"] == "points" else 1)
            for m in task["metrics"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ockham", default="build/release/ockham")
    parser.add_argument("--data", required=True)
    parser.add_argument("--golden")
    parser.add_argument("--tasks", help="comma-separated names; default: all")
    parser.add_argument("models", nargs="+")
    arguments = parser.parse_args()
    data = os.path.abspath(arguments.data)
    failures, golden = 0, {"lm_eval": lm_eval.__version__, "transformers": transformers.__version__, "tasks": {}}
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            tasks = harness_tasks.write(folder, data)
            if arguments.tasks:
                tasks = {name: ids for name, ids in tasks.items() if name in arguments.tasks.split(",")}
            # Our own tasks without examples (MMLU with its five), then files of the harness read as they are, with and
            # without examples, which are drawn at random for all but MMLU.
            plain = [task for task in tasks if task != "knowledge/mmlu"]
            mmlu = [task for task in tasks if task == "knowledge/mmlu"]
            files = [task for task in harness_tasks.READABLE if task in tasks]
            for shots, chosen, as_files in ((0, plain, False), (5, mmlu, False), (3, files, True)):
                if not chosen:
                    continue
                names = [name for task in chosen for name in tasks[task]]
                theirs = run_harness(model, folder, names, shots)
                asked = [os.path.join(folder, next(iter(tasks[task])) + ".yaml") for task in chosen] if as_files else chosen
                ours = run_ockham(arguments.ockham, model, data, asked, shots, folder)
                for task in chosen:
                    result = ours[next(iter(tasks[task])) if as_files else task]
                    largest, count, wanted = compare_task(result, theirs, tasks[task])
                    got = ockham_metrics(result)
                    same = all(math.isclose(got[name], value, rel_tol=1e-4 if name == "perplexity" else 1e-12)
                               for name, value in wanted.items())
                    verdict = "ok" if same and largest <= 1e-4 else "DIFFERENT"
                    failures += verdict != "ok"
                    print(f"{verdict:9} {os.path.basename(model.rstrip('/')):12} {task:26} {shots} shots, {count} items"
                          f"{', their file' if as_files else ''}, largest difference {largest:.2e}, "
                          + ", ".join(f"{name} {got[name]:.6g} / {value:.6g}" for name, value in wanted.items()),
                          flush=True)
                    first = next(iter(tasks[task]))
                    golden["tasks"][f"{task}@{shots}"] = {
                        "items": count, "metrics": wanted,
                        "logprobs": {tasks[task][first](s["doc_id"]): [round(x, 5) for x in harness_logprobs(s)]
                                     for s in theirs["samples"][first][:4]}}
    if arguments.golden:
        golden["remake"] = "make test-interop GOLDEN=1"
        with open(arguments.golden, "w") as file:
            json.dump(golden, file, indent=1)
            file.write("\n")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
