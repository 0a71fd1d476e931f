#!/usr/bin/env python3
"""What `ockham convert` writes, read by others, against the dense weights that Ockham itself reads out of the same file.

compressed-tensors, int8 and fp8: transformers with the compressed-tensors package (logits) and its unpacking of the codes,
for llama and for families with fused projections. GGUF: the gguf package (names, shapes, values of every family), and
transformers with its own reader (logits). GPTQ and AWQ: NumPy from the byte layout, since their
packages do not install without a GPU.
"""
import json
import pathlib
import sys
import tempfile

import gguf
import numpy as np
import torch
import transformers
from program import run_ockham
from safetensors.torch import load_file

OCKHAM = sys.argv[1]
MINI = pathlib.Path(__file__).parents[2] / "models/mini"
SHAPE = dict(hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=4,
             vocab_size=320, max_position_embeddings=64, tie_word_embeddings=False, rope_theta=10000.0)
# Smallest models that llama.cpp's fixed settings allow.
SMALL = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, vocab_size=96,
             max_position_embeddings=64, tie_word_embeddings=False, pad_token_id=0)
GROUPED = dict(SMALL, num_key_value_heads=2)
GEMMA = dict(GROUPED, head_dim=256, tie_word_embeddings=True)
MIXTURE = dict(GROUPED, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
FAMILIES = {
    "llama": dict(GROUPED, attention_bias=True, mlp_bias=True,
                  rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
                                       high_freq_factor=4.0, original_max_position_embeddings=32)),
    "mistral": dict(GROUPED, sliding_window=None),
    "mixtral": dict(GROUPED, num_local_experts=4, num_experts_per_tok=2),
    "qwen2": GROUPED,
    "qwen3": dict(GROUPED, head_dim=128),  # head_dim and vocabulary: what transformers assumes where it does not look
    "phi3": dict(GROUPED, vocab_size=32064),
    "gemma2": dict(GEMMA, sliding_window=16),
    "gemma3_text": dict(GEMMA, sliding_window=16, num_hidden_layers=7),
    "nemotron": GROUPED,
    "gpt2": dict(n_embd=64, n_layer=2, n_head=4, n_positions=64, vocab_size=96),
    "gpt_neox": dict(SMALL, rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.25)),
    "qwen2_moe": dict(MIXTURE, shared_expert_intermediate_size=64),
    "qwen3_moe": dict(MIXTURE, head_dim=32, norm_topk_prob=True),
}
ARCHITECTURES = {"mistral": "llama", "mixtral": "llama", "gemma3_text": "gemma3", "gpt_neox": "gptneox",
                 "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe"}
FAILURES = []


def ockham(*arguments):
    return run_ockham(OCKHAM, *arguments)


def check(name, error, limit):
    print(f"  {name}: {error:.3g} (limit {limit:g})")
    if not error <= limit:
        FAILURES.append(name)


def dense_of(model, folder, name):
    """The weights as Ockham reads them."""
    ockham("convert", model, folder / name, "--to", "dense", "--overwrite")
    return load_file(folder / name / "model.safetensors")


def largest(a, b):
    assert a.keys() == b.keys(), sorted(a.keys() ^ b.keys())
    return max(float((a[k].float() - b[k].float()).abs().max()) for k in a)


def unpack_dense(words, bits, count):
    """[lines, words] int32 to codes [lines, count]: one bit string, low bits first."""
    octets = np.ascontiguousarray(words).view(np.uint8).reshape(words.shape[0], -1)
    stream = np.unpackbits(octets, axis=1, bitorder="little")[:, :count * bits].reshape(words.shape[0], count, bits)
    return (stream.astype(np.int32) << np.arange(bits)).sum(2)


def gptq_weight(tensors, prefix, bits, rows, columns, adds_one):
    codes = unpack_dense(tensors[prefix + ".qweight"].numpy().T.copy(), bits, columns).T  # [in, out]
    zeros = unpack_dense(tensors[prefix + ".qzeros"].numpy(), bits, rows) + (1 if adds_one else 0)
    index = tensors[prefix + ".g_idx"].numpy()
    scales = tensors[prefix + ".scales"].float().numpy()
    return (scales[index] * (codes - zeros[index])).T


def awq_weight(tensors, prefix, group):
    order = [0, 4, 1, 5, 2, 6, 3, 7]

    def unpack(words):
        fields = (words.astype(np.uint32)[:, :, None] >> (4 * np.array(order, np.uint32))) & 15
        return fields.reshape(words.shape[0], -1).astype(np.int32)

    codes, zeros = unpack(tensors[prefix + ".qweight"].numpy()), unpack(tensors[prefix + ".qzeros"].numpy())
    scales = tensors[prefix + ".scales"].float().numpy()
    return (np.repeat(scales, group, 0) * (codes - np.repeat(zeros, group, 0))).T


