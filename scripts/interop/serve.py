#!/usr/bin/env python3
"""`ockham serve` as others see it: the openai package, lm-evaluation-harness's local-completions, `ockham eval`.

  serve.py --ockham build/release/ockham --data DIR MODEL
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import harness_tasks
import lm_eval
import openai
from lm_eval.tasks import TaskManager

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from served import Served  # noqa: E402

TASK, ROWS = "zeroshot/arc_easy", 300
QUESTION = [{"role": "user", "content": "who is the mayor of Ardel?"}]


def check(condition, what):
    print(("ok        " if condition else "DIFFERENT ") + what, flush=True)
    return 0 if condition else 1


def openai_client(served, model):
    client = openai.OpenAI(base_url=served.url, api_key="none", max_retries=0)
    failures = check([m.id for m in client.models.list()] == [model], "openai: models")
    how = {"model": model, "max_tokens": 16, "seed": 7}
    whole = client.chat.completions.create(messages=QUESTION, logprobs=True, top_logprobs=3, **how)
    text = whole.choices[0].message.content
    failures += check(whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
                      and whole.choices[0].finish_reason in ("stop", "length") and len(text) > 0, "openai: chat")
    listed = whole.choices[0].logprobs.content
    spelled = bytes(byte for token in listed for byte in token.bytes).decode()
    failures += check(all(len(token.top_logprobs) == 3 for token in listed) and spelled.strip() == text.strip(),
                      "openai: log-probabilities of a chat")
    chunks = list(client.chat.completions.create(messages=QUESTION, stream=True,
                                                 stream_options={"include_usage": True}, **how))
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    failures += check(streamed == text and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens,
                      "openai: a streamed chat says the same")
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    failures += check(chunks[0].choices[0].delta.role == "assistant" and reasons[-1] == whole.choices[0].finish_reason,
                      "openai: role and finish reason of a stream")
    prompt = "who is the mayor of"
    echoed = client.completions.create(prompt=prompt, echo=True, logprobs=2, temperature=0, **how).choices[0]
    plain = client.completions.create(prompt=prompt, temperature=0, **how).choices[0]
    failures += check(echoed.text == prompt + plain.text, "openai: a completion with its prompt")
    parts = [echoed.logprobs.token_logprobs, echoed.logprobs.top_logprobs, echoed.logprobs.text_offset]
    failures += check(all(len(part) == len(echoed.logprobs.tokens) for part in parts), "openai: its log-probabilities")
    kept = client.chat.completions.create(
        messages=QUESTION, **{**how, "max_tokens": 200},  # blanks between the fields may be many
        response_format={"type": "json_schema", "json_schema": {"name": "kept", "schema": {
            "type": "object", "properties": {"answer": {"enum": ["yes", "no"]}, "sure": {"type": "boolean"}},
            "required": ["answer", "sure"]}}})
    fields = json.loads(kept.choices[0].message.content)
    failures += check(fields["answer"] in ("yes", "no") and isinstance(fields["sure"], bool), "openai: a schema")
    many = client.completions.create(prompt=[prompt, "the"], n=2, stop=["."], **how)
    failures += check([c.index for c in many.choices] == [0, 1, 2, 3], "openai: several prompts and samples")
    for wrong, kind in (({"model": "gpt-5"}, openai.NotFoundError), ({"max_tokens": 10**6}, openai.BadRequestError),
                        ({"temperature": -1}, openai.BadRequestError)):
        try:
            client.completions.create(**{"prompt": prompt, **how, **wrong})
            failures += check(False, f"openai: {wrong} is refused")
        except kind as error:
            failures += check(bool(error.message), f"openai: {wrong} is refused")
    return failures


def run_ockham(program, model, data, tasks, folder, *options):
    output = os.path.join(folder, "ockham.json")
    subprocess.run([program, "eval", model, "--overwrite", "-o", output, "--tasks", tasks, *data, *options],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(output) as file:
        return json.load(file)["tasks"]


def harness(served, program, model, data, folder):
    """The harness over HTTP, each choice a request with echo, against `ockham eval` on the same rows, row by row."""
    tasks = harness_tasks.write(folder, data)[TASK]
    name, id_of = next(iter(tasks.items()))
    theirs = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={"model": os.path.basename(model), "base_url": served.url + "/completions", "tokenizer": model,
                    "num_concurrent": 4, "max_retries": 1, "max_length": 1024, "add_bos_token": True},
        tasks=[name], task_manager=TaskManager(include_path=folder, include_defaults=False), batch_size=8,
        bootstrap_iters=0, num_fewshot=0, limit=ROWS, log_samples=True)["samples"][name]
    (task,) = run_ockham(program, model, ["--data", data], TASK, folder, "--tier", "full", "--engine", "native")
    ours = {item["id"]: item["extra"] for item in task["items"]}
    same, largest, right = 0, 0.0, 0
    for sample in theirs:
        item = ours[id_of(sample["doc_id"])]
        same += item["accuracy"] == bool(sample["acc"]) and item["accuracy_norm"] == bool(sample["acc_norm"])
        right += bool(sample["acc"])
        for mine, response in zip(item["logprobs"], sample["resps"], strict=True):
            largest = max(largest, abs(mine - float(response[0][0])))
    return check(same == len(theirs) == ROWS and largest < 1e-4,
                 f"lm-evaluation-harness over HTTP: {same} of {len(theirs)} rows of {TASK} judged as by `ockham eval` "
                 f"({right} right), largest difference of a log-likelihood {largest:.1e}")


def answers(tasks):
    return [(item["id"], item.get("answer"), item.get("score")) for task in tasks for item in task["items"]]


def own_client(served, program, model, folder):
    task = "factworld/multiple-choice"
    here = run_ockham(program, model, [], task, folder, "--engine", "native")
    there = run_ockham(program, served.url, [], task, folder, "--tokenizer", model)
    same, count = sum(a == b for a, b in zip(answers(here), answers(there), strict=True)), len(answers(here))
    return check(same == count, f"`ockham eval {served.url}`: {same} of {count} answers as without")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ockham", default="build/release/ockham")
    parser.add_argument("--data", required=True)
    parser.add_argument("model")
    arguments = parser.parse_args()
    failures = 0
    # Bits as in an evaluation, so that equal means equal.
    with Served(arguments.ockham, arguments.model, "--exact") as served, tempfile.TemporaryDirectory() as folder:
        model = os.path.basename(arguments.model.rstrip("/"))
        failures += openai_client(served, model)
        failures += own_client(served, arguments.ockham, arguments.model, folder)
        failures += harness(served, arguments.ockham, arguments.model, os.path.abspath(arguments.data), folder)
        failures += check(served.stop() == 0, "the server ends with exit code 0")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
