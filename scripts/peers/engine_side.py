#!/usr/bin/env python3
"""The native engine beside llama.cpp and PyTorch, in turns: tokens per second of a prompt and of decoding, batch 1, random weights
in the shape of TinyLlama-1.1B. Called by engine.sh.
  engine_side.py run OCKHAM LLAMA_PYTHON TORCH_VENV SCRATCH OUT.json   everything, ROUNDS (5) times, PROMPT (512) tokens
  engine_side.py llama FILE.gguf | quantize FROM TO TYPE | torch DIRECTORY bf16|int8   one measurement, of a process of its own
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROUNDS, PROMPT, TOKENS, THREADS = int(os.environ.get("ROUNDS", "5")), int(os.environ.get("PROMPT", "512")), 32, 2
# llama.cpp's type, and what of Ockham's is set beside it: at least its speed in fewer bytes, or a multiple of it.
PAIRS = [("BF16", "bf16"), ("Q8_0", "int8"), ("Q8_0", "int8, --fast"), ("Q4_0", "int4"), ("Q4_0", "int4, --fast"),
         ("Q4_0", "int4, half zeros"), ("Q4_0", "int4, half of the groups"), ("Q4_K_M", "int4"), ("Q3_K_M", "int3"), ("Q2_K", "int2")]
PAIRS = [pair for pair in PAIRS if pair[0] in os.environ.get("KINDS", "BF16 Q8_0 Q4_0 Q4_K_M Q3_K_M Q2_K").split()]
# Options of Ockham's formats; heads of integers are int8, near what llama.cpp's types give theirs.
FORMATS = {"bf16": ["--format", "bf16", "--head", "bf16"],
           **{kind: ["--format", kind, "--head", "int8"] for kind in ("int8", "int4", "int3", "int2")},
           **{f"{kind}, --fast": ["--format", kind, "--head", "int8", "--fast"] for kind in ("int8", "int4")},
           "int4, half zeros": ["--format", "int4", "--sparsity", "0.5", "--head", "int8"],
           "int4, half of the groups": ["--format", "gqsa", "--head", "int8"]}


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_llama(path):
    import llama_cpp
    model = llama_cpp.Llama(path, n_ctx=PROMPT + TOKENS + 8, n_batch=512, n_threads=THREADS, n_threads_batch=THREADS,
                            verbose=False)
    ids = [1 + (i * 7919) % 30000 for i in range(PROMPT)]
    model.eval(ids[:16])
    model.reset()
    prompt = timed(lambda: model.eval(ids))

    def decode():
        for token in ids[:TOKENS]:
            model.eval([token])
    return {"prefill": PROMPT / prompt, "decode": TOKENS / timed(decode), "bytes": os.path.getsize(path)}


def quantize(source, target, kind):
    import llama_cpp
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    parameters.nthread = THREADS
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), parameters) != 0:
        sys.exit(f"{source}: llama.cpp does not make {kind} of it")
    return {"bytes": os.path.getsize(target)}


def measure_torch(directory, kind):
    import torch
    import transformers
    torch.set_num_threads(THREADS)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.bfloat16 if kind == "bf16" else torch.float32).eval()
    if kind == "int8":
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    ids = torch.randint(1, 30000, (1, PROMPT))
    with torch.inference_mode():
        model(ids[:, :16])
        return {"prefill": PROMPT / timed(lambda: model(ids, logits_to_keep=1))}


def measure(command, environment=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False,
                          env=dict(os.environ, **(environment or {})))
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout)


def measure_ockham(program):
    figures = {}
    for kind in dict.fromkeys(ours for _, ours in PAIRS):
        result = measure([program, "bench", "--random", "tinyllama-1.1b", *FORMATS[kind], "--prompt", PROMPT, "--batch", 1, "--rounds", 1,
                          "--tokens", TOKENS, "--threads", THREADS, "--json", "--quiet"])
        model = result["models"][0]
        cells = {cell["phase"]: cell for cell in model["cells"]}
        figures[kind] = {"bytes": model["packed_bytes"], "unit": model["multiply_unit"]}
        for phase in ("prefill", "decode"):
            figures[kind][phase] = cells[phase]["tokens_per_s"]["median"]
            figures[kind][phase + "_share"] = cells[phase]["share"]["median"]
        if cells["prefill"]["vector_share"]:
            figures[kind]["vector_share"] = cells["prefill"]["vector_share"]["median"]
    return figures


def main():
    if sys.argv[1] != "run":
        work = {"llama": measure_llama, "quantize": quantize, "torch": measure_torch}[sys.argv[1]]
        print(json.dumps(work(*sys.argv[2:])))
        return
    program, python, torch_venv, scratch, out = (pathlib.Path(word).absolute() for word in sys.argv[2:7])
    own = pathlib.Path(__file__).resolve()
    files = make_files(program, python, torch_venv, scratch, own)
    results = begin_or_go_on(program, out)
    for turn in range(len(results["rounds"]), ROUNDS):
        results["ockham"].append(measure_ockham(program))
        for kind, path in files.items():
            results["llama"].setdefault(kind, []).append(measure([python, own, "llama", path]))
        for kind in ("bf16", "int8") if (torch_venv / "complete").exists() else ():
            results["torch"].setdefault(kind, []).append(
                measure([torch_venv / "bin/python", own, "torch", scratch / "whole", kind],
                        {"LD_LIBRARY_PATH": str(torch_venv / "stubs")}))
        results["rounds"].append({"load": os.getloadavg()[0]})
        part = out.with_suffix(".part")
        part.write_text(json.dumps(results, indent=1) + "\n")
        part.rename(out)
        print(f"  round {turn + 1} of {ROUNDS}", flush=True)


def begin_or_go_on(program, out):
    """Whole rounds of an interrupted run with the same program and settings are kept."""
    settings = {"prompt": PROMPT, "threads": THREADS, "pairs": [list(pair) for pair in PAIRS], "program": program.stat().st_mtime}
    if out.exists():
        earlier = json.loads(out.read_text())
        if all(earlier.get(key) == value for key, value in settings.items()) and len(earlier["rounds"]) < ROUNDS:
            print(f"  going on after round {len(earlier['rounds'])}", flush=True)
            return earlier
    return {**settings, "rounds": [], "ockham": [], "llama": {}, "torch": {}}


def make_files(program, python, torch_venv, scratch, own):
    """The random model as llama.cpp's types, made once."""
    model = scratch / "whole"
    if not (model / "config.json").exists():
        environment = dict(os.environ, LD_LIBRARY_PATH=str(torch_venv / "stubs"))
        subprocess.run([torch_venv / "bin/python", own.parent / "make_model.py", model, "22"], check=True, env=environment,
                       capture_output=True)
    files = {kind: scratch / f"whole-{kind}.gguf" for kind in dict.fromkeys(theirs for theirs, _ in PAIRS)}
    whole = scratch / "whole-BF16.gguf"
    if not whole.exists():
        subprocess.run([program, "convert", model, whole, "--to", "gguf", "--quiet"], check=True)
    for kind, path in files.items():
        if not path.exists():
            part = path.with_suffix(".part")
            measure([python, own, "quantize", whole, part, kind])
            part.rename(path)
    return files


main()
