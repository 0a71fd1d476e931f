#!/usr/bin/env python3
"""Logits of a small made-up llama by Hugging Face transformers, for tests/model/reference_test.cc.

Needs torch and transformers; the numbers in the test were printed by transformers 5.23 on CPU. The weights follow from a
formula that the test repeats, so no file is stored: tensor t of the sorted names has the values
s = (1664525 s + 1013904223) mod 2^32, value s / 2^32 - 0.5, starting at s = t + 1, row by row; norms have 1 added.
"""
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__, "torch", torch.__version__)
config = LlamaConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    vocab_size=64, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False, attention_bias=True, mlp_bias=True,
    rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0, "original_max_position_embeddings": 16})
model = LlamaForCausalLM(config).float().eval()
state = model.state_dict()
for index, name in enumerate(sorted(state)):
    seed, values = index + 1, []
    for _ in range(state[name].numel()):
        seed = (1664525 * seed + 1013904223) % 2**32
        values.append(seed / 2**32 - 0.5 + (1 if "norm" in name else 0))
    state[name].copy_(torch.tensor(values, dtype=torch.float64).reshape(state[name].shape))
print(len(state), "tensors")
ids = torch.tensor([[(7 * i + 3) % 64 for i in range(24)]])
with torch.no_grad():
    logits = model(ids).logits[0].double()
for position in (0, 11, 23):
    print(position, [round(float(v), 5) for v in logits[position, :6]])
print("sum of squares", float(logits.square().sum()))
