# Everything a newcomer or a CI machine needs. `make test` sets up what it needs and runs everything.

CARGO ?= cargo
BUF := @bufbuild/buf@1.75.0

PYTHON := target/python
STUBS := $(PYTHON)/stubs
PROTOS := $(wildcard proto/ridegate/*/v1/*.proto)

.PHONY: test tools python fmt lint doc licences fuzz bench bench-registry bench-fleet budget scale flame pgo compare instructions overload guards faults soak soak-hour soak-plot demo

# The tests start a PostgreSQL of their own and simulate the health authority. The foreign client is fetched from PyPI once.
test: tools python
	$(CARGO) test --workspace --locked --doc
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --workspace --locked; \
	else \
		$(CARGO) test --workspace --locked --lib --bins --tests -- --skip faults::full::; \
	fi
	CARGO="$(CARGO)" scripts/instructions
	scripts/fuzz 2

# Everything behind the gateway breaks in every way, one cell at a time; docs/faults.md is made of it. A quarter of an hour,
# on a machine that does nothing else. CELL=redis_stalled runs only those with that in their names.
faults: tools
	$(CARGO) test --locked -p ridegate --test e2e -- --test-threads=1 --nocapture faults::full::$(CELL)

# Other people's readers and writers of QR codes, which the tests hold ours against; a C++ compiler, for libFuzzer; valgrind, which
# counts instructions; and PostgreSQL, of which no cluster is left running.
tools:
	@scripts/tools

# The foreign client of the end-to-end tests: an environment of its own, and stubs made from the protos alone.
python: $(STUBS)/made

$(PYTHON)/made: tests/python/requirements.txt scripts/venv
	scripts/venv $(PYTHON) $<
	@touch $@

$(STUBS)/made: $(PYTHON)/made $(PROTOS)
	rm -rf $(STUBS) && mkdir $(STUBS)
	$(PYTHON)/bin/python -m grpc_tools.protoc -I proto --python_out=$(STUBS) --grpc_python_out=$(STUBS) $(PROTOS)
	@touch $@

fmt:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) fmt --check --manifest-path compare/Cargo.toml

# clippy on everything, and on what ships to production; buf where npx is at hand.
lint: licences
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy -p ridegate --no-default-features --locked -- -D warnings
	CARGO="$(CARGO)" scripts/compare --check
	@if npx --yes $(BUF) --version >/dev/null 2>&1; then \
		cd proto && npx --yes $(BUF) lint; \
	else \
		echo "npx is not here or cannot fetch $(BUF): buf lint passed over"; \
	fi

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

# Every dependency's licence must go with Apache-2.0.
licences:
	python3 scripts/licences.py Cargo.toml fuzz/Cargo.toml

# Takes out one guard after the other, in a copy of the tree, and fails if no test notices. Long; GUARD=NAME tries one.
guards: tools
	CARGO="$(CARGO)" scripts/guards $(if $(GUARD),--only $(GUARD))

# A minute for every decoder; make test gives each two seconds.
fuzz: tools
	scripts/fuzz 60

bench:
	$(CARGO) bench -p ridegate-sm2 --bench verify
	$(CARGO) bench -p ridegate-adapters --bench formats
	$(CARGO) bench -p ridegate-gateway --bench policy

# CPU of a verdict, case by case; whether it is the same for ten thousand connections and ten million links; and where it goes. On a
# machine that does nothing else. docs/performance.md is made of them.
budget: tools
	CARGO="$(CARGO)" scripts/budget

scale: tools target/plots/made
	CARGO="$(CARGO)" target/plots/bin/python scripts/scale

flame:
	CARGO="$(CARGO)" scripts/flame docs/flame.svg

# The gateway for production, guided by a profile of its own under load: target/pgo/ridegate. Three builds, twenty minutes.
pgo: tools
	CARGO="$(CARGO)" scripts/pgo

target/plots/made: scripts/plots.txt scripts/venv
	scripts/venv target/plots $<
	@touch $@

# Beside what its users would pick instead, in one run: a quarter of an hour, most of it building, on a machine that does nothing
# else. LONG=10 is how many seconds each is measured.
compare:
	python3 scripts/licences.py compare/Cargo.toml
	CARGO="$(CARGO)" scripts/compare --seconds $(or $(LONG),10)

# Instructions of a verdict and of what it is made of, which no other load on the machine changes, against docs/instructions.csv.
# WRITE=--write writes that file anew; RELEASE=--release is the build for production.
instructions: tools
	CARGO="$(CARGO)" scripts/instructions $(WRITE) $(RELEASE)

# Links in numbers: minutes, and half a gigabyte for every million of them.
bench-registry: tools
	scripts/registry-load 1000000 200000

# Replicas on one Redis: what a verdict costs each of them. docs/capacity.md is made of these numbers.
bench-fleet: tools
	scripts/fleet-load

# Three times as much as one gateway can answer, for a minute, and ten thousand connections at once.
overload:
	scripts/overload

SOAK := $(CARGO) test --locked -p ridegate --test soak

# A hundred kills and restarts of replicas, Redis, PostgreSQL and the authority under load: ten minutes. It prints its seed;
# RIDEGATE_SOAK_SEED=N does the same again. docs/soak.md tells how to read it.
soak: tools
	RIDEGATE_SOAK_KILLS=$${RIDEGATE_SOAK_KILLS:-100} RIDEGATE_SOAK_RATE=$${RIDEGATE_SOAK_RATE:-60} \
		$(SOAK) -- --exact run::kills_at_constant_load_lose_nothing_and_let_nobody_in --nocapture

# An hour of load and churn, everything built for release; its rows and its plot are written to docs/. Ctrl-C ends it early
# and keeps them. SOAK_PROFILE= and RIDEGATE_SOAK_BINARY=… have another gateway driven by callers that are not optimised.
SOAK_PROFILE ?= --release
soak-hour: tools
	RIDEGATE_SOAK_MINUTES=$${RIDEGATE_SOAK_MINUTES:-60} RIDEGATE_SOAK_RATE=$${RIDEGATE_SOAK_RATE:-250} \
		RIDEGATE_SOAK_CSV=$(CURDIR)/docs/soak.csv RIDEGATE_SOAK_REPORT=$(CURDIR)/target/soak-hour.md \
		$(SOAK) $(SOAK_PROFILE) -- --exact run::churn_at_constant_load_keeps_memory_and_latency_flat --nocapture; \
		result=$$?; scripts/soak-plot docs/soak.csv docs/soak.svg; exit $$result

soak-plot:
	scripts/soak-plot docs/soak.csv docs/soak.svg

demo:
	$(CARGO) run --release -- demo
