#!/usr/bin/env python3
"""Times Ockham and llmcompressor in turns on one checkpoint and writes everything measured to a JSON file, after every
measurement. Called by bench_peers.sh.
  bench_peers.py PEERS_BENCH VENV SCRATCH OUT.json
Settings from the environment: SAMPLES (32), AWQ_SAMPLES (8), ROUNDS (3), METHODS, DTYPES (float32 bfloat16), THREADS (2).
"""
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
BENCH, VENV, SCRATCH, OUT = (pathlib.Path(word).resolve() for word in sys.argv[1:5])
PYTHON = VENV / "bin/python"


def setting(name, fallback):
    return os.environ.get(name, fallback)


SAMPLES, ROUNDS, THREADS = int(setting("SAMPLES", "32")), int(setting("ROUNDS", "3")), setting("THREADS", "2")
METHODS, DTYPES = setting("METHODS", "wanda sparsegpt gptq awq").split(), setting("DTYPES", "float32 bfloat16").split()
SAMPLES_OF = {"awq": int(setting("AWQ_SAMPLES", str(min(SAMPLES, 8))))}
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS=THREADS, MKL_NUM_THREADS=THREADS, OMP_WAIT_POLICY="passive", HF_HUB_OFFLINE="1",
                   TQDM_DISABLE="1", TOKENIZERS_PARALLELISM="false", TRANSFORMERS_VERBOSITY="error",
                   HF_HUB_DISABLE_PROGRESS_BARS="1", LLM_COMPRESSOR_LOG_LEVEL="ERROR")


def measure(*command, stubs=False):
    """The last JSON object that a program prints, with the load of the machine when it began and ended."""
    environment = dict(ENVIRONMENT, LD_LIBRARY_PATH=str(VENV / "stubs")) if stubs else ENVIRONMENT
    load = [os.getloadavg()[0]]
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, check=False)
    _, begin, rest = ("\n" + done.stdout).rpartition("\n{")  # nested objects are indented
    if done.returncode != 0 or not begin:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    figures = json.loads("{" + rest)
    figures["load"] = load + [os.getloadavg()[0]]
    return figures


def main():
    results = {"samples": SAMPLES, "tokens": 512, "threads": int(THREADS), "methods": {}, "solves": {}, "parts": []}
    results["packages"] = measure(PYTHON, "-c", "import json, llmcompressor, torch; print(json.dumps({'llmcompressor': "
                                  "llmcompressor.__version__, 'torch': torch.__version__}))", stubs=True)

    def keep(place, name, figures):
        place.setdefault(name, []).append(figures)
        OUT.write_text(json.dumps(results, indent=1) + "\n")
        print(f"  {name}: {figures['wall']:.1f} s, {figures['processor']:.1f} s of processor time", flush=True)

    model = SCRATCH / "model"
    wanted = sorted({SAMPLES_OF.get(method, SAMPLES) for method in METHODS})
    if not all((SCRATCH / f"ids-{samples}.npy").exists() for samples in wanted):
        subprocess.run([PYTHON, HERE / "peers/make_model.py", model, "3", *map(str, wanted)], check=True,
                       env=dict(ENVIRONMENT, LD_LIBRARY_PATH=str(VENV / "stubs")), capture_output=True)
    for turn in range(ROUNDS):
        parts = measure(BENCH, "parts", model)
        results["parts"].append(parts)
        print(f"turn {turn + 1}: {parts}", flush=True)
        for method in ("sparsegpt", "gptq"):
            for columns in (2048, 5632):
                place = results["solves"].setdefault(f"{method} 2048 x {columns}", {})
                keep(place, "ockham", measure(BENCH, "solve", method, columns))
                keep(place, "authors", measure(PYTHON, HERE / "peers/column_loop.py", method, columns, stubs=True))
        for method in METHODS:
            samples = SAMPLES_OF.get(method, SAMPLES)
            ids, place = SCRATCH / f"ids-{samples}.npy", results["methods"].setdefault(method, {"samples": samples})
            print(method, flush=True)
            keep(place, "ockham", measure(BENCH, "compress", model, method, ids, SCRATCH / "out"))
            results["machine"] = place["ockham"][-1]["machine"]
            for dtype in DTYPES:
                keep(place, dtype, measure(PYTHON, HERE / "peers/llmcompressor_side.py", model, method, ids, dtype,
                                           stubs=True))
    OUT.write_text(json.dumps(results, indent=1) + "\n")


main()
