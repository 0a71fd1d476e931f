//! The C ABI of `ockham_rust.h`: every function body runs behind `guarded`, so neither errors nor panics escape.

mod abi;
mod chat;
mod parquet_column;
mod tokenizer;
mod training;
