# The one front door: the same verbs for people and for CI. Each installs what it needs and is safe to run twice.
# Build output and tools live in ${XDG_CACHE_HOME:-~/.cache}/portcullis, never in the checkout.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test bench crds support fmt lint fuzz images cluster cluster-down conformance e2e

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F"|" "{ printf \"%-19s %s\\n\", \$$1, \$$2 }"

run: ## serve docs/examples/quickstart (CONFIG=DIR serves another folder)
	@scripts/run.sh

test: ## everything CI runs: format, lints, licences, all tests, fuzz, bench gate
	@scripts/test.sh

bench: ## the whole suite beside live peers, for a release (ONLY=b1,b7 some; ONLY=quick instructions, UPDATE=1 renews the baseline)
	@scripts/bench.sh $(or $(ONLY),all)

crds: ## write crds/yaml from the Rust types
	@. scripts/lib.sh && need_rust && build_dev crds && "$$CARGO_TARGET_DIR/debug/crds"

support: ## write what README.md says is supported, from conformance/reports
	@scripts/support.sh write

fmt: ## format the source
	@. scripts/lib.sh && need_rust && cargo fmt --all

lint: ## formatting, clippy and licences, as CI judges them
	@. scripts/lib.sh && need_rust && cargo fmt --all --check && cargo clippy --locked --workspace --all-targets -- -D warnings && scripts/deny.sh

fuzz: ## run the fuzz targets (FUZZ_SECONDS for each)
	@scripts/fuzz.sh

images: ## container images of controller and data plane (RELEASE=1 builds what ships)
	@scripts/images.sh

cluster: ## a real Kubernetes cluster with Portcullis and a sample route, left running (SUITE=1.7.0 CHANNEL=standard)
	@scripts/cluster.sh up

cluster-down: ## stop the cluster and remove all it left
	@scripts/cluster.sh down

conformance: ## the upstream suite there, all five profiles (SUITE=1.7.0 RUN=A,B PROFILES=A,B TIMES=3 KEEP_REPORT=1)
	@scripts/conformance.sh

e2e: ## cluster, Helm install, scenarios, conformance of both suites, and everything down again (CONFORMANCE_NEXT=0: one)
	@scripts/e2e.sh
