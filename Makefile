# clb-direct. `make help` is the index.

# One build cache for everything that isn't raced: the programs that tests start
# are built with the same settings as the tests.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false $(filter-out -trimpath -buildvcs=%,$(GOFLAGS))

GO ?= go
# What runs whole stacks isn't raced: it has targets of its own.
RACED = $(shell $(GO) list ./... | grep -v -e /tests/e2e -e /tests/bench -e '/tests/chaos$$' -e '/localdev/kubelet$$')
LOCALDEV = bin/localdev $(1) $(if $(CLUSTER),-cluster $(CLUSTER)) $(if $(NODE),-node $(NODE))

.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: bin/localdev $(if $(filter kubelet,$(NODE)),containerd) ## show a Service bound straight to its pods, end to end (report: out/demo.json)
	$(call LOCALDEV,demo)

demo-ingress: bin/localdev ## the same for Ingresses: hosts, TLS, a rolling update under load (report: out/demo-ingress.json)
	$(call LOCALDEV,demo-ingress)

demo-rollout: bin/localdev $(if $(filter kubelet,$(NODE)),containerd) ## a rolling update under load in four ways, side by side (report: out/rollout.json, plot: out/rollout.svg)
	$(call LOCALDEV,demo-rollout)

up: bin/localdev $(if $(filter kubelet,$(NODE)),containerd) ## start everything on this machine and leave it running (CLUSTER=kubeconfig for a cluster of yours, NODE=kubelet for a node with the real kubelet)
	$(call LOCALDEV,up)

down: bin/localdev ## end exactly what `make up` started
	bin/localdev down

resync: bin/localdev ## have the function resync of what `make up` started put everything right (DRY=1 only says what it would do)
	bin/localdev resync $(if $(DRY),-dry)

explain: bin/localdev ## why the pods of OBJ=service/default/nginx are ready or not; also ingress/..., pod/... (JSON=1 for JSON)
	@bin/localdev explain $(if $(JSON),-json) "$(OBJ)"

test: race e2e e2e-profiles chaos-short ## every test: unit, property and fuzz seeds under the race detector, then end to end and rolling updates under faults

race: cc node ## unit, property and fuzz-seed tests under the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 25m $(RACED)

e2e: ## the end-to-end suite, on a real control plane
	$(GO) test -count=1 -timeout 20m ./tests/e2e # the programs it starts are no inputs that a test cache knows of

e2e-kubelet: containerd ## rolling updates, restarts, evictions and node shutdown on the real kubelet; needs root (report: out/e2e-kubelet.json)
	$(GO) run ./tests/kubelet -o out/e2e-kubelet.json
	$(GO) test -count=1 -timeout 20m ./localdev/kubelet/...
	$(GO) test -count=1 -timeout 20m -run TestCommandsOnTheRealKubelet ./tests/docs -args -kubelet

e2e-profiles: ## the end-to-end tests that depend on what is disputed about CLB, under each other answer
	$(GO) test -count=1 -timeout 20m ./tests/e2e -args -profile all

bench: ## planner and passes at 100, 1,000 and 10,000 pods (report: out/bench.json)
	$(GO) run ./tests/bench -o out/bench.json

bench-rules: ## an Ingress of 200 rules over 50 pods, from nothing to all healthy (report: out/bench-rules.json)
	$(GO) run ./tests/bench/rules -o out/bench-rules.json

bench-forwarder: ## the forwarder beside one with Knative's semantics: speed, losses, memory, takeover; 20 minutes (report: out/bench-forwarder.json)
	$(GO) run ./tests/bench/forwarder -o out/bench-forwarder.json $(if $(ONLY),-only $(ONLY)) $(if $(ROUNDS),-rounds $(ROUNDS))

soak: ## the forwarder for 20 minutes (SOAK=5m for less) at 200 changes a second over a faulty sink (report: out/soak.json)
	$(GO) run ./tests/bench/forwarder -soak $(or $(SOAK),20m) -o out/soak.json

bench-emulator: ## what the CLB emulator costs at 400 requests a second (report: out/bench-emulator.json)
	$(GO) run ./tests/bench/emulator -o out/bench-emulator.json

lifecycle: ## install, take a live Service over, upgrade, roll back, give back, uninstall, under load (report: out/lifecycle.json)
	$(GO) run ./tests/lifecycle -o out/lifecycle.json

drift: ## change CLBs by hand in every way and time how long it takes to heal (report: out/drift.json)
	$(GO) run ./tests/drift -o out/drift.json

chaos: ## rolling updates under load and under every fault (report: out/chaos.json; SEED= FAULTS= ROUNDS= play some again)
	$(GO) run ./tests/chaos -o out/chaos.json $(if $(SEED),-seed $(SEED)) $(if $(FAULTS),-faults $(FAULTS)) $(if $(ROUNDS),-rounds $(ROUNDS))

chaos-short: ## three minutes of it, with other random mixes of faults each time
	$(GO) test -count=1 -timeout 10m ./tests/chaos

conformance: ## hold the CLB and SCF emulators to the documents, fact by fact (report: out/conformance.json)
	$(GO) test -count=1 -timeout 20m -json ./tests/conformance | $(GO) run ./tests/conformance/report -o out/conformance.json

