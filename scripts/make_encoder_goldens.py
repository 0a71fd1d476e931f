#!/usr/bin/env python3
"""Writes tests/model/encoders/*.json: tiny text classifiers with logits by Hugging Face transformers.

Needs torch, transformers and tokenizers (the stored files are by transformers 5.24 on CPU):
    python3 scripts/make_encoder_goldens.py [NAME ...]
A file holds config.json, tensor names and shapes as save_pretrained writes them, logits of one row of ids and of a
shorter row padded behind it, a small tokenizer.json, and probabilities of texts. The weights follow from the formula of
make_family_goldens.py.
"""
import json
import pathlib
import sys
import tempfile

import tokenizers
import torch
import transformers
from make_family_goldens import fill
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "model" / "encoders"
WORDS = "you are a rude nice man and the town likes snarg ##s ##ly . ! ,".split()
SPECIAL = ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]
TEXTS = ["you are a rude snarg!", "The town likes you, nicely.", "", "unheard words and and and " * 8]
VOCABULARY, TOKENS, SHORT = 32, 14, 9
SIZES = dict(vocab_size=VOCABULARY, max_position_embeddings=24, pad_token_id=1)
BERT = dict(SIZES, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4)
TOXIC = dict(problem_type="multi_label_classification", id2label={0: "toxic", 1: "severe_toxic", 2: "insult"},
             label2id={"toxic": 0, "severe_toxic": 1, "insult": 2})
TWO = dict(id2label={0: "neutral", 1: "toxic"}, label2id={"neutral": 0, "toxic": 1})

MODELS = {
    "bert": ("bert", dict(BERT, **TOXIC)),
    "bert-relu": ("bert", dict(BERT, hidden_act="relu", type_vocab_size=1, layer_norm_eps=1e-5, **TWO)),
    "bert-gelu_new": ("bert", dict(BERT, hidden_act="gelu_new", num_labels=1)),
    "roberta": ("roberta", dict(BERT, **TWO)),
    "distilbert": ("distilbert", dict(SIZES, dim=16, hidden_dim=24, n_layers=3, n_heads=2, **TWO)),
}


def make_tokenizer():
    vocabulary = {token: index for index, token in enumerate(SPECIAL + WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")])
    return tokenizer


def make(name):
    model_type, settings = MODELS[name]
    config = transformers.AutoConfig.for_model(model_type, **settings)
    with tempfile.TemporaryDirectory() as directory:
        transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(directory)
        path = pathlib.Path(directory) / "model.safetensors"
        stored, tensors = load_file(path), []
        for index, key in enumerate(sorted(stored)):
            is_norm = "norm" in key.lower()
            shift = 1.0 if is_norm and key.endswith("weight") else 0.0
            scale = 0.5 if is_norm or key.endswith("bias") else 1.0
            stored[key] = fill(stored[key].shape, index + 1, scale, shift)
            tensors.append({"name": key, "shape": list(stored[key].shape), "scale": scale, "shift": shift})
        save_file(stored, path, metadata={"format": "pt"})
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager").eval()
        written = json.loads((pathlib.Path(directory) / "config.json").read_text())
    ids = torch.tensor([[2 + (7 * i + 3) % 30 for i in range(TOKENS)], [2 + (5 * i + 1) % 30 for i in range(TOKENS)]])
    mask = torch.ones_like(ids)
    ids[1, SHORT:], mask[1, SHORT:] = 1, 0
    tokenizer = make_tokenizer()
    most = SIZES["max_position_embeddings"] - (2 if model_type == "roberta" else 0)
    scores = []
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits.double()
        for text in TEXTS:
            encoded = tokenizer.encode(text).ids
            if len(encoded) > most:
                encoded = encoded[:most - 1] + encoded[-1:]
            values = model(input_ids=torch.tensor([encoded])).logits[0].double()
            many = settings.get("problem_type") == "multi_label_classification" or len(values) == 1
            scores.append([text, [round(float(v), 7) for v in (values.sigmoid() if many else values.softmax(0))]])
    golden = {"transformers": transformers.__version__, "config": written, "tensors": tensors, "ids": ids.tolist(),
              "short": SHORT, "logits": [[round(float(v), 6) for v in row] for row in logits],
              "tokenizer": json.loads(tokenizer.to_str()), "scores": scores}
    OUT.mkdir(parents=True, exist_ok=True)
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items()]
    (OUT / f"{name}.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(f"{name}: {len(tensors)} tensors, logits {logits.tolist()}")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or MODELS:
        make(wanted)
