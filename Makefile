# make demo and make test set everything up by themselves; they need Go, python3 with pip and make.
# A libtorch that is there already is used: see `bin/must doctor`, or set LIBTORCH to its folder.

export CGO_ENABLED := 0
ifdef LIBTORCH # made absolute, for tests run in their packages' folders
override export LIBTORCH := $(abspath $(LIBTORCH))
endif
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: build demo test test-all lint test-browser race bench bench-peers cuda-check fuzz libtorch onnxruntime mpi clean

build: ## bin/must, one static binary
	go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/must ./cmd/must

demo: libtorch build ## the whole method on the embedded world; ends with the path of its report
	bin/must demo

test: libtorch onnxruntime mpi build lint ## all tests, and lint
	go run ./scripts/test

test-all: libtorch onnxruntime mpi build lint ## test with every supported libtorch and set of instructions
	go run ./scripts/test -all

lint: ## gofmt, go vet, staticcheck, and no code that nothing calls
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted" >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	@unused=$$(go tool deadcode -test ./...); test -z "$$unused" || { echo "nothing calls: $$unused" >&2; exit 1; }

test-browser: libtorch ## the pages in a real browser, which is installed where there is none
	scripts/browser.sh

race: ## the packages without tensors under the race detector, where there is a C compiler
	scripts/race.sh

bench: libtorch ## all benchmarks
	go test -run '^$$' -bench . -benchmem ./...

bench-peers: libtorch ## a training step and labelling beside PyTorch, into docs/performance.md; QUICK=1: in 10 minutes; PYTHON has torch and torchvision
	go run ./scripts/benchpeers $(if $(QUICK),-quick) -revision $(VERSION) -write docs/performance.md

cuda-check: ## packs out/cuda-check.tar.gz, which shows how all this does on a machine with a GPU, without Go
	go run ./scripts/cuda-check -pack out/cuda-check

fuzz: libtorch ## every fuzz target for FUZZTIME
	scripts/fuzz.sh $(or $(FUZZTIME),10s)

libtorch: ## finds a libtorch, or fetches the CPU part of PyTorch into .libtorch/
	@go run ./scripts/library libtorch .libtorch

onnxruntime: ## finds an ONNX Runtime, for teachers that are .onnx models, or fetches one into .onnxruntime/
	@go run ./scripts/library onnxruntime .onnxruntime

mpi: ## finds an MPI, for several processes on CPUs, or fetches MPICH into .mpi/
	@go run ./scripts/library mpi .mpi

clean: ## what was built and written, but not what was fetched
	rm -rf bin out
