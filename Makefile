# `make demo` and `make test` set up all they need (Debian packages as root, a virtual environment) and run.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Most tests wait for something most of the time: one more than the two processors that they need.
WORKERS ?= 3
HISTORIES ?= 20000
# On which the packet filter must load before it lands, and in which the tests with virtual machines run.
KERNELS ?= 6.1 6.12

DEBIAN_BASE := python3-venv
DEBIAN_DEMO := haproxy nginx-light
# Root's demo has a virtual IP too, in network namespaces.
DEBIAN_ROOTS_DEMO := iproute2 libbpf1
DEBIAN_TEST := $(DEBIAN_DEMO) $(DEBIAN_ROOTS_DEMO) apache2 bpftool chromium curl iptables iputils-ping nftables openssl procps systemd
# The Python package netfilterqueue is compiled here.
DEBIAN_NFQUEUE := gcc libc6-dev libnetfilter-queue-dev python3-dev
DEBIAN_BENCH := $(DEBIAN_TEST) apache2-bin wrk keepalived clang libbpf-dev linux-libc-dev ethtool
DEBIAN_BPF := clang llvm libbpf-dev
# Stock kernels in virtual machines, and the static loader that is the only program there.
DEBIAN_LOADING := busybox-static cpio gcc iproute2 kmod libbpf-dev libc6-dev libelf-dev qemu-system-x86 zlib1g-dev zstd
# The package is made with Debian's own Python, whichever the virtual environment has.
DEBIAN_DEB := $(DEBIAN_NFQUEUE) binutils dpkg-dev python3 python3-venv systemd
# The releases that get a package by `make debs`; one that does not run here is put into a directory by debootstrap.
RELEASES := bookworm trixie
RELEASE_HERE := $(shell . /etc/os-release && echo "$$VERSION_CODENAME")
RELEASE ?= $(RELEASE_HERE)
DIST ?= dist
DEBIAN_RPM := cpio python3 python3-venv rpm
# The Python of the system that the RPM is for: RHEL 9 has it as python3.12, RHEL 10 as python3.
RPM_PYTHON ?= 3.12
DEBIAN_SOAK := $(DEBIAN_DEB) $(DEBIAN_RPM) debootstrap
# Whole virtual machines: the Debian in them, their disks and their switch.
DEBIAN_VM := $(DEBIAN_LOADING) $(DEBIAN_DEB) $(DEBIAN_BPF) curl debootstrap e2fsprogs git qemu-utils
# Where no container engine runs: one that the test starts itself, and what makes a base image without a registry.
DEBIAN_COMPOSE := docker.io containerd runc docker-compose debootstrap iproute2 iptables

LOCK = $(abspath $(BIN))/uv pip compile --quiet --upgrade --generate-hashes --no-annotate --python-version 3.11 \
	--no-emit-index-url --custom-compile-command 'make container-locks'

BPF := l2mode/kernel/filter.bpf
BPF_HEADERS := /usr/include/$(shell uname -m)-linux-gnu
# Nothing of this machine may stand in the object, for `make bpf-check` compares bytes.
COMPILE_BPF = clang -target bpf -mcpu=v3 -O2 -g -fno-strict-aliasing -Wall -Wextra -Werror \
	-fdebug-compilation-dir=. -I$(BPF_HEADERS) -c $(BPF).c -o $(1) && llvm-strip -g $(1)

.DEFAULT_GOAL := help
.PHONY: help catalogues demo pictures demo-script test coverage soak compose-test vm-test container-locks lint format types layers check bpf bpf-check deb benchmarks debian-loading debian-vm debian-base debian-demo debian-test debian-soak debian-bench debian-bpf debian-deb debian-compose clean debs dist debian-debootstrap bpf-check-arm64 rpm debian-bpf-arm64 debian-rpm vendor

help: ## Say what can be made
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml | debian-base
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

# With filter = "nfqueue" and AWS as well, which a user may do without, and with a stand-in for AWS.
$(VENV)/.installed-l2: $(VENV)/.installed
	@tools/debian-packages.sh $(DEBIAN_NFQUEUE)
	$(BIN)/python -m pip install --quiet --editable '.[l2,aws]' --group aws
	@touch $@

debian-base:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || tools/debian-packages.sh $(DEBIAN_BASE)
debian-demo: ; @tools/debian-packages.sh $(DEBIAN_DEMO) $$([ $$(id -u) -ne 0 ] || echo $(DEBIAN_ROOTS_DEMO))
debian-test: ; @tools/debian-packages.sh $(DEBIAN_TEST)
debian-soak: ; @tools/debian-packages.sh $(DEBIAN_SOAK)
debian-deb: ; @tools/debian-packages.sh $(DEBIAN_DEB)
debian-debootstrap: ; @tools/debian-packages.sh debootstrap
debian-rpm: ; @tools/debian-packages.sh $(DEBIAN_RPM)
debian-bpf: ; @tools/debian-packages.sh $(DEBIAN_BPF)
debian-loading: ; @tools/debian-packages.sh $(DEBIAN_LOADING)
debian-bpf-arm64: ; @tools/debian-packages.sh libc6-dev-arm64-cross linux-libc-dev-arm64-cross
debian-vm: ; @tools/debian-packages.sh $(DEBIAN_VM)
debian-compose: ; @docker info >/dev/null 2>&1 || [ $$(id -u) -ne 0 ] || tools/debian-packages.sh $(DEBIAN_COMPOSE)
debian-bench: ; @tools/debian-packages.sh $(DEBIAN_BENCH)

