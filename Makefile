PYTHON ?= python3.11
MODELS ?= model_repository
# Triton's 25.08-py3 image, by the name it has on this host.
TRITON_IMAGE ?= tritonserver:25.08-py3
BIN := .venv/bin

.PHONY: load overload soak batch-1000 demo pacs-demo test test-gpu lint bench bench-cpu bench-size bench-gpu engines parity capacity lifecycle faults fuzz page k8s-check images-check images-lock clean dashboards-check

demo: $(BIN)/python  ## install the suite, grade a phantom study over HTTP, show table and overlay
	$(BIN)/pip install -q '.[serve]'
	$(BIN)/discgrade demo --out demo-out

pacs-demo: .venv/test .venv/debian  ## a phantom through a real Orthanc: pushed, graded, back as SEG, SR and pictures
	$(BIN)/python -m tests.pacs_demo --out demo-out

test: .venv/test .venv/debian $(BIN)/kubectl  ## unit and functional tests, the latter against a real tritonserver
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

test-gpu: .venv/test  ## build and run engines on this host's GPU; skipped, with the reason, where there is none
	$(BIN)/python -m pytest -m gpu tests/export/test_gpu.py

lint: .venv/test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: .venv/test  ## discgrade beside bare networks, FastAPI with PyTorch, PyTriton and the bare ensemble: benchmarks/report.md
	$(BIN)/python -m benchmarks.race

bench-cpu: .venv/test  ## speed and accuracy of every engine and precision on this host's CPU
	$(BIN)/python -m benchmarks.cpu_engines

bench-size: .venv/test  ## segmenters of several grids, widths and depths trained alike, judged and timed; an hour on two cores
	$(BIN)/python -m benchmarks.network_size

bench-gpu: .venv/test  ## latency and throughput of every engine on this host's GPU
	$(BIN)/python benchmarks/engine_speed.py

dashboards-check: .venv/test .venv/debian  ## every query of dashboards and rules, asked of a Prometheus that scrapes the suite under load
	$(BIN)/python -m tests.monitoring.live

parity: .venv/test  ## every precision of the committed networks, built by TensorRT-RTX and compared with the checkpoints
	$(BIN)/python -m export.parity_report training/weights

engines:  ## on a GPU host: TensorRT engines for its GPU, built in Triton's image into the model repository MODELS
	docker run --rm --gpus all -v '$(CURDIR):/discgrade:ro' -v '$(abspath $(MODELS)):/models' $(TRITON_IMAGE) sh -c \
	  'cp -r /discgrade /tmp/src && pip install -q "/tmp/src[gpu]" "tensorrt==$${TRT_VERSION%%+*}" && python3 -m export.build_engines /models'

faults: .venv/test  ## kill gateway, workers and tritonserver at random moments under jobs: none lost, none twice
	$(BIN)/python -m tests.faults --jobs 500 --kills 50

capacity: .venv/test  ## what a study costs on this machine, and how much 1 to 10,000 an hour need (docs/capacity.md)
	$(BIN)/python -m benchmarks.capacity

lifecycle: .venv/test  ## releases added, tried on a share, promoted, rolled back and broken under load: no request fails
	$(BIN)/python -m tests.lifecycle

fuzz: .venv/test  ## 10,000 damaged uploads and odd requests against a running server
	$(BIN)/python -m tests.fuzz

load: .venv/test  ## REST, jobs and gRPC at a server of its own for some minutes; report in loadtest/results (docs/load.md)
	$(BIN)/python -m loadtest load

overload: .venv/test  ## the same at three times what the server can do
	$(BIN)/python -m loadtest overload

soak: .venv/test  ## the same for 2,000 quick studies, with the server's memory
	$(BIN)/python -m loadtest soak

batch-1000: .venv/test  ## 1,000 phantom studies through `discgrade batch`, killed twice; memory of client and server
	$(BIN)/python benchmarks/batch.py

page:  ## build the page from web/ into gateway/page/static, which is committed (needs node and npm)
	cd web && npm ci --no-audit --no-fund && npm run check && npm test && npm run build

k8s-check: .venv/test .venv/debian $(BIN)/kubectl  ## build, validate and replay the manifests in k8s/
	$(BIN)/python -m pytest tests/k8s

images-check: .venv/test  ## as root on Debian: build the images from a debootstrap base, run them, grade a phantom
	@for program in buildah debootstrap; do command -v $$program >/dev/null || \
	  DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $$program; done
	$(BIN)/python -m tests.k8s.images_check

images-lock: $(BIN)/python  ## write the packages of the images anew, after a change of the requirements in pyproject.toml
	$(BIN)/pip install -q 'uv>=0.5'
	$(LOCK) --extra gateway --extra dicom-node --extra s3 --extra traces -o k8s/images/gateway.txt
	$(LOCK) --extra serve -o k8s/images/triton.txt

clean:
	rm -rf .venv demo-out build *.egg-info

LOCK := $(BIN)/uv pip compile -q --native-tls --upgrade --generate-hashes --no-header --no-annotate \
  --python-version 3.11 --python-platform x86_64-manylinux_2_36 pyproject.toml

$(BIN)/python:
	$(PYTHON) -m venv .venv

# What renders k8s/. Tests of it are skipped where it is not to be had.
$(BIN)/kubectl: tests/k8s/fetch_kubectl.py | $(BIN)/python
	@$(BIN)/python -m tests.k8s.fetch_kubectl $(BIN) || echo "Tests of k8s/ need kubectl: they will be skipped."

# Programs of other makers that the tests talk to. As root they are installed; elsewhere `sudo make .venv/debian` does it
# once, and tests of what is not there skip with that reason. RUNLEVEL=1 keeps packages from starting their services.
.venv/debian: debian-packages.txt | $(BIN)/python
	@packages=$$(sed 's/#.*//' $<); \
	if dpkg -s $$packages >/dev/null 2>&1; then touch $@; \
	elif [ "$$(id -u)" = 0 ] && apt-get -q update && \
	  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q install -y --no-install-recommends $$packages; then touch $@; \
	else echo "Some tests will be skipped: they need the Debian packages" $$packages; fi

.venv/test: $(BIN)/python pyproject.toml setup.py discgrade/v1/grading.proto
	$(BIN)/pip install -q -e '.[test]'
	touch $@
