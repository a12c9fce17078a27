# Every command a developer needs. Nothing has to be installed first but Rust, Python 3 and Node;
# what a command needs beyond them it installs from lock files below this directory, or it says what it left out.

.DEFAULT_GOAL := help
.PHONY: help demo unit test fmt bench quick check fuzz

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a legacy backend, crossfade before it, and a page that shows both; no configuration
	cargo run --locked --release -- demo

unit: ## unit tests alone, in half a minute and with nothing but Rust; the longest walk is cut short
	@CROSSFADE_STEPS=50000 cargo test --locked --quiet --lib

fmt: ## rewrites every file in the usual format; `make check` only judges it
	@cargo fmt --all

test: ## unit tests, stories over sockets, then the interop stage; names what did not run
	@bash tests/interop/run.sh

bench: ## crossfade against its peers on this machine, as ratios measured in the same run
	@bash benches/run

quick: ## what a change costs, beside nchan, nginx and haproxy, in about two minutes; run it before you push
	@bash benches/run --quick --without ws,socketio,bare fanout idle storm passthrough

check: ## format, lints, licences and advisories, documentation
	@bash tests/interop/check.sh

fuzz: ## each fuzz target for SECONDS (20), on the stable compiler
	@bash tests/interop/fuzz.sh $(or $(SECONDS),20)