def linears(dense):
    return [k[:-len(".weight")] for k in dense if "_proj" in k]


def check_gptq_awq(source, folder):
    for to, extra, bits in [("gptq", [], 4), ("gptq", ["--bits", 8], 8), ("gptq", ["--bits", 3], 3),
                            ("gptq_v2", ["--asymmetric"], 4), ("gptq_v2", ["--bits", 2, "--asymmetric"], 2),
                            ("awq", [], 4), ("awq", ["--asymmetric"], 4)]:
        name = "-".join([to, *[str(e).strip("-") for e in extra]])
        ockham("convert", source, folder / name, "--to", to, "--group-size", 64, *extra)
        tensors, dense = load_file(folder / name / "model.safetensors"), dense_of(folder / name, folder, name + "-dense")
        config = json.loads((folder / name / "config.json").read_text())["quantization_config"]
        assert config["group_size"] == 64 and config["bits"] == bits, config
        error = 0.0
        for linear in linears(dense):
            rows, columns = dense[linear + ".weight"].shape
            found = (awq_weight(tensors, linear, 64) if to == "awq" else
                     gptq_weight(tensors, linear, bits, rows, columns, config["checkpoint_format"] == "gptq"))
            error = max(error, float(np.abs(found - dense[linear + ".weight"].float().numpy()).max()))
        check(f"{name}, NumPy reader", error, 0)


def check_compressed_tensors(source, folder, ids):
    for to, extra, limit in [("compressed-tensors", [], 2e-5), ("compressed-tensors", ["--bits", 8], 2e-5),
                             ("int8", [], 0.1), ("fp8", [], 2e-5)]:
        name = "-".join([to, *[str(e).strip("-") for e in extra]])
        ockham("convert", source, folder / name, "--to", to, "--group-size", 64, *extra)
        dense = dense_of(folder / name, folder, name + "-dense")
        load = transformers.AutoModelForCausalLM.from_pretrained
        with torch.no_grad():
            ours = load(folder / (name + "-dense"), dtype=torch.float32)(ids).logits
            model = load(folder / name, dtype=torch.float32)
            theirs = model(ids).logits
        error = max(float((model.get_submodule(linear).weight - dense[linear + ".weight"].float()).abs().max())
                    for linear in linears(dense))
        check(f"{name}, transformers weights", error, 0)
        # int8 also rounds the activations there, so only the weights are the same.
        check(f"{name}, transformers logits", float((ours - theirs).abs().max() / ours.abs().max()), limit)


def check_gguf(source, folder):
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, SHAPE["num_hidden_layers"])
    for kind in ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q5_K", "Q6_K"]:
        path = folder / f"{kind}.gguf"
        ockham("convert", source, path, "--to", "gguf", "--type", kind)
        dense = dense_of(path, folder, kind + "-dense")
        reader, seen, error = gguf.GGUFReader(path), {}, 0.0
        for tensor in reader.tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            seen[tensor.name] = values.reshape(tuple(reversed([int(n) for n in tensor.shape])))
        for name, ours in dense.items():
            found = seen.pop(names.get_name(name, try_suffixes=(".weight", ".bias")))
            ours = ours.float().numpy()
            for part, heads in [("q_proj", SHAPE["num_attention_heads"]), ("k_proj", SHAPE["num_key_value_heads"])]:
                if part in name:
                    ours = ours.reshape(heads, 2, -1, ours.shape[1]).swapaxes(1, 2).reshape(ours.shape)
            error = max(error, float(np.abs(found - ours).max()))
        assert not seen, seen.keys()
        check(f"gguf {kind}, gguf package", error, 0)


def make_family(family, folder):
    config = transformers.AutoConfig.for_model(family, **FAMILIES[family])
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.5 if parameter.ndim == 1 else 0.0, std=0.06)
    model.save_pretrained(folder / family)
    return model


