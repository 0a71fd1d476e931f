#!/usr/bin/env python3
"""Single layers with zeros at random places in DeepSparse and in Ockham's kernels, in turns: processes that are ready measure 0.3 s
each when asked, ROUNDS (5) times. DeepSparse runs as two processes, since the plan that one makes can go wrong. With REALTIME=1 (for
the administrator) nobody else's work gets between while a process measures. Called by deepsparse.sh.
  deepsparse_side.py run KERNELS_BENCH SCRATCH OUT.json    everything; LEVELS, TOKENS, KINDS restrict it
  deepsparse_side.py serve FILE.onnx TOKENS                one process of DeepSparse
  deepsparse_side.py graph FILE.onnx KIND TOKENS SPARSITY
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

THREADS, HIDDEN, INNER, SECONDS = 2, 4096, 11008, 0.3

# Threads that move about make DeepSparse wait for time slices: 56 ms for a product of 4. Huge pages are its option.
DEEPSPARSE = [{"NM_BIND_THREADS_TO_CORES": "1"}, {"NM_BIND_THREADS_TO_CORES": "1", "NM_USE_HUGE_PAGE": "1"}]


def setting(name, fallback):
    return os.environ.get(name, fallback).split()


def random_weights(rng, inputs, outputs, sparsity):
    weights = rng.standard_normal((inputs, outputs), dtype=numpy.float32)
    if sparsity > 0:
        weights[rng.random(weights.shape, dtype=numpy.float32) < sparsity] = 0
    return weights


class Block:
    """down(silu(gate x) * up x) as quantized exporters write it: inputs of 8 bits without sign, weights of 8 bits, one scale."""

    def __init__(self, sparsity):
        self.rng, self.sparsity, self.nodes, self.constants = numpy.random.default_rng(0), sparsity, [], []

    def constant(self, name, value, kind):
        self.constants.append(numpy_helper.from_array(numpy.array(value, kind), name))
        return name

    def node(self, kind, inputs, output):
        self.nodes.append(helper.make_node(kind, inputs, [output]))
        return output

    def steps(self, name, largest):
        """Scale and zero of numbers between -largest and largest."""
        return [self.constant(name + "_scale", largest / 127, numpy.float32), self.constant(name + "_zero", 128, numpy.uint8)]

    def product(self, name, x, x_steps, shape, largest):
        weights = random_weights(self.rng, *shape, self.sparsity)
        codes = self.constant(name, numpy.clip(numpy.rint(weights * 32), -127, 127), numpy.int8)
        scales = [self.constant(name + "_weight_scale", 1 / 32, numpy.float32), self.constant(name + "_weight_zero", 0, numpy.int8)]
        out = self.steps(name + "_out", largest)
        rounded = self.node("QLinearMatMul", [x, *x_steps, codes, *scales, *out], name + "_rounded")
        return self.node("DequantizeLinear", [rounded, *out], name + "_values")

    def build(self):
        x_steps = self.steps("x", 4)
        x = self.node("QuantizeLinear", ["x", *x_steps], "x_rounded")
        gate = self.product("gate", x, x_steps, (HIDDEN, INNER), 256)
        up = self.product("up", x, x_steps, (HIDDEN, INNER), 256)
        silu = self.node("Mul", [gate, self.node("Sigmoid", [gate], "share")], "silu")
        inner_steps = self.steps("inner", 16384)
        inner = self.node("QuantizeLinear", [self.node("Mul", [silu, up], "inner"), *inner_steps], "inner_rounded")
        self.node("Identity", [self.product("down", inner, inner_steps, (INNER, HIDDEN), 1048576)], "y")
        return self.nodes, self.constants


def write_graph(path, kind, tokens, sparsity):
    tokens, sparsity = int(tokens), float(sparsity)
    if kind == "float32":
        width = INNER
        constants = [numpy_helper.from_array(random_weights(numpy.random.default_rng(0), INNER, HIDDEN, sparsity), "w")]
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    else:
        width = HIDDEN
        nodes, constants = Block(sparsity).build()
    graph = helper.make_graph(nodes, kind, [helper.make_tensor_value_info("x", TensorProto.FLOAT, [tokens, width])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [tokens, HIDDEN])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


def serve(path, tokens):
    import deepsparse
    engine = deepsparse.compile_model(path, batch_size=int(tokens), num_cores=THREADS)
    width = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[1].dim_value
    x = numpy.random.default_rng(1).standard_normal((int(tokens), width), dtype=numpy.float32)
    y = engine.run([x])[0]
    print(json.dumps({"version": deepsparse.__version__, "isa": deepsparse.cpu.cpu_architecture()["isa"],
                      "largest": float(numpy.abs(y).max())}), flush=True)
    for _ in sys.stdin:
        times = []
        begin = time.perf_counter()
        while time.perf_counter() - begin < SECONDS or len(times) < 5:
            start = time.perf_counter()
            engine.run([x])
            times.append(1e3 * (time.perf_counter() - start))
        print(json.dumps({"least": min(times), "median": statistics.median(times), "calls": len(times)}), flush=True)


class Program:
    """A process that measures when it is told to."""

    def __init__(self, command, environment=None):
        self.command = [str(word) for word in command]
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.DEVNULL, env=dict(os.environ, **(environment or {})))
        self.about = None

    def wait_until_ready(self):
        self.about = self.read()
        if os.environ.get("REALTIME") == "1":
            for thread in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
                os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))

    def read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        return sys.exit(f"{' '.join(self.command)} ended with {self.process.wait()}")

    def measure(self, what=""):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.read()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def measure_layer(bench, scratch, kind, tokens, sparsity, rounds):
    own = pathlib.Path(__file__).resolve()
    graph = scratch / "layer.onnx"
    subprocess.run([sys.executable, own, "graph", graph, kind, str(tokens), str(sparsity)], check=True)
    theirs = [Program([sys.executable, own, "serve", graph, tokens], environment) for environment in DEEPSPARSE]
    ours = Program([bench, "layer", kind, tokens, sparsity])
    for program in (*theirs, ours):
        program.wait_until_ready()
    graph.unlink()
    found = {"kind": kind, "tokens": tokens, "sparsity": sparsity, "about": [ours.about, theirs[0].about],
             "deepsparse": [[], []], "dense": [], "sparse": []}
    for _ in range(rounds):
        for which in (0, 1):
            found["deepsparse"][which].append(theirs[which].measure())
            for what in ("sparse", "dense"):
                found[what].append(ours.measure(what))
    for program in (*theirs, ours):
        program.end()
    found["load"] = os.getloadavg()[0]
    return found


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, {os.cpu_count()} processors"
    return "?"


def main():
    if sys.argv[1] != "run":
        {"graph": write_graph, "serve": serve}[sys.argv[1]](*sys.argv[2:])
        return
    bench, scratch, out = (pathlib.Path(word).absolute() for word in sys.argv[2:5])
    rounds = int(os.environ.get("ROUNDS", "5"))
    results = {"rounds": rounds, "threads": THREADS, "machine": processor(), "is_realtime": os.environ.get("REALTIME") == "1",
               "layers": []}
    for kind in setting("KINDS", "float32 int8"):
        for tokens in map(int, setting("TOKENS", "1 16")):
            for sparsity in map(float, setting("LEVELS", "0 0.5 0.6 0.7 0.8 0.9")):
                layer = measure_layer(bench, scratch, kind, tokens, sparsity, rounds)
                results["layers"].append(layer)
                out.write_text(json.dumps(results, indent=1) + "\n")
                sides = layer["sparse"], layer["dense"], sum(layer["deepsparse"], [])
                least = [min(run["least"] for run in side) for side in sides]
                print("  {} {:2} tokens {:3.0f} %: {:.2f} ms, dense {:.2f}, DeepSparse {:.2f}".format(
                    kind, tokens, 100 * sparsity, *least), flush=True)


main()
