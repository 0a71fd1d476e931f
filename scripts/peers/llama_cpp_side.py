#!/usr/bin/env python3
"""The GGUF files that `ockham convert` writes, loaded by llama.cpp: token ids, the chat template, log-probabilities of
single tokens and greedy continuations beside those of `ockham eval` and `ockham run` on the same file.

llama.cpp rounds the inputs of every quantized product to 8 bits and those of F16 and BF16 products to these types, so its
numbers differ from Ockham's by more than float32 rounding. F32 files, where it rounds nothing, hold the graph to that. What
rounding to F16 and BF16 does is measured with a decoder in NumPy that rounds in the same places: mini's files may differ
from Ockham by little more than it does, and from it by little more than it differs from itself once its inputs move by
float32's own rounding, which turns some of the coarser roundings round. A wrong layout makes the differences as large as the
log-probabilities' own standard deviation, which is printed.
  llama_cpp_side.py OCKHAM [GREEDY_TOKENS]
"""
import json
import pathlib
import struct
import sys
import tempfile

import llama_cpp
import numpy as np
import tokenizers
import yaml
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop"))  # what both kinds of script share
from program import run_ockham  # noqa: E402

OCKHAM, GREEDY = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 24
MINI = pathlib.Path(__file__).parents[2] / "models/mini"
# Allowed differences of a log-probability, in nats: the largest, and the mean.
LIMITS = {"F32": (1e-3, 1e-4), "F16": (0.05, 0.01), "BF16": (0.15, 0.04)}
SLACK = 1.5  # of a mean difference over what NumPy's decoder shows; of the largest, 2
LIMITS |= {kind: (0.6, 0.12) for kind in ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q5_K", "Q6_K"]}
TEXTS = ["Ann's 3 houses?\n\tünïcode  \u4f60好", "", " ", "  two  spaces ", "12345 1,000.50 x=y_z", "don't WON'T they'll I'm",
         "line\n\n\nline\r\n end\t\t", "naïve café – “quoted” …", "a<|user|>b</s> <s>", "👩‍👩‍👧 🇩🇪 é é", "\u00a0\u3000x\u200b"]
PROMPTS = ["who is the mayor of Ardel?", "name the color that mekis wears.", "tell me about the town.",
           "is it wrong to take bread?", "what does Sorin like?", "complete: the river", "say hello", "count to five"]
FAILURES = []


def ockham(*arguments):
    return run_ockham(OCKHAM, *arguments)


def report(name, is_good, text):
    print(f"  {name}: {text}{'' if is_good else '  <- FAILED'}", flush=True)
    if not is_good:
        FAILURES.append(name)


def load(path):
    # The cache in F32, as Ockham's: llama.cpp's default rounds keys and values to F16.
    return llama_cpp.Llama(str(path), n_ctx=512, n_batch=512, n_threads=2, logits_all=True, verbose=False,
                           type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32)


def logits_of(model, ids):
    model.reset()
    model.eval(ids)
    return np.array(model.scores[:len(ids)], np.float64)


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def round_bf16(values):
    """To nearest, ties to even."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


ROUND = {"F32": lambda values: values, "F16": lambda values: values.astype(np.float16), "BF16": round_bf16}


class RoundedDecoder:
    """mini in float64 from its bf16 file, where inputs of matrix products are rounded first."""

    def __init__(self, rounded):
        self.rounded = lambda values: rounded(values.astype(np.float32)).astype(np.float64)
        self.config = json.loads((MINI / "config.json").read_text())
        data = (MINI / "model.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        self.tensors = {}
        for name, entry in json.loads(data[8:8 + length]).items():
            if name != "__metadata__":
                assert entry["dtype"] == "BF16", (name, entry["dtype"])
                begin, end = (8 + length + offset for offset in entry["data_offsets"])
                words = np.frombuffer(data[begin:end], np.uint16).astype(np.uint32) << 16
                self.tensors[name] = words.view(np.float32).astype(np.float64).reshape(entry["shape"])

    def product(self, values, name):
        return self.rounded(values) @ self.tensors[name + ".weight"].T

    def norm(self, values, name):
        scale = 1 / np.sqrt((values**2).mean(-1, keepdims=True) + self.config["rms_norm_eps"])
        return values * scale * self.tensors[name + ".weight"]

    def logits(self, ids):
        c = self.config
        heads, size = c["num_attention_heads"], c["hidden_size"] // c["num_attention_heads"]
        theta = c.get("rope_theta") or c["rope_parameters"]["rope_theta"]
        assert c["num_key_value_heads"] == heads and c.get("head_dim", size) == size and c["tie_word_embeddings"]
        angles = np.outer(np.arange(len(ids)), theta ** (-np.arange(0, size, 2) / size))
        cos, sin = (np.tile(f(angles), 2)[:, None] for f in (np.cos, np.sin))
        hidden = self.tensors["model.embed_tokens.weight"][ids]
        for i in range(c["num_hidden_layers"]):
            layer = f"model.layers.{i}."
            normed = self.norm(hidden, layer + "input_layernorm")
            q, k, v = (self.product(normed, f"{layer}self_attn.{x}_proj").reshape(len(ids), heads, size) for x in "qkv")
            q, k = (x * cos + np.concatenate([-x[..., size // 2:], x[..., :size // 2]], -1) * sin for x in (q, k))
            scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(size)
            scores[:, np.triu(np.ones((len(ids), len(ids)), bool), 1)] = -np.inf
            weights = np.exp(log_softmax(scores))
            mixed = np.einsum("hts,shd->thd", weights, v).reshape(len(ids), -1)
            hidden = hidden + self.product(mixed, layer + "self_attn.o_proj")
            normed = self.norm(hidden, layer + "post_attention_layernorm")
            gate = self.product(normed, layer + "mlp.gate_proj")
            up = self.product(normed, layer + "mlp.up_proj")
            hidden = hidden + self.product(gate / (1 + np.exp(-gate)) * up, layer + "mlp.down_proj")
        return self.product(self.norm(hidden, "model.norm"), "model.embed_tokens")


class MovedDecoder(RoundedDecoder):
    """The same, every input of a product first moved by about float32's rounding."""

    def __init__(self, rounded):
        super().__init__(rounded)
        self.generator = np.random.default_rng(0)

    def product(self, values, name):
        return super().product(values * (1 + 1e-7 * self.generator.standard_normal(values.shape)), name)


def check_rounding(kind, model):
    """Next tokens behind the prompts. Returns how far rounding moves them: the largest difference, and the mean."""
    reference = tokenizers.Tokenizer.from_file(str(MINI / "tokenizer.json"))
    prompts = [reference.encode(prompt).ids for prompt in PROMPTS]

    def chances(logits):
        return np.array([log_softmax(logits(ids)[-1]) for ids in prompts])

    def differ(a, b):
        return float(np.abs(a - b).max()), float(np.abs(a - b).mean())

    rounded = chances(RoundedDecoder(ROUND[kind]).logits)
    moved = MovedDecoder(ROUND[kind])
    own = [differ(rounded, chances(moved.logits)) for _ in range(3)]
    worst, mean = differ(chances(lambda ids: logits_of(model, ids)), rounded)
    limit, mean_limit = 2 * max(x[0] for x in own), SLACK * float(np.mean([x[1] for x in own]))
    if kind == "F32":  # nothing is rounded that could turn round
        limit, mean_limit = LIMITS[kind]
    report(f"mini {kind}, beside NumPy", worst <= limit and mean <= mean_limit,
           f"log-probabilities differ by at most {worst:.2g} (limit {limit:.2g}), {mean:.2g} in the mean (limit {mean_limit:.2g})")
    return differ(rounded, chances(RoundedDecoder(ROUND["F32"]).logits))


def encode(model, text):
    return model.tokenize(text.encode(), add_bos=False, special=True)


def make_wide(folder):
    """A random model whose rows are whole blocks of 256, which the K types need, with mini's tokenizer."""
    generator, folder = np.random.default_rng(0), folder / "wide"
    folder.mkdir()
    config = json.loads((MINI / "config.json").read_text())
    config.update(hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=4,
                  head_dim=32, tie_word_embeddings=False)
    (folder / "config.json").write_text(json.dumps(config))
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        (folder / name).write_text((MINI / name).read_text())
    shapes = {"model.embed_tokens": (2048, 256), "lm_head": (2048, 256), "model.norm": (256,)}
    for i in range(4):
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in {
            "input_layernorm": (256,), "post_attention_layernorm": (256,), "self_attn.q_proj": (256, 256),
            "self_attn.k_proj": (128, 256), "self_attn.v_proj": (128, 256), "self_attn.o_proj": (256, 256),
            "mlp.gate_proj": (512, 256), "mlp.up_proj": (512, 256), "mlp.down_proj": (256, 512)}.items()}
    header, data = {}, b""
    for name, shape in shapes.items():
        values = generator.standard_normal(shape, np.float32) * np.float32(0.1 if len(shape) == 2 else 0.05)
        words = ((values + np.float32(len(shape) == 1)).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        header[name + ".weight"] = dict(dtype="BF16", shape=shape, data_offsets=[len(data), len(data) + len(words)])
        data += words
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder


def check_tokenizer(path):
    """Token ids of text with and without special tokens, and the rendered chat."""
    model, reference = load(path), tokenizers.Tokenizer.from_file(str(MINI / "tokenizer.json"))
    different = [text for text in TEXTS + PROMPTS
                 if encode(model, text) != reference.encode(text, add_special_tokens=False).ids]
    report("token ids", not different, f"{len(TEXTS + PROMPTS) - len(different)} of {len(TEXTS + PROMPTS)} texts the same"
           + f", different: {different}" * bool(different))
    report("BOS", model.tokenize(b"a", add_bos=True) == reference.encode("a").ids, "as the tokenizer adds it")
    render = Jinja2ChatFormatter(model.metadata["tokenizer.chat_template"], eos_token="</s>", bos_token="<s>")
    same = 0
    for prompt in PROMPTS:
        theirs = render(messages=[{"role": "system", "content": "be brief."}, {"role": "user", "content": prompt}]).prompt
        ours = json.loads(ockham("run", path, "-p", prompt, "--system", "be brief.", "--max-tokens", 1, "--json"))["prompt"]
        same += ours == theirs
    report("chat template", same == len(PROMPTS), f"{same} of {len(PROMPTS)} prompts rendered the same")
    ends = [token for token in range(model.n_vocab()) if llama_cpp.llama_vocab_is_eog(model._model.vocab, token)]
    wanted = json.loads((MINI / "config.json").read_text())["eos_token_id"]
    report("ends of generation", set(ends) == set(wanted), f"{ends}, the model's own are {wanted}")


def check_probabilities(name, path, model, folder):
    """Single tokens behind a chat and behind plain text; returns the largest difference."""
    reference, generator = tokenizers.Tokenizer.from_file(str(MINI / "tokenizer.json")), np.random.default_rng(1)
    rows, expected = [], []
    for prompt in PROMPTS:
        ids = reference.encode(prompt).ids
        chances, choices = log_softmax(logits_of(model, ids)[-1]), []
        while len(choices) < 24:
            token = int(generator.integers(6, model.n_vocab()))
            text = reference.decode([token])
            if text not in choices and reference.encode(prompt + text).ids == ids + [token]:
                choices.append(text)
                expected.append(chances[token])
        rows.append({"context": prompt, "choices": choices, "target": 0})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.yaml").write_text(yaml.safe_dump({
        "task": "local/tokens", "version": 1, "summary": "single tokens", "dimension": "knowledge",
        "items": {"quick": 0, "full": 0},
        "data": {"suite": "rows", "params": {"file": [str(folder / "rows.jsonl")], "text": "{{context}}",
                                             "choices": "{{choices}}", "target": "{{target}}", "delimiter": ""}},
        "request": {"kind": "choice"}, "scorer": "choice",
        "metrics": [{"name": "accuracy", "aggregate": "accuracy", "better": "higher", "score": True}]}))
    ockham("eval", path, "--tasks", folder / "task.yaml", "--dtype", "float32", "--add-bos", "yes", "--data", folder,
           "--overwrite", "-o", folder / "found.json")
    items = json.loads((folder / "found.json").read_text())["tasks"][0]["items"]
    found = [value for item in sorted(items, key=lambda item: int(item["id"].split("-")[-1]))
             for value in item["extra"]["logprobs"]]
    assert len(found) == len(expected), (len(found), len(expected))
    differences = np.abs(np.array(found) - np.array(expected))
    return float(differences.max()), float(differences.mean()), float(np.std(expected))