def gguf_tensors(family, tensors):
    """The tensors of a checkpoint as llama.cpp's conversion puts them into a file."""
    config, found, experts = FAMILIES[family], {}, {}
    arch = ARCHITECTURES.get(family, family)
    kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[arch]
    names = gguf.get_tensor_name_map(kind, config.get("num_hidden_layers", 2))
    for name, value in tensors.items():
        value = value.float().numpy()
        if ".experts." in name:
            head, tail = name.split(".experts.")
            experts.setdefault((head, tail.split(".", 1)[1]), {})[int(tail.split(".")[0])] = value
            continue
        if family in ("gemma2", "gemma3_text", "nemotron") and name.endswith("norm.weight"):
            value = value + np.float32(1)
        if family == "gpt2" and value.ndim == 2 and ".h." in name:
            value = value.T
        if family == "gpt_neox" and "query_key_value" in name:
            value = value.reshape(config["num_attention_heads"], 3, -1, *value.shape[1:]).swapaxes(0, 1)
            value = value.reshape(-1, *value.shape[3:])
        for part, heads in [("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")]:
            if arch == "llama" and part in name:
                value = value.reshape(config[heads], 2, -1, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)
        found[names.get_name(name, try_suffixes=(".weight", ".bias"))] = value.squeeze()
    for (head, tail), values in experts.items():
        head = head.replace("model.layers", "layers").replace("block_sparse_moe", "feed_forward") \
            if family == "mixtral" else head
        name = names.get_name(f"{head}.experts.{tail}", try_suffixes=(".weight", ".bias"))
        found[name] = np.stack([values[i] for i in range(len(values))])
    return found


def check_gguf_families(folder):
    """Every family with an architecture: what the gguf package sees, and logits of transformers where it reads it."""
    ids = torch.randint(6, 96, (1, 24))
    for family in FAMILIES:
        model, arch = make_family(family, folder), ARCHITECTURES.get(family, family)
        tensors = load_file(folder / family / "model.safetensors")
        for kind in ["F32", "BF16", "Q8_0"]:
            place = folder / f"{family}-{kind}-gguf"
            place.mkdir()
            ockham("convert", folder / family, place / "m.gguf", "--to", "gguf", "--type", kind)
            reader, error = gguf.GGUFReader(place / "m.gguf"), 0.0
            assert reader.get_field("general.architecture").contents() == arch
            assert reader.get_field(f"{arch}.block_count").contents() == model.config.num_hidden_layers
            wanted = gguf_tensors(family, tensors)
            for tensor in reader.tensors:
                values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
                values = values.reshape(tuple(reversed([int(n) for n in tensor.shape])))
                if tensor.name == "rope_freqs.weight":
                    frequencies = 10000.0 ** (-np.arange(0, 16, 2) / 16)
                    error = max(error, float(np.abs(frequencies / values - model.model.rotary_emb.inv_freq.numpy()).max()))
                    continue
                ours = wanted.pop(tensor.name)
                assert ours.shape == values.shape, (tensor.name, ours.shape, values.shape)
                if tensor.tensor_type == gguf.GGMLQuantizationType.BF16:
                    ours = torch.from_numpy(ours.copy()).bfloat16().float().numpy()
                elif tensor.tensor_type != gguf.GGMLQuantizationType.F32:
                    ours = gguf.quants.dequantize(gguf.quants.quantize(ours, tensor.tensor_type), tensor.tensor_type)
                error = max(error, float(np.abs(values - ours).max()))
            assert not wanted, wanted.keys()
            check(f"gguf {kind} of {family}, gguf package", error, 1e-6 if family == "llama" else 0)
        back = dense_of(folder / f"{family}-F32-gguf/m.gguf", folder, f"{family}-back")
        # Norms that multiply by 1 + w are stored as that, rounded.
        check(f"gguf of {family}, read again", largest(back, tensors), 1e-6 if "gemma" in family or family == "nemotron" else 0)
        if family in ("mixtral", "gpt_neox", "qwen2_moe", "llama", "gpt2", "qwen3_moe"):
            continue  # not read by transformers, or without the sizes of experts, scaling, vocabulary
        with torch.no_grad():
            theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / f"{family}-F32-gguf", gguf_file="m.gguf",
                                                                       dtype=torch.float32)(ids).logits
            ours = model(ids).logits
        check(f"gguf of {family}, transformers logits", float((ours - theirs).abs().max() / ours.abs().max()), 2e-5)


def check_fused(folder):
    """Families that keep several linears in one tensor, and mixtures: the loader's modules hold the same weights."""
    load, ids = transformers.AutoModelForCausalLM.from_pretrained, torch.randint(0, 96, (2, 24))
    for family in ["phi3", "gpt_neox", "qwen3_moe", "mixtral"]:
        for to, extra in [("compressed-tensors", []), ("fp8", [])]:
            name = f"{family}-{to}"
            ockham("convert", folder / family, folder / name, "--to", to, "--group-size", 32, *extra)
            dense_of(folder / name, folder, name + "-dense")
            dense, model = load(folder / (name + "-dense"), dtype=torch.float32), load(folder / name, dtype=torch.float32)
            with torch.no_grad():
                ours, theirs = dense(ids).logits, model(ids).logits
            check(f"{name}, transformers logits", float((ours - theirs).abs().max() / ours.abs().max()), 2e-5)