conformance-mutants: ## switch off rules of the emulators one at a time: the suite must notice each (report: out/conformance-mutants.json)
	$(GO) run ./tests/conformance/mutants -o out/conformance-mutants.json

commands: ## the commands of README and docs that CI is too short for, run from the text: hours; writes out/commands.json (ONLY=regexp)
	$(GO) run ./tests/manual/commands -o out/commands.json $(if $(ONLY),-only '$(ONLY)')

model: ## the production code through 1,000,000 random interleavings, then with rules switched off (report: out/model.json)
	$(GO) run ./tests/model/mutants -o out/model.json

results: ## docs/results.md and its plots, from the reports in out/ (REPORTS=folder for others; DOCS=folder to write elsewhere; COMMIT= for those that don't say theirs)
	$(GO) run ./tests/results -reports $(or $(REPORTS),out) $(if $(DOCS),-docs $(DOCS)) $(if $(COMMIT),-commit $(COMMIT))

# By number, not by time: Go 1.26 may report the end of a time as the target's failure
# (golang/go#75804).
fuzz: ## each fuzz target with FUZZTIME inputs (default 100000x)
	@for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -h -o '^func Fuzz[A-Za-z0-9_]*' $$pkg/*_test.go | sed 's/func //'); do \
	    echo "$$pkg $$target"; $(GO) test -short -run '^$$' -fuzz "^$$target$$" -fuzztime $(or $(FUZZTIME),100000x) -fuzzminimizetime 100x $$pkg || exit 1; \
	  done; \
	done

package: ## the zip that SCF gets: out/clb-direct.zip, and dist/main for the scf command line
	$(GO) run ./infra/bundle -dir dist -o out/clb-direct.zip

image: ## the forwarder's container image, without a container engine: out/forwarder-image.tar (ARCH=arm64, TAG=name:tag)
	$(GO) run ./infra/image -o out/forwarder-image.tar $(if $(ARCH),-arch $(ARCH)) $(if $(TAG),-tag $(TAG))

deploy: package ## deploy serverless.yml with the scf command line, to the account it is logged in to
	scf deploy

manifests: ## render infra/manifests, infra/policy and infra/crd from the chart (infra/chart)
	$(GO) test -count=1 -run "TestManifests|TestMonitoring" ./tests/chart -update

deploy-check: ## whether everything is there that an installation needs: ENV=.env CREDENTIALS=file KUBECONFIG_FILE=file PROBE_IMAGE=image
	@$(GO) run ./infra/check -env $(or $(ENV),.env) $(if $(CREDENTIALS),-credentials $(CREDENTIALS)) $(if $(KUBECONFIG_FILE),-kubeconfig $(KUBECONFIG_FILE)) $(if $(PROBE_IMAGE),-probe-image $(PROBE_IMAGE)) $(CHECKFLAGS)

verify: bin/staticcheck ## format, vet, static analysis, module files
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) -C localdev/cluster/controlplane vet ./...
	$(GO) -C localdev/cluster/kubelet vet ./...
	bin/staticcheck ./...
	$(GO) mod verify >/dev/null && $(GO) mod tidy -diff

clean: ## remove what was built here; the control plane's cache stays
	rm -rf bin dist out

bin/localdev: FORCE
	@$(GO) build -o $@ ./localdev

bin/helm: tools/go.mod
	@echo "building helm (minutes, once)"; $(GO) build -C tools -o ../$@ helm.sh/helm/v4/cmd/helm

bin/staticcheck: tools/go.mod
	@$(GO) build -C tools -o ../$@ honnef.co/go/tools/cmd/staticcheck

# The race detector needs a C compiler. A Debian machine without one gets it.
cc:
	@command -v cc >/dev/null || command -v gcc >/dev/null || { \
	  echo "the race detector needs a C compiler: installing gcc"; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null; }

# tests/nodejs needs node. A Debian machine without it gets it; where that fails, the
# test says what is missing.
node: cc # one at a time: apt locks
	@command -v node >/dev/null && command -v npm >/dev/null || { \
	  echo "a test lets a client in node speak to the emulator: installing nodejs and npm (minutes)"; \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; } || \
	  echo "node could not be installed: tests/nodejs will fail" >&2; }

# A node with the real kubelet needs a container runtime. A Debian machine without one gets
# it; where that fails, what needs it says what is missing.
containerd:
	@command -v containerd >/dev/null && command -v runc >/dev/null && command -v ip >/dev/null && command -v dbus-daemon >/dev/null && \
	  { test -x /usr/lib/cni/bridge || test -x /opt/cni/bin/bridge; } || { \
	  echo "the real kubelet needs a container runtime: installing containerd, runc and CNI plugins"; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends containerd runc containernetworking-plugins iproute2 dbus-daemon >/dev/null; } || true

FORCE:
.PHONY: help demo demo-ingress demo-rollout up down resync explain test race e2e e2e-kubelet e2e-profiles bench bench-rules bench-emulator lifecycle drift chaos chaos-short conformance conformance-mutants commands model results fuzz package deploy manifests verify clean cc node containerd deploy-check FORCE
