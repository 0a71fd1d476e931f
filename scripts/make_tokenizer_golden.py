#!/usr/bin/env python3
"""Writes tests/text/golden.json: token ids and rendered chats of the reference packages.

Needs the PyPI packages transformers (5.23.0) and tokenizers:
    python3 scripts/make_tokenizer_golden.py STORIES260K_DIRECTORY
"""

import json
import pathlib
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers.utils.chat_template_utils import render_jinja_template

TEXTS = [
    "Once upon a time, there was a little girl named Lily.",
    "  two leading blanks and a\nline break\ttab",
    "",
    "Grüße, 日本語, 🙂 and \u0301 accents",
    "literal <s> and </s> and <unk> inside",
    "123 4567.89 don't we'll I'd",
]

CHATML = (
    "{% for message in messages %}\n"
    "    {%- if message.role not in ['system', 'user', 'assistant'] %}\n"
    "        {{- raise_exception('unknown role ' ~ message.role) }}\n"
    "    {%- endif %}\n"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' }}\n"
    "{% endfor %}\n"
    "{% if add_generation_prompt %}\n"
    "    <|im_start|>assistant\n"
    "{% endif %}\n"
)
# Named after what each one exercises.
TEMPLATES = {
    "chatml_trim_lstrip": CHATML,
    "bos_eos_generation_tags": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] }}{{ eos_token }}{% endgeneration %}{% else %}[{{ m['role'] | upper }}] "
        "{{ m['content'].strip() }} {%- endif %}{% endfor %}"
    ),
    "generation_with_whitespace_control": (
        "{%- for m in messages %}\n  {%- generation -%}\n  {{ m.content }}\n  {%- endgeneration %}\n{% endfor %}"
    ),
    "namespace_and_loop_controls": (
        "{% set ns = namespace(system='', turn=0) %}{% for m in messages %}{% if m.role == 'system' %}"
        "{% set ns.system = m.content %}{% continue %}{% endif %}{% set ns.turn = ns.turn + 1 %}"
        "{% if loop.index0 > 2 %}{% break %}{% endif %}{{ ns.turn }}:{{ m.content }}{{ '' if loop.last else '|' }}"
        "{% endfor %}<{{ ns.system }}>"
    ),
    "tojson_plain": "{{ messages | tojson }}",
    "tojson_indent": "{{ messages | tojson(indent=2) }}",
    "tojson_options": (
        "{{ {'b': [1, 2.5, 1e20, true, none], 'a': '<&>\\'é'} | tojson(ensure_ascii=true, sort_keys=true, "
        "separators=(',', ':')) }}"
    ),
    "slices_and_methods": (
        "{% for m in messages[::-1] %}{{ m.content.split(' ')[0] }}{{ m.content.endswith('.') }}"
        "{{ m.get('name', 'none') }};{% endfor %}{{ messages[1:] | length }}{{ messages | map(attribute='role') | join(',') }}"
    ),
    "macro_filters_and_tests": (
        "{% macro turn(m) %}({{ m.role | capitalize }}: {{ m.content | default('-') | replace('a', 'A') }}){% endmacro %}"
        "{% for m in messages %}{{ turn(m) }}{% endfor %}{{ tools is defined and tools is not none }}"
        "{{ 'yes' if messages is iterable and messages[0] is mapping }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
    ),
    "undefined_and_none": "{{ nothing }}[{{ none }}]{{ nothing is undefined }}{{ 3 / 2 }}{{ 7 // 2 }}{{ true }}",
    "trailing_newline": "{{ messages[0].content }}\n",
}
CONVERSATIONS = [
    [{"role": "user", "content": " Hello there. "}],
    [
        {"role": "system", "content": "Be brief & kind <b>."},
        {"role": "user", "content": "What is\n2 + 2?"},
        {"role": "assistant", "content": "4."},
        {"role": "user", "content": "Grüße 🙂 \"quoted\" it's"},
    ],
]

CORPUS = [
    "the cat sat on the mat. the cat ate the rat.",
    "a dog and a cat and a rat met the other dog on the other mat!",
    "Numbers: 1 22 333, names: Ann Bob Ann Bob, Grüße 🙂",
]
SPECIALS = ["<s>", "</s>", "<|user|>"]


def encode_cases(tokenizer):
    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = True
        literal = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        cases.append({"text": text, "ids": ids, "literal_ids": literal, "decoded": tokenizer.decode(ids),
                      "decoded_special": tokenizer.decode(ids, skip_special_tokens=False)})
    return cases


def train(vocabulary):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=True)
    specials = [AddedToken(token, special=True) for token in SPECIALS]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=specials, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return tokenizer


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    templates = []
    for name, template in TEMPLATES.items():
        for messages in CONVERSATIONS:
            for prompt in (False, True):
                rendered, _ = render_jinja_template(conversations=[messages], chat_template=template,
                                                    add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>")
                templates.append({"name": name, "template": template, "messages": messages,
                                  "add_generation_prompt": prompt, "rendered": rendered[0]})
    golden = {
        "stories260k": encode_cases(Tokenizer.from_file(str(directory / "tokenizer.json"))),
        "training": {"corpus": CORPUS, "special_tokens": SPECIALS, "vocabulary": 290, "cases": encode_cases(train(290))},
        "templates": templates,
    }
    path = pathlib.Path(__file__).resolve().parent.parent / "tests" / "text" / "golden.json"
    path.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
