// C ABI of the Rust library: tokenizers, templates, regular expressions, Parquet. Only ockham/text and ockham/io
// include it.
//
// Every function that can fail returns null on success and else an error text, NUL-terminated UTF-8, for
// ockham_error_free(); outputs are then untouched. Texts go in as bytes and length and must be UTF-8. No panic crosses
// the boundary. All functions may be called from several threads at once, on the same tokenizer too.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct OckhamTokenizer OckhamTokenizer;
typedef struct {
  uint8_t* data;
  size_t length;
} OckhamBytes;
typedef struct {
  int32_t* data;
  size_t length;
} OckhamIds;
// Strings one behind the other in `text`; string i is lengths[i] bytes long.
typedef struct {
  OckhamBytes text;
  uint64_t* lengths;
  size_t count;
} OckhamStrings;
typedef struct {
  const char* data;
  size_t length;
} OckhamText;

void ockham_error_free(char* error);
void ockham_bytes_free(OckhamBytes bytes);
void ockham_ids_free(OckhamIds ids);
void ockham_strings_free(OckhamStrings strings);

// From the bytes of a tokenizer.json. Truncation and padding of the file are dropped, as Hugging Face does by default.
char* ockham_tokenizer_load(OckhamText json, OckhamTokenizer** out);
void ockham_tokenizer_free(OckhamTokenizer* tokenizer);
// parse_special 0: the literal text of a special token is encoded like any other text.
char* ockham_tokenizer_encode(const OckhamTokenizer* tokenizer, OckhamText text, int add_special, int parse_special,
                              OckhamIds* out);
// Ids without a token are skipped; negative ids are an error.
char* ockham_tokenizer_decode(const OckhamTokenizer* tokenizer, const int32_t* ids, size_t count, int skip_special,
                              OckhamBytes* out);
// Highest id plus one, added tokens included.
size_t ockham_tokenizer_vocabulary(const OckhamTokenizer* tokenizer);
// -1 where there is no such token.
int32_t ockham_tokenizer_token_id(const OckhamTokenizer* tokenizer, OckhamText token);
// JSON: [{"id": 1, "content": "<s>", "special": true}, ...], by id.
char* ockham_tokenizer_added_tokens(const OckhamTokenizer* tokenizer, OckhamBytes* out);
// Makes a token of the vocabulary a special one, as Hugging Face does with those named in tokenizer_config.json; not
// for use while another thread encodes. A token that is not in the vocabulary is left alone.
char* ockham_tokenizer_mark_special(OckhamTokenizer* tokenizer, OckhamText token);

// Trains a byte-level BPE; `specials` get the first ids; `bos`, one of them or empty, is put before every text encoded
// with special tokens. Gives the tokenizer.json. The same texts give the same bytes.
char* ockham_tokenizer_train(const OckhamText* texts, size_t count, const OckhamText* specials, size_t special_count,
                             OckhamText bos, size_t vocabulary, OckhamBytes* out);

// Renders a Jinja chat template with the keys of the JSON object `context` (messages, bos_token, ...). Keys that the
// caller has no value for are left out: `tools` and `documents` are tried as undefined first, then as none.
char* ockham_chat_render(OckhamText source, OckhamText context, OckhamBytes* out);

// Renders a Jinja template once per row; `rows` is a JSON list of objects, whose keys are the template's names. Blocks
// are not trimmed, the last line end is kept, an undefined name is an error ("row 3: ..."), values print as Python's
// str(). as_json 1: strings are JSON; a template that is one `{{ expression }}` gives the expression's value, any other
// its text.
char* ockham_template_render(OckhamText source, OckhamText rows, int as_json, OckhamStrings* out);
// All matches: group 0, 1, ... of each one behind the other, `groups` strings per match; a group without a match is "".
char* ockham_regex_find(OckhamText pattern, OckhamText text, size_t* groups, OckhamStrings* out);
// Every match replaced; \\1 stands for group 1.
char* ockham_regex_replace(OckhamText pattern, OckhamText replacement, OckhamText text, OckhamBytes* out);

// The rows of a Parquet file as a JSON list of objects, at most `limit` (0: all); lists and structs stay nested.
char* ockham_parquet_rows(OckhamText path, size_t limit, OckhamBytes* out);
// One column of strings of a Parquet file, all row groups; missing values are an error.
char* ockham_parquet_column(OckhamText path, OckhamText column, OckhamStrings* out);

#ifdef __cplusplus
}
#endif
