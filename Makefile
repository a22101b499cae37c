# `make demo` and `make test` need git, make and Python 3.11 or newer, and set up everything else in .venv.
# All paths are relative: the folder may have any name, spaces included.

SHELL = bash
.SHELLFLAGS = -euo pipefail -c
.DEFAULT_GOAL = help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
export PORT ?= 8000
export STATE ?= .smartops
unexport PYTHONDONTWRITEBYTECODE  # tests are rewritten and compiled once

python = .venv/bin/python
pytest = $(python) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
# Pure code, and what needs one database and no page: the loop, its decisions, the API. Of these the fast tests leave out
# the three files that start processes or try thousands of cases, and the properties that hypothesis tries.
fast = $(addprefix tests/,guardrails orchestrator signals smartops/api smartops/pure \
	test_docs.py test_project.py test_reasons.py)
beside = $(addprefix tests/,orchestrator/publish/test_publishers.py orchestrator/reconciler/test_interleavings.py \
	smartops/api/test_fuzz.py)
properties = $(filter-out $(beside),$(shell grep -rlw hypothesis --include='*.py' $(fast)))
rest = $(filter-out $(fast) tests/smartops tests/kit %/__pycache__,$(patsubst %/,%,$(wildcard \
	$(foreach folder,tests/ tests/smartops/,$(folder)*/ $(folder)test_*.py)))) $(beside)
# These spend half of their time on waiting for processes and clusters: more of them run than there are cores. The order
# is that of tests/conftest.py.
waiting = --numprocesses 6 --maxprocesses 6 --no-loadscope-reorder
# Two runs in one clone take turns at .venv; the second finds it complete.
environment = MAKEFLAGS= flock -o Makefile $(MAKE) -s
# Install a Debian package where root may, else name it: $(call debian,package)
debian = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "[setup] installing the package $(1)"; \
		flock -o /var/lib/dpkg sh -c 'apt-get update -qq; \
			DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(1)' >/dev/null; \
	else echo "[setup] please install a package first: apt-get install $(1)" >&2; exit 1; fi
# The tests take half of the time with chromium's headless shell. They also run with chromium.
browser = command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || \
	{ $(call debian,chromium-headless-shell); }

.PHONY: help demo test test-rest test-properties test-fast check conformance bench screenshots clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 13

demo: ## Run SmartOps on a sandbox cluster (PORT=8000 STATE=.smartops; DEMO_KUBECONFIG=FILE for a cluster of yours)
	@$(environment) .venv/demo.installed
	@exec $(python) -m smartops.dev.demo

test: ## Check and test everything
	@$(MAKE) --jobs=2 check test-fast test-properties
	@$(MAKE) test-rest

test-rest:
	@$(environment) .venv/dev.installed
	@$(browser)
	@command -v promtool >/dev/null || { $(call debian,prometheus); }
	@echo "[test] pytest: everything else"
	@exec $(pytest) $(waiting) $(rest)

test-properties:
	@$(environment) .venv/dev.installed
	@echo "[test] pytest: properties, by hypothesis"
	@exec $(pytest) -m hypothesis $(properties)

test-fast: ## Test pure code, all its branches, and what needs one database and no page
	@$(environment) .venv/dev.installed
	@echo "[test] pytest: pure code and one database"
	@exec $(pytest) $$($(python) -m tests.kit.pure) -m 'not hypothesis' $(addprefix --ignore=,$(beside)) $(fast)

check: ## Lint, types, import contracts, deployment settings, migrations
	@$(environment) .venv/dev.installed
	@echo "[check] ruff"
	@$(python) -m ruff check --quiet .
	@$(python) -m ruff format --quiet --check .
	@echo "[check] import contracts"
	@report=$$($(python) -c 'from importlinter.cli import lint_imports_command as run; run()') || \
		{ echo "$$report"; exit 1; }
	@if command -v go >/dev/null; then $(environment) .conformance/actionlint; \
		echo "[check] workflow"; .conformance/actionlint; else echo "[check] workflow: skipped, actionlint needs Go"; fi
	@echo "[check] mypy"
	@$(python) -m mypy .
	@echo "[check] deployment settings"
	@SMARTOPS_SECRET_KEY=$$($(python) -c 'import secrets; print(secrets.token_urlsafe(64))') \
		$(python) manage.py check --deploy --fail-level WARNING
	@echo "[check] migrations"
	@state=$$(mktemp -d); trap '$(python) -m smartops.dev.postgres stop "$$state"; rm -rf "$$state"' EXIT; \
		DATABASE_URL=$$($(python) -m smartops.dev.postgres start "$$state") $(python) manage.py makemigrations --check

