# Front door: `make demo` and `make test` need nothing beforehand; every target can be run again at any time.
BUILD ?= build/release
JOBS ?= $(shell nproc)
export CCACHE_SLOPPINESS = pch_defines,time_macros,include_file_mtime,include_file_ctime

GOLDEN ?=

.PHONY: demo test test-formats test-interop test-peers configure build bench bench-peers lint format sanitize fuzz setup clean help

help:
	@echo "make demo          install what is missing, build, run the quickstart study, say where its report is"
	@echo "make test          install what is missing, build, run every test"
	@echo "make test-formats  what other packages read out of the files that ockham writes"
	@echo "make test-interop  that, and the same tasks through lm-evaluation-harness on transformers (some 100 MB to download)"
	@echo "make test-peers    the GGUF files that ockham writes, in llama.cpp (built from source, a quarter of an hour)"
	@echo "make build         the release programs build/release/ockham and ockham-run"
	@echo "make bench         measure and rewrite docs/benchmarks.md, and docs/throughput.md after \`make test-interop\`"
	@echo "make bench-peers   compression beside llmcompressor, the engine beside its peers (large downloads, llama.cpp from source)"
	@echo "make lint          formatting, include rule, clang-tidy on changed files"
	@echo "make format        format the sources in place"
	@echo "make sanitize      the torch-free half under address and undefined-behaviour sanitizers, with a short fuzz run"
	@echo "make fuzz          every reader against random bytes, a minute each (OCKHAM_FUZZ_SECONDS)"

setup:
	@scripts/setup.sh

configure: setup
	@mkdir -p build
	@echo "== configuring $(BUILD)"
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release > $(BUILD)-configure.log 2>&1 \
	  || { cat $(BUILD)-configure.log; exit 1; }

build: configure
	@echo "== building $(BUILD)/ockham and $(BUILD)/ockham-run"
	@cmake --build $(BUILD) -j $(JOBS) --target ockham ockham-run

demo: build
	@echo "== running the study examples/quickstart.yaml on the embedded model"
	@$(BUILD)/ockham study examples/quickstart.yaml -o build/quickstart
	@echo "== the report: build/quickstart/report.html"

test: configure
	@echo "== building the program and its tests"
	@cmake --build $(BUILD) -j $(JOBS)
	@echo "== running every test"
	@cd $(BUILD) && OMP_WAIT_POLICY=passive ctest --output-on-failure -j $(JOBS)

# The part of test-interop that needs no large download, and that every change runs.
test-formats: build
	@scripts/interop/formats.sh $(BUILD)/ockham

test-interop: test-formats
	@scripts/interop/run.sh $(BUILD) $(GOLDEN)

test-peers: build
	@scripts/peers/llama_cpp.sh $(BUILD)/ockham

sanitize: setup
	@scripts/sanitize.sh

fuzz: setup
	@scripts/sanitize.sh fuzz

bench: build
	@scripts/bench.sh $(BUILD)
	@scripts/throughput.sh $(BUILD)

bench-peers: build
	@scripts/bench_peers.sh $(BUILD)

lint: setup
	@scripts/lint.sh

format:
	@git ls-files '*.cc' '*.h' | xargs clang-format -i

clean:
	rm -rf build
