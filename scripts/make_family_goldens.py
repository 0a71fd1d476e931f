#!/usr/bin/env python3
"""Writes tests/model/families/*.json: tiny models of every family with logits by Hugging Face transformers.

Needs torch and transformers (the stored files are by transformers 5.24 on CPU):
    python3 scripts/make_family_goldens.py [NAME ...]
A file holds the config.json and the tensor names and shapes that save_pretrained writes, and logits. The weights follow
from a formula that tests/model/families_test.cc repeats: tensor t of the sorted names has the values
s = (1664525 s + 1013904223) mod 2^32, shift + scale * (s / 2^32 - 0.5), starting at s = t + 1, row by row.
"""
import json
import pathlib
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "model" / "families"
VOCABULARY, TOKENS = 32, 24
SIZES = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, vocab_size=VOCABULARY,
             max_position_embeddings=64)
GROUPED = dict(SIZES, num_key_value_heads=2)


def rope(kind, theta=1000.0, **settings):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=theta, **settings))


MODELS = {
    "llama": ("llama", dict(GROUPED, attention_bias=True, mlp_bias=True)),
    "llama-linear": ("llama", dict(GROUPED, **rope("linear", factor=2.0))),
    "llama-yarn": ("llama", dict(GROUPED, **rope("yarn", factor=4.0, original_max_position_embeddings=16))),
    "llama-dynamic": ("llama", dict(GROUPED, **rope("dynamic", factor=2.0)) | dict(max_position_embeddings=16, head_dim=8)),
    "mistral": ("mistral", dict(GROUPED, sliding_window=8, head_dim=8)),
    "qwen2": ("qwen2", dict(GROUPED, use_sliding_window=True, sliding_window=8, max_window_layers=1)),
    "qwen3": ("qwen3", dict(GROUPED, head_dim=8, tie_word_embeddings=True)),
    "phi3": ("phi3", dict(GROUPED, sliding_window=8, pad_token_id=0, **rope("default", partial_rotary_factor=0.5))),
    "phi3-longrope": ("phi3", dict(GROUPED, pad_token_id=0, original_max_position_embeddings=16, **rope(
        "longrope", short_factor=[1.0, 1.25], long_factor=[2.0, 3.5], original_max_position_embeddings=16))),
    "gemma2": ("gemma2", dict(GROUPED, head_dim=8, query_pre_attn_scalar=12, sliding_window=8)),
    "gemma3": ("gemma3_text", dict(GROUPED, num_hidden_layers=3, head_dim=8, query_pre_attn_scalar=12, sliding_window=8,
                                   layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    "nemotron": ("nemotron", dict(GROUPED, attention_bias=True)),
    "opt": ("opt", dict(hidden_size=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=4, vocab_size=VOCABULARY,
                        max_position_embeddings=64, word_embed_proj_dim=16)),
    "opt-post-norm": ("opt", dict(hidden_size=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=4,
                                  vocab_size=VOCABULARY, max_position_embeddings=64, word_embed_proj_dim=8,
                                  do_layer_norm_before=False)),
    "gpt_neox": ("gpt_neox", dict(SIZES, num_attention_heads=2)),
    "gpt_neox-serial": ("gpt_neox", dict(SIZES, use_parallel_residual=False, **rope("default", partial_rotary_factor=0.5))),
    "gpt2": ("gpt2", dict(n_embd=16, n_layer=2, n_head=4, n_positions=64, vocab_size=VOCABULARY)),
    "mixtral": ("mixtral", dict(GROUPED, num_local_experts=4, num_experts_per_tok=2)),
    "qwen2_moe": ("qwen2_moe", dict(GROUPED, moe_intermediate_size=12, shared_expert_intermediate_size=20, num_experts=4,
                                    num_experts_per_tok=2, mlp_only_layers=[1])),
    "qwen3_moe": ("qwen3_moe", dict(GROUPED, head_dim=8, moe_intermediate_size=12, num_experts=4, num_experts_per_tok=2,
                                    norm_topk_prob=True)),
}


def is_norm(name):
    return "norm" in name or ".ln_" in name


def fill(shape, start, scale, shift):
    state, values = start, []
    for _ in range(torch.Size(shape).numel()):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(shift + scale * (state / 2**32 - 0.5))
    return torch.tensor(values, dtype=torch.float64).reshape(shape).float()


def make(name):
    model_type, settings = MODELS[name]
    config = transformers.AutoConfig.for_model(model_type, **settings)
    config.bos_token_id, config.eos_token_id = 1, 2
    # Norms that multiply by 1 + weight are centred on 0.
    centre = 0.0 if model_type.startswith(("gemma", "nemotron")) else 1.0
    with tempfile.TemporaryDirectory() as directory:
        transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(directory)
        path = pathlib.Path(directory) / "model.safetensors"
        stored, tensors = load_file(path), []
        for index, key in enumerate(sorted(stored)):
            shift = centre if is_norm(key) and key.endswith("weight") else 0.0
            scale = 0.5 if is_norm(key) or key.endswith("bias") else 1.0
            stored[key] = fill(stored[key].shape, index + 1, scale, shift)
            tensors.append({"name": key, "shape": list(stored[key].shape), "scale": scale, "shift": shift})
        save_file(stored, path, metadata={"format": "pt"})
        model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32,
                                                                  attn_implementation="eager").eval()
        written = json.loads((pathlib.Path(directory) / "config.json").read_text())
    ids = torch.tensor([[(7 * i + 3) % VOCABULARY for i in range(TOKENS)]])
    with torch.no_grad():
        logits = model(ids).logits[0].double()
    rows = {str(t): [round(float(v), 6) for v in logits[t]] for t in (0, TOKENS // 2, TOKENS - 1)}
    golden = {"transformers": transformers.__version__, "config": written, "tensors": tensors, "logits": rows,
              "sum_of_squares": float(logits.square().sum())}
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items()]
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(f"{name}: {len(tensors)} tensors, logits up to {float(logits.abs().max()):.2f}")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or MODELS:
        make(wanted)
