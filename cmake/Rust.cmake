# The Rust static library of rust/ (tokenizers, minijinja, parquet behind a C ABI), built by cargo from its lock file.
find_program(CARGO cargo REQUIRED)
set(rust_target ${PROJECT_SOURCE_DIR}/build/rust)
set(rust_library ${rust_target}/release/libockham_rust.a)
file(GLOB rust_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/rust/src/*.rs)
add_custom_command(
  OUTPUT ${rust_library}
  COMMAND ${CARGO} build --release --locked --manifest-path ${PROJECT_SOURCE_DIR}/rust/Cargo.toml
          --target-dir ${rust_target}
  DEPENDS ${rust_sources} ${PROJECT_SOURCE_DIR}/rust/Cargo.toml ${PROJECT_SOURCE_DIR}/rust/Cargo.lock
  COMMENT "Building the Rust library (about 4 minutes the first time)"
  USES_TERMINAL)
add_custom_target(ockham_rust_build DEPENDS ${rust_library})
add_library(ockham_rust INTERFACE)
target_include_directories(ockham_rust INTERFACE ${PROJECT_SOURCE_DIR}/rust)
target_link_libraries(ockham_rust INTERFACE ${rust_library} dl m Threads::Threads)
add_dependencies(ockham_rust ockham_rust_build)
