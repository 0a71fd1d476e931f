"""Tasks of lm-evaluation-harness on local data: the harness's own YAML files with the data set replaced by local files.

write(folder, data) writes one YAML per task and returns {ockham task: (harness tasks, how to find a document's item id)}.
"""
import csv
import json
import os

import lm_eval
import yaml

SHIPPED = os.path.join(os.path.dirname(lm_eval.__file__), "tasks")

# ockham task -> (file below the harness's tasks, data file, overrides)
TASKS = {
    "zeroshot/boolq": ("super_glue/boolq/default.yaml", "zeroshot/boolq.jsonl", {}),
    "zeroshot/rte": ("glue/rte/default.yaml", "zeroshot/rte_dev.tsv", {}),
    "zeroshot/hellaswag": ("hellaswag/hellaswag.yaml", "zeroshot/hellaswag.jsonl",
                           {"process_docs": None, "doc_to_target": "gold"}),
    "zeroshot/winogrande": ("winogrande/default.yaml", "zeroshot/winogrande.jsonl", {}),
    "zeroshot/arc_easy": ("arc/arc_easy.yaml", "zeroshot/arc_easy.jsonl", {}),
    "zeroshot/arc_challenge": ("arc/arc_challenge.yaml", "zeroshot/arc_challenge.jsonl", {}),
    "zeroshot/openbookqa": ("openbookqa/openbookqa.yaml", "zeroshot/openbookqa.jsonl", {}),
    "zeroshot/piqa": ("piqa/piqa.yaml", "zeroshot/piqa.jsonl", {}),
    "zeroshot/copa": ("super_glue/copa/default.yaml", "zeroshot/copa.jsonl", {}),
    "zeroshot/lambada_openai": ("lambada/lambada_openai.yaml", "zeroshot/lambada_openai.jsonl", {}),
}
# Files of the harness that hold no Python functions and can therefore be read by `ockham eval` as they are.
READABLE = ["zeroshot/boolq", "zeroshot/arc_easy", "zeroshot/openbookqa", "zeroshot/piqa"]


def as_jsonl(source, target):
    """Rows of a TSV file as JSON lines; whole numbers become numbers, as a loader of data sets would type them."""
    with open(source, newline="") as file, open(target, "w") as out:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            out.write(json.dumps({k: int(v) if v.isdigit() else v for k, v in row.items()}) + "\n")


def write_yaml(folder, name, config):
    path = os.path.join(folder, name + ".yaml")
    with open(path, "w") as file:
        yaml.safe_dump(config, file, sort_keys=False)
    return path


def write_zeroshot(folder, data):
    found = {}
    for ockham, (shipped, place, overrides) in TASKS.items():
        name = "local_" + ockham.split("/")[1]
        source = os.path.join(data, place)
        if source.endswith(".tsv"):
            as_jsonl(source, os.path.join(folder, name + ".jsonl"))
            source = os.path.join(folder, name + ".jsonl")
        config = {"include": os.path.join(SHIPPED, shipped), "task": name, "tag": None, "dataset_path": "json",
                  "dataset_name": None, "dataset_kwargs": {"data_files": {"validation": source}},
                  "training_split": None, "validation_split": "validation", "test_split": None,
                  "fewshot_split": "validation" if ockham != "zeroshot/lambada_openai" else None, **overrides}
        write_yaml(folder, name, config)
        found[ockham] = {name: lambda index: f"row-{index + 1}"}
    return found


def write_mmlu(folder, data):
    names = {}
    for file in sorted(os.listdir(os.path.join(data, "mmlu/test"))):
        subject = file.removesuffix("_test.csv")
        splits = {}
        for split in ("test", "dev"):
            splits[split] = os.path.join(folder, f"mmlu_{subject}_{split}.jsonl")
            with open(os.path.join(data, f"mmlu/{split}/{subject}_{split}.csv"), newline="") as rows, \
                    open(splits[split], "w") as out:
                for question, *choices, answer in csv.reader(rows):
                    out.write(json.dumps({"question": question, "choices": choices,
                                          "answer": "ABCD".index(answer)}) + "\n")
        name = "local_mmlu_" + subject
        write_yaml(folder, name, {
            "include": os.path.join(SHIPPED, "mmlu/default/_default_template_yaml"), "task": name,
            "dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": splits},
            "description": "The following are multiple choice questions (with answers) about "
                           f"{subject.replace('_', ' ')}.\n\n"})
        names[name] = lambda index, subject=subject: f"{subject}-{index}"
    return {"knowledge/mmlu": names}


def write(folder, data):
    return {**write_zeroshot(folder, data), **write_mmlu(folder, data)}