conformance: ## Test on a real control plane, built with Go (CONFORMANCE_KUBECONFIG=FILE for a cluster of yours)
	@$(environment) .venv/dev.installed
ifdef CONFORMANCE_KUBECONFIG
	@echo "[conformance] pytest, on the cluster of $(CONFORMANCE_KUBECONFIG)"
	@exec $(python) -m pytest tests/conformance
else
	@$(environment) .conformance/controlplane .conformance/helm
	@echo "[conformance] pytest, on a real control plane"
	@exec .conformance/controlplane run -- $(python) -m pytest tests/conformance
endif

bench: ## Measure against the baselines
	@$(environment) .venv/dev.installed
	@exec $(python) -m benchmarks

screenshots: ## Take the pictures of the README and of docs
	@$(environment) .venv/dev.installed
	@$(browser)
	@command -v pngquant >/dev/null || { $(call debian,pngquant); }
	@[ -n "$$(fc-list Inter)" ] && [ -n "$$(fc-list 'JetBrains Mono')" ] || { $(call debian,fonts-inter fonts-jetbrains-mono); }
	@exec $(python) -m tests.smartops.console.screenshots

clean: ## Remove the environment, the demo's state and all caches
	rm -rf .venv .conformance .smartops .test-state .*_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.conformance/%: export CGO_ENABLED = 0
.conformance/%: export GOFLAGS = -trimpath -buildvcs=false
# Kubernetes says of itself which version it is; only its own build scripts would tell it.
.conformance/controlplane: source = tests/conformance/controlplane
.conformance/controlplane: $(wildcard tests/conformance/controlplane/*)
	@command -v go >/dev/null || { echo "[conformance] Go is needed to build a control plane, and there is none:" \
		"install it, or set CONFORMANCE_KUBECONFIG to a cluster of yours" >&2; exit 1; }
	@echo "[conformance] gofmt"
	@unformatted=$$(gofmt -l $(source)); [ -z "$$unformatted" ] || { echo "$$unformatted"; exit 1; }
	@echo "[conformance] building etcd, kube-apiserver and kube-controller-manager (minutes the first time, then cached)"
	@version=$$(go list -C $(source) -m -f '{{.Version}}' k8s.io/kubernetes); \
		IFS=. read -r major minor _ <<< "$${version#v}"; package=k8s.io/component-base/version; \
		go build -C $(source) -o ../../../$@ -ldflags "-s -w -X $$package.gitVersion=$$version \
			-X $$package.gitMajor=$$major -X $$package.gitMinor=$$minor" .
	@echo "[conformance] go vet"
	@go vet -C $(source) .
	@touch $@

.conformance/actionlint: Makefile
	@echo "[check] building actionlint"
	@GOBIN="$$PWD/$(@D)" go install -ldflags "-s -w" github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
	@touch $@

# To install the chart as people do.
.conformance/helm: Makefile
	@echo "[conformance] building helm (minutes the first time, then cached)"
	@GOBIN="$$PWD/$(@D)" go install -ldflags "-s -w" helm.sh/helm/v4/cmd/helm@v4.3.1
	@touch $@

.venv/demo.installed: extras = demo
.venv/dev.installed: extras = demo dev oidc
.venv/%.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "[setup] Python 3.11 or newer is needed, and $(PYTHON) is not: try make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(call debian,python3-venv); }
	@$(python) -m pip --version >/dev/null 2>&1 || \
		{ echo "[setup] creating .venv"; $(PYTHON) -m venv --clear .venv; }
	@echo "[setup] installing packages: $(extras)"
	@$(python) -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*project["dependencies"], *sum(map(project["optional-dependencies"].get, sys.argv[1:]), []), sep="\n")' \
		$(extras) > $@.txt
	@while sleep 5; do find .venv/lib -name '*.dist-info' -prune | sed -n '$$=' | sed 's/$$/ packages are unpacked/'; done \
		> >(uniq | sed -u 's/^/[setup]   /') & trap "kill $$!" EXIT; \
	$(python) -m pip install --disable-pip-version-check --no-input -c constraints.txt -r $@.txt \
		| sed -un 's/^Collecting \([[:alnum:]._-]*\).*/[setup]   \1/p; s/^Installing collected.*/[setup]   unpacking/p'
	@touch $@
