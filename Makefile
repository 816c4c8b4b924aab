# Needs Go and make. Everything else is built under bin/ or fetched by Go;
# nothing is installed on the machine.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help dev hdfs build consul hadoop test test-loop test-hdfs race lint fmt generate ui ui-check bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: build consul ## start a whole cluster on this machine: real Consul, server, agents
	bin/alps dev

hdfs: build consul hadoop ## the same with a real HDFS beside it, whose disks can be broken
	bin/alps dev --hdfs

build: ## build bin/alps
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/alps ./cmd/alps

consul: ## have a Consul to test with: from PATH, or built once into bin/consul
	@tools/ready-consul

hadoop: ## have the jars of a real HDFS to test with: fetched once by Maven into bin/hadoop
	@tools/ready-jars hadoop deploy/hdfs/pom.xml

test: build consul ## run the suites, with the time of each
	@go run ./tools/suite

test-loop: build consul ## run the closed loop on real clusters, with its faults: 10 minutes
	@go run ./tools/suite loop

test-hdfs: build consul hadoop ## run what needs a real HDFS, with its broken disks (all of it only as root)
	@go run ./tools/suite hdfs

# In Go 1.26 the timers of a bubble (testing/synctest) share one context of the
# race detector, which dies of it, once in many runs, when two threads use it at
# a time (golang/go#78156). Tests with bubbles get one processor until go.mod
# says 1.27, where it is mended.
BUBBLES = grep -rl '"testing/synctest"' --include='*_test.go' mesh agent server checks | xargs -n1 dirname | sort -u | sed 's,^,alps/,'

race: consul ## run the engines' tests under the race detector
	go test -race $$(go list ./mesh/... ./agent/... ./server/... ./checks/... | grep -v /hdfs | grep -vxF "$$($(BUBBLES))")
	go test -race -cpu 1 $$($(BUBBLES))
	go test -race -short ./checks/hdfs/...

lint: bin/golangci-lint ## check vet, formatting, style and the import edges
	bin/golangci-lint run ./...

fmt: bin/golangci-lint ## format every Go file
	bin/golangci-lint fmt ./...

generate: ## write the generated files again
	go generate ./...

ui: ui/node_modules ## build the web UI into ui/dist, which is committed (needs Node)
	cd ui && npm run --silent build

ui-check: ui/node_modules ## check the types of the web UI, and that ui/dist is what the sources give
	cd ui && npm run --silent check && npm run --silent build
	@git diff --exit-code --stat -- ui/dist || { echo "ui/dist is old: make ui, then commit it" >&2; exit 1; }

ui/node_modules: ui/package-lock.json
	cd ui && npm ci --silent --no-audit --no-fund && touch node_modules

bench: build consul ## compare with the peers, side by side in one run
	go run ./bench

clean: ## remove what make built; the builds shared in the user's cache stay
	rm -rf bin

.PHONY: bin/golangci-lint
bin/golangci-lint:
	@tools/cached-build golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
