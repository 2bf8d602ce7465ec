# The one front door: the same verbs for people and for CI. Each installs what it needs and is safe to run twice.
# Build output and tools live in ${XDG_CACHE_HOME:-~/.cache}/portcullis, never in the checkout.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test bench crds fmt lint fuzz images cluster cluster-down conformance e2e

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F"|" "{ printf \"%-19s %s\\n\", \$$1, \$$2 }"

run: ## serve docs/examples/quickstart (CONFIG=DIR serves another folder)
	@scripts/run.sh

test: ## everything CI runs: format, lints, licences, all tests, fuzz, bench gate
	@scripts/test.sh

bench: ## instructions, bytes and memory beside the peers (ONLY=quick; UPDATE=1 renews the baseline)
	@scripts/bench.sh $(or $(ONLY),quick)

crds: ## write crds/yaml from the Rust types
	@. scripts/lib.sh && need_rust && build_dev crds && "$$CARGO_TARGET_DIR/debug/crds"

fmt: ## format the source
	@. scripts/lib.sh && need_rust && cargo fmt --all

lint: ## formatting, clippy and licences, as CI judges them
	@. scripts/lib.sh && need_rust && cargo fmt --all --check && cargo clippy --locked --workspace --all-targets -- -D warnings && scripts/deny.sh

fuzz: ## run the fuzz targets (FUZZ_SECONDS for each)
	@scripts/fuzz.sh

images: ## container images of controller and data plane (RELEASE=1 builds what ships)
	@scripts/images.sh

cluster: ## a real Kubernetes cluster with Portcullis and a sample route, left running
	@scripts/cluster.sh up

cluster-down: ## stop the cluster and remove all it left
	@scripts/cluster.sh down

conformance: ## the upstream suite on that cluster (SUITE=1.6.3 RUN=ShortName PROFILES=GATEWAY-HTTP)
	@scripts/conformance.sh

e2e: ## cluster, Helm install, scenarios, conformance, and everything down again
	@scripts/e2e.sh