demo: $(VENV)/.installed debian-demo ## Three servers behind HAProxy, as root with a virtual IP too, live in the terminal
	$(BIN)/hcsidecar demo

demo-script: $(VENV)/.installed debian-demo ## The same unattended: drain one, let one hang, stop one, kill one, bring both back, judge
	$(BIN)/hcsidecar demo --script

test: $(VENV)/.installed-l2 debian-test ## All tests (at most 15 minutes)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --timeout 300 -m 'not soak and not compose and not vm'

soak: $(VENV)/.installed-l2 debian-test debian-soak ## What takes longer: HISTORIES=N simulated farms, a million hostile datagrams, the package
	HCSIDECAR_SOAK_HISTORIES=$(HISTORIES) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m soak

compose-test: $(VENV)/.installed debian-compose ## Build docker-compose.yml, run it, kill a web server in it, take it away
	$(BIN)/python -m pytest --timeout 900 -m compose tests/compose

container-locks: $(VENV)/.installed ## Newest versions for the container images, with their hashes
	$(BIN)/python -m pip install --quiet uv
	cd config/container && for images in '../../pyproject.toml --extra aws --extra l2 -o requirements.lock' \
	    'build.in -o build.lock' 'aws.in -o aws.lock'; do \
	  $(LOCK) $$images || exit 1; done

lint: $(VENV)/.installed ## Style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.installed ## Types, strictly
	$(BIN)/mypy

layers: $(VENV)/.installed ## Who may import whom
	$(BIN)/lint-imports

coverage: $(VENV)/.installed ## How much of the cores their own tests run: a minute, and no less than pyproject.toml asks for
	$(BIN)/python -m coverage run -m pytest -m 'not soak' tests/core tests/l2mode
	$(BIN)/python -m coverage report

check: lint types layers coverage test ## Everything that must be right before a commit lands

vendor: ## Fetch the libraries of the console's pages from npm, as tools/vendor/packages.toml pins them
	@$(PYTHON) tools/vendor/fetch.py

catalogues: $(VENV)/.installed ## Bring the translations of the console's pages up to date with their texts
	@$(BIN)/python tools/catalogues.py

pictures: $(VENV)/.installed debian-test ## Make the pictures of README anew, from the demo in a browser
	HCSIDECAR_PICTURES=docs/pictures $(BIN)/python -m pytest tests/browser/test_demo.py

bpf: debian-bpf $(BPF).o ## Compile the packet filter if its source is newer

$(BPF).o: $(BPF).c
	$(call COMPILE_BPF,$@)

COMPARE_BPF = made=$$(mktemp) && trap 'rm -f $$made' EXIT && ($(call COMPILE_BPF,$$made)) && cmp $$made $(BPF).o

bpf-check: debian-bpf debian-loading ## Is the packet filter what its source says, and do the kernels of KERNELS take it?
	@$(COMPARE_BPF)
	@PYTHONPATH=tests $(PYTHON) -m vm.loading $(KERNELS)

vm-test: $(VENV)/.installed-l2 debian-vm ## Stock kernels in virtual machines: the filter, its tests, farms of three (KERNELS, half an hour each)
	KERNELS='$(KERNELS)' $(BIN)/python -m pytest -s -v --timeout 1800 -m vm tests/vm

bpf-check-arm64: BPF_HEADERS := /usr/aarch64-linux-gnu/include
bpf-check-arm64: debian-bpf debian-bpf-arm64 ## Does it become the same with the headers of arm64?
	@$(COMPARE_BPF)

ifeq ($(RELEASE),$(RELEASE_HERE))
deb: debian-deb ## Build the Debian package in dist/, for the release that runs here or RELEASE=trixie
	@tools/debian-build.sh $(DIST)
else
deb: debian-debootstrap
	@tools/debian-build-there.sh $(RELEASE) $(DIST) $(DEBIAN_DEB)
endif

debs: ## Build the Debian packages of all releases in dist/
	@for release in $(RELEASES); do $(MAKE) --no-print-directory deb RELEASE=$$release DIST=$(DIST) || exit 1; done

rpm: debian-rpm ## Build the RPM in dist/, for RHEL 9, 10 and their kin, or Fedora by RPM_PYTHON=3.13
	@tools/rpm-build.sh $(DIST) $(RPM_PYTHON)

dist: $(VENV)/.installed ## Build the wheel and the source distribution in dist/
	@umask 022 && export SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)} && \
	  $(BIN)/python -m build --outdir $(DIST) . >/dev/null && ls -1 $(DIST)/hcsidecar-*

benchmarks: $(VENV)/.installed-l2 debian-bench ## Measure everything anew and write benchmarks/RESULTS.md (over an hour)
	$(BIN)/python -m benchmarks

clean: ## Remove what was built here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .coverage*
