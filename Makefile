# `make run` needs cargo and a C compiler. `make test` installs the rest where it is root on Debian.
CARGO ?= cargo

.PHONY: run build static image test lint bench prepare clients fuzz-api

run:
	$(CARGO) build --quiet --profile quick -p server --bin seawall
	./target/quick/seawall serve $(ARGS)

build:
	$(CARGO) build --release -p server --bin seawall

# One file that runs on any Linux of this architecture: no library, not even the C one.
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
static:
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --release --target $(HOST) -p server --bin seawall
	@echo target/$(HOST)/release/seawall

# An image of it. IMAGE=NAME:TAG
image: static
	packaging/image.sh target/$(HOST)/release/seawall $(IMAGE)

# Tests wait for servers more than they compute: two at once for each core.
export RUST_TEST_THREADS ?= $(shell expr 2 \* $$(nproc))

# Everything that this machine can run. What it cannot is named.
test: prepare
	testkit/with-s3.sh testkit/with-azure.sh testkit/with-gcs.sh testkit/with-swift.sh testkit/with-postgres.sh $(CARGO) test --workspace
	scripts/proofs.sh

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	scripts/deny.sh

# Clients that take minutes to build (cosign, helm …) against a running server; outside CI.
clients:
	scripts/clients.sh --all

# Requests made up from the API's document, against a fresh server; minutes, outside CI. ARGS=SECONDS
fuzz-api:
	$(CARGO) build --quiet -p server --bin seawall
	scripts/fuzz-api.sh $(ARGS)

bench: build
	$(CARGO) build --release -p bench
	bench/run.sh $(ARGS)

prepare:
	scripts/prepare.sh
