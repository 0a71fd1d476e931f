// C ABI of the Rust library: tokenizers, templates, regular expressions, Parquet, HTTP. Only ockham/text, ockham/io and
// ockham/serve include it.
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
// The bytes that a token stands for: of byte-level tokenizers those it spells, of SentencePiece with a blank for its
// mark; empty for ids without a token.
char* ockham_tokenizer_token_bytes(const OckhamTokenizer* tokenizer, int32_t id, OckhamBytes* out);
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

// An HTTP/1.1 server.
typedef struct OckhamHttp OckhamHttp;
typedef struct {
  uint64_t id;
  int problem;  // 0, or the status of a request whose body could not be taken: 400, 408, 413
  OckhamText method, path, authorization, body;  // the path without a query; "" for a header that is not there
} OckhamHttpRequest;
typedef struct {
  OckhamText host;
  uint16_t port;  // 0: one that is free
  size_t most_body_bytes, most_connections;
  size_t worker_threads;      // that call on_request
  uint64_t read_timeout_ms;   // for the head of a request, for its body, and between requests on one connection
  uint64_t write_timeout_ms;  // for a client to take something of what waits for it
  void* context;
  // From several threads at once; what it points to lives as long as the call.
  void (*on_request)(void* context, const OckhamHttpRequest* request);
  // The client has gone before its answer ended; may come more than once, and for requests that were refused. It must
  // not block.
  void (*on_gone)(void* context, uint64_t id);
} OckhamHttpOptions;
char* ockham_http_start(const OckhamHttpOptions* options, OckhamHttp** out);
uint16_t ockham_http_port(const OckhamHttp* server);
size_t ockham_http_connections(const OckhamHttp* server);
// Answers a request, once; is_stream 1: the body goes on with ockham_http_send() until ockham_http_end().
// `header` and `value`: one header more, or "". Nothing happens where the client is gone.
void ockham_http_answer(const OckhamHttp* server, uint64_t id, int status, OckhamText content_type, OckhamText header,
                        OckhamText value, OckhamText body, int is_stream);
void ockham_http_send(const OckhamHttp* server, uint64_t id, OckhamText text);
void ockham_http_end(const OckhamHttp* server, uint64_t id);
// Takes no new connections and closes each one that has no request to answer, now or later.
void ockham_http_close(const OckhamHttp* server);
// Breaks off what is still open. No function of the context is called any more once it returns.
void ockham_http_free(OckhamHttp* server);

#ifdef __cplusplus
}
#endif