def check_gguf_model(folder):
    """The embedded model through transformers' own reader of GGUF: settings, names, row order, tokenizer, template."""
    load, text = transformers.AutoModelForCausalLM.from_pretrained, "Ann's 3 houses?\n\tünïcode  <|user|>\u4f60"
    ids = torch.arange(6, 46).unsqueeze(0)
    for kind in ["auto", "Q8_0", "Q4_1"]:
        place = folder / f"mini-{kind}"
        place.mkdir()
        ockham("convert", MINI, place / "mini.gguf", "--to", "gguf", "--type", kind)
        ockham("convert", place / "mini.gguf", place / "dense", "--to", "dense", "--dtype", "float32")
        with torch.no_grad():
            theirs = load(place, gguf_file="mini.gguf", dtype=torch.float32)(ids).logits
            ours = load(place / "dense", dtype=torch.float32)(ids).logits
        check(f"gguf {kind} of mini, transformers logits", float((ours - theirs).abs().max() / ours.abs().max()), 2e-5)
    tokenizers = [transformers.AutoTokenizer.from_pretrained(place, gguf_file="mini.gguf"),
                  transformers.AutoTokenizer.from_pretrained(MINI)]
    found = [(t.encode(text), t.chat_template, t.eos_token_id) for t in tokenizers]
    check("gguf of mini, transformers tokenizer", float(found[0] != found[1]), 0)


def check_gguf_reading(folder):
    """Types that are only read: random blocks through the package's own dequantization."""
    generator = np.random.default_rng(0)
    for kind in ["Q5_1", "Q2_K", "Q3_K"]:
        kind_type = getattr(gguf.GGMLQuantizationType, kind)
        elements, size = gguf.GGML_QUANT_SIZES[kind_type]
        path = folder / f"read-{kind}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_block_count(1), writer.add_context_length(64), writer.add_embedding_length(256)
        writer.add_feed_forward_length(256), writer.add_head_count(8), writer.add_head_count_kv(8)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_tensor("token_embd.weight", generator.standard_normal((320, 256), np.float32))
        writer.add_tensor("output_norm.weight", np.ones(256, np.float32))
        expected = {}
        for name in ["attn_norm", "ffn_norm"]:
            writer.add_tensor(f"blk.0.{name}.weight", np.ones(256, np.float32))
        for ours, name in [("mlp.up_proj", "ffn_up"), ("mlp.gate_proj", "ffn_gate"), ("mlp.down_proj", "ffn_down"),
                           ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"),
                           ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k")]:
            blocks = generator.integers(0, 256, (256, 256 // elements, size), np.uint8)
            for at in {"Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108]}[kind]:
                scale = (generator.random((256, 256 // elements, 1)) * 0.1).astype(np.float16)
                blocks[:, :, at:at + 2] = scale.view(np.uint8)
            raw = blocks.reshape(256, -1)
            writer.add_tensor(f"blk.0.{name}.weight", raw, raw_dtype=kind_type)
            expected[f"model.layers.0.{ours}.weight"] = gguf.quants.dequantize(raw, kind_type)
        writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
        dense, error = dense_of(path, folder, f"read-{kind}-dense"), 0.0
        for name, theirs in expected.items():
            if "q_proj" in name or "k_proj" in name:
                theirs = theirs.reshape(8, 16, 2, 256).swapaxes(1, 2).reshape(256, 256)
            error = max(error, float(np.abs(dense[name].float().numpy() - theirs).max()))
        check(f"gguf {kind} written by the gguf package", error, 0)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).float()
        for parameter in model.parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.06)
        source = folder / "source"
        model.save_pretrained(source)
        ids = torch.randint(0, SHAPE["vocab_size"], (2, 48))
        dense = dense_of(source, folder, "source-dense")
        check("dense, transformers' own tensors", largest(dense, load_file(source / "model.safetensors")), 0)
        check_gptq_awq(source, folder)
        check_gguf(source, folder)
        check_gguf_families(folder)
        check_fused(folder)
        check_gguf_model(folder)
        check_gguf_reading(folder)
        check_compressed_tensors(source, folder, ids)
    if FAILURES:
        raise SystemExit(f"failed: {', '.join(FAILURES)}")


main()
