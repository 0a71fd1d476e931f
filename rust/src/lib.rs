//! The C ABI of `ockham_rust.h`: every function body runs behind `guarded`, so neither errors nor panics escape.

mod abi;
mod chat;
mod http;
mod parquet_column;
mod parquet_rows;
mod template;
mod tokenizer;
mod training;