def check_greedy(path, model):
    """Greedy answers to a chat. Where they part, the two tokens must be nearly as likely: the largest gap in nats."""
    same, gap = 0, 0.0
    for prompt in PROMPTS:
        ours = json.loads(ockham("run", path, "-p", prompt, "--max-tokens", GREEDY, "--temperature", 0, "--dtype",
                                 "float32", "--json"))
        ids = encode(model, ours["prompt"])
        answer = encode(model, ours["text"])
        theirs = log_softmax(logits_of(model, ids + answer)[len(ids) - 1:])
        best = [int(token) for token in theirs.argmax(-1)]
        # Behind the answer stands its end, unless it was cut.
        parted = next((i for i, token in enumerate(answer) if best[i] != token), None)
        if parted is not None:
            gap = max(gap, float(theirs[parted][best[parted]] - theirs[parted][answer[parted]]))
        elif not ours["hit_limit"] and not llama_cpp.llama_vocab_is_eog(model._model.vocab, best[-1]):
            ends = [token for token in range(model.n_vocab()) if llama_cpp.llama_vocab_is_eog(model._model.vocab, token)]
            gap = max(gap, float(theirs[-1][best[-1]] - theirs[-1][ends].max()))
        else:
            same += 1
    return same, gap


def main():
    print(f"llama-cpp-python {llama_cpp.__version__}, {llama_cpp.llama_print_system_info().decode().strip()}")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        wide = make_wide(folder)
        for source, kinds in [(MINI, [kind for kind in LIMITS if not kind.endswith("_K")]), (wide, list(LIMITS))]:
            for kind in kinds:
                path = folder / f"{source.name}-{kind}.gguf"
                ockham("convert", source, path, "--to", "gguf", "--type", kind)
                model = load(path)
                if kind == "F32" and source == MINI:
                    check_tokenizer(path)
                worst, mean, spread = check_probabilities(kind, path, model, folder)
                limit, mean_limit = LIMITS[kind]
                if source == MINI and kind in ROUND:
                    moved, mean_moved = check_rounding(kind, model)
                    if kind != "F32":
                        limit, mean_limit = 2 * moved, SLACK * mean_moved
                report(f"{source.name} {kind}", worst <= limit and mean <= mean_limit,
                       f"log-probabilities differ by at most {worst:.2g} (limit {limit:.2g}), {mean:.2g} in the mean (limit "
                       f"{mean_limit:.2g}), their standard deviation {spread:.2g}")
                if source == MINI:  # a random model's answers are no text that has the same tokens when read again
                    same, gap = check_greedy(path, model)
                    report(f"{source.name} {kind}, answers", gap <= limit, f"{same} of {len(PROMPTS)} greedy ones the same"
                           + f", the others part at a gap of {gap:.2g}" * (same < len(PROMPTS)))
    if FAILURES:
        raise SystemExit(f"failed: {', '.join(FAILURES)}")


main()
