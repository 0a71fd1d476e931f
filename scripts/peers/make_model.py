#!/usr/bin/env python3
"""A random model in the shape of TinyLlama-1.1B with fewer blocks, and sequences of token ids as
ids-N.npy beside it: what both sides of `make bench-peers` read.
  make_model.py OUT BLOCKS SEQUENCES...
"""
import pathlib
import sys

import numpy
import tokenizers
import torch
import transformers

OUT, BLOCKS, SEQUENCES = pathlib.Path(sys.argv[1]), int(sys.argv[2]), [int(word) for word in sys.argv[3:]]
VOCABULARY, TOKENS = 32000, 512


def main():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=2048, intermediate_size=5632, num_hidden_layers=BLOCKS, num_attention_heads=32,
        num_key_value_heads=4, max_position_embeddings=2048, tie_word_embeddings=False, initializer_range=0.02)
    config.dtype = torch.bfloat16
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(OUT)
    # llmcompressor and GGUF want a tokenizer, of bytes here, though none is used: the texts are ids already.
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({byte: i for i, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=alphabet[0], pad_token=alphabet[0]).save_pretrained(OUT)
    for sequences in SEQUENCES:
        ids = numpy.random.default_rng(0).integers(1, VOCABULARY, (sequences, TOKENS), dtype=numpy.int32)
        numpy.save(OUT.parent / f"ids-{sequences}.npy", ids)


main()
