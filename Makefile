# bwtop: the commands a user or developer types.  `make` alone lists them.

PYTHON := /usr/bin/python3
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
ARGS ?=

RUN_PACKAGES := python3-bpfcc python3-urwid python3-humanize libbpf1
WEB_PACKAGES := $(RUN_PACKAGES) libjs-chart.js
DEB_PACKAGES := debhelper dh-python
RPM_PACKAGES := rpm
PACKAGING_PACKAGES := $(DEB_PACKAGES) $(RPM_PACKAGES) git lintian debootstrap systemd systemd-container podman runc
TEST_PACKAGES := $(WEB_PACKAGES) $(PACKAGING_PACKAGES) python3-venv gcc libc6-dev iproute2 sudo strace chromium curl openssl bind9-dnsutils musl-tools fonts-dejavu-core kmod publicsuffix mandoc groff-base zsh fish prometheus python3-prometheus-client python3-maxminddb libzookeeper-java default-jre-headless e2fsprogs
TEST_OPTIONAL := clickhouse-server
BENCH_PACKAGES := iperf3 nethogs tcpdump
VM_PACKAGES := qemu-system-x86 qemu-system-arm busybox-static file

VENV := .venv
BIN := $(VENV)/bin
SOURCES := bwtop man tests bwtop.py

# Where `make install` puts it; DESTDIR stands before that for who makes packages.
PREFIX := /usr/local
PRIVATE = $(DESTDIR)$(PREFIX)/share/bwtop
UNIT = $(DESTDIR)$(PREFIX)/lib/systemd/system/bwtop.service
SYSUSERS = $(DESTDIR)$(PREFIX)/lib/sysusers.d/bwtop.conf
BASH_COMPLETION = $(DESTDIR)$(PREFIX)/share/bash-completion/completions/bwtop
ZSH_COMPLETION = $(DESTDIR)$(PREFIX)/share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)/_bwtop
FISH_COMPLETION = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/bwtop.fish
EXAMPLES = $(DESTDIR)$(PREFIX)/share/doc/bwtop/examples
CACHES = "$(DESTDIR)/var/cache/bwtop" "$(DESTDIR)/var/cache/bwtop-service"
MAN_PAGES := $(wildcard man/*.1)
COMPILE := yes

# What packages are made from, and the beginning of a recipe that makes them in a copy, so that nothing is left here.
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' bwtop/__init__.py)
RELEASE = bwtop-$(VERSION)
RELEASED := CHANGELOG.md CONTRIBUTING.md LICENSE MANIFEST.in Makefile README.md bpf bwtop bwtop.py debian man pyproject.toml share

define in_a_folder
copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && trap 'exit 1' INT TERM && umask 022 && mkdir -p dist
endef

define in_a_copy
@$(in_a_folder) && mkdir "$$copy/bwtop" && \
cp -R -P -p $(RELEASED) "$$copy/bwtop" && find "$$copy" -name __pycache__ -prune -exec rm -rf {} +
endef

# Installs those Debian packages of a list that are missing, and does nothing when none is.  Those of a second list are
# left out where the distribution has none.
define install_missing
@missing=""; \
for package in $(1) $(2); do \
	dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package "; \
done; \
if [ -n "$$missing" ]; then \
	$(SUDO) apt-get update -qq || exit; \
	for package in $(2); do \
		apt-cache policy $$package | grep -q 'Candidate: [^(]' && continue; \
		echo "$$package: not in this distribution, tests that need it are skipped" >&2; \
		missing=$$(echo "$$missing" | sed "s/ $$package / /"); \
	done; \
	[ -z "$$(echo $$missing)" ] || \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing; \
fi
endef

.PHONY: help
help:
	@echo 'make run           install what is missing and start bwtop (ARGS="--batch -n 5" for flags)'
	@echo 'make run-web       the same for the browser view; as root it measures, else it serves what is recorded'
	@echo 'make install-deps  install the packages of Debian that it needs'
	@echo 'make install       install it for all users (PREFIX, DESTDIR); make uninstall takes it away'
	@echo 'make deb           make a package for Debian, in dist/'
	@echo 'make rpm           make a package for Fedora, in dist/'
	@echo 'make wheel         make a wheel and a source distribution for pip and pipx, in dist/'
	@echo 'make release       make all of these and the sources, with checksums, from the last commit, in dist/'
	@echo 'make test          install what the tests need and run them all (ARGS="tests/model -k sum" for some)'
	@echo 'make test-thorough the same with twenty times the examples of Hypothesis'
	@echo 'make test-newest   the tests of all that is shown, with the newest packages of PyPI'
	@echo 'make test-trixie   run bwtop and a part of the tests in a fresh Debian 13 (make test-sid: in sid)'
	@echo 'make test-kernels  the kernel tests with every backend, on six kernels of Debian in QEMU (an hour);'
	@echo '                   what is green is written to tests/vm/matrix.json and the table in man/guide/kernels.md'
	@echo '                   (ARGS="--machine amd64" leaves arm64 out: half an hour)'
	@echo 'make verify-kernels the same only for what has changed since, sources or kernels (MACHINES=amd64 for one machine)'
	@echo 'make bench         how fast and how small bwtop is, beside its peers (ARGS="--quick overhead" for less)'
	@echo 'make picture       the pictures in the documents, man/*.svg and *.png, from real runs'
	@echo 'make docs          the manual and the completions, from the tables in the program'
	@echo 'make lint          formatting, lint, types, direction of imports'
	@echo 'make format        put the sources into their format'
	@echo 'make clean         remove what these commands made here'

.PHONY: install-deps
install-deps:
	$(call install_missing,$(RUN_PACKAGES))

.PHONY: run
run: install-deps
	@$(SUDO) ./bwtop.py $(ARGS)

# Without sudo: a user without root sees what a running bwtop records.
.PHONY: run-web
run-web:
	$(call install_missing,$(WEB_PACKAGES))
	@./bwtop.py --serve $(ARGS)

# The interpreter is told from where the byte code will be read: tracebacks show that.
.PHONY: install
install:
	rm -rf "$(PRIVATE)"
	find bwtop bpf -name __pycache__ -prune -o -type f \( -name '*.py' -o -name '*.[ch]' -o -path '*/static/*' \) \
		-exec sh -c 'for file; do install -D -m 644 "$$file" "$(PRIVATE)/$$file" || exit; done' sh {} +
	install -m 755 bwtop.py "$(PRIVATE)/bwtop.py"
	$(if $(COMPILE),umask 022 && $(PYTHON) -m compileall -q $(if $(DESTDIR),-s "$(DESTDIR)" -p /) "$(PRIVATE)/bwtop")
	install -d "$(DESTDIR)$(PREFIX)/bin"
	ln -sfn ../share/bwtop/bwtop.py "$(DESTDIR)$(PREFIX)/bin/bwtop"
	install -D -m 644 share/bwtop.service "$(UNIT)"
	sed -i 's|/usr/bin/bwtop|$(PREFIX)/bin/bwtop|' "$(UNIT)"
	install -D -m 644 share/bwtop.sysusers "$(SYSUSERS)"
	$(foreach page,$(MAN_PAGES),install -D -m 644 $(page) "$(DESTDIR)$(PREFIX)/share/man/man1/$(notdir $(page))" &&) :
	[ ! -d share/completions ] || { \
		install -D -m 644 share/completions/bwtop.bash "$(BASH_COMPLETION)" && \
		install -D -m 644 share/completions/_bwtop "$(ZSH_COMPLETION)" && \
		install -D -m 644 share/completions/bwtop.fish "$(FISH_COMPLETION)"; }
	$(foreach kind,prometheus grafana clickhouse,install -d "$(EXAMPLES)/$(kind)" && \
		install -m 644 share/$(kind)/* "$(EXAMPLES)/$(kind)" &&) :

.PHONY: uninstall
uninstall:
	rm -rf "$(PRIVATE)" "$(EXAMPLES)" $(CACHES)
	[ ! -d "$(dir $(EXAMPLES))" ] || rmdir --ignore-fail-on-non-empty "$(dir $(EXAMPLES))"
	rm -f "$(DESTDIR)$(PREFIX)/bin/bwtop" "$(UNIT)" "$(SYSUSERS)" \
		$(foreach page,$(MAN_PAGES),"$(DESTDIR)$(PREFIX)/share/man/man1/$(notdir $(page))") \
		"$(BASH_COMPLETION)" "$(ZSH_COMPLETION)" "$(FISH_COMPLETION)"

# -d: all that is needed is installed by now; a compiler, which Debian's tools take for needed by all packages, is not.
.PHONY: deb
deb:
	$(call install_missing,$(DEB_PACKAGES))
	$(in_a_copy) && (cd "$$copy/bwtop" && dpkg-buildpackage -d --build=binary --no-sign) && cp "$$copy"/*.deb dist

# --nodeps: what Fedora needs to make a package has other names here.
.PHONY: rpm
rpm:
	$(call install_missing,$(RPM_PACKAGES))
	$(in_a_copy) && (cd "$$copy/bwtop" && rpmbuild -bb --quiet --build-in-place --nodeps --define "_topdir $$copy/rpm" \
		--define '_buildhost localhost' --define '__brp_compress %{nil}' --define 'use_source_date_epoch_as_buildtime 1' \
		--define 'clamp_mtime_to_source_date_epoch 1' share/rpm/bwtop.spec) && cp "$$copy"/rpm/RPMS/noarch/*.rpm dist

$(VENV)-build/.ready:
	$(PYTHON) -m venv $(VENV)-build
	$(VENV)-build/bin/pip install -q 'build >= 1, < 2'
	@touch $@

.PHONY: wheel
wheel: $(VENV)-build/.ready
	$(in_a_copy) && $(VENV)-build/bin/python -m build -o dist "$$copy/bwtop"

# What a release is made from is committed, and its version and date are the same wherever they stand.
.PHONY: release-check
release-check:
	@git diff --quiet HEAD || { echo 'release: commit your changes first; a release is made from the last commit' >&2; exit 1; }
	@program="$(VERSION) ($$(date -d "$$(sed -n 's/^\.Dd //p' man/bwtop.1)" +%F))"; \
	changelog=$$(sed -n '/^## /{s///p;q}' CHANGELOG.md); \
	debian="$$(dpkg-parsechangelog -S Version | tr -d '~') ($$(date -u -d "$$(dpkg-parsechangelog -S Date)" +%F))"; \
	[ "$$program" = "$$changelog" ] && [ "$$program" = "$$debian" ] || { \
		echo "release: versions or dates differ: bwtop and its manual: $$program; CHANGELOG.md: $$changelog; debian/changelog: $$debian" >&2; \
		exit 1; }

# From the last commit, with its time in place of the present: two runs make the same bytes.  setuptools writes the present
# into the source distribution, so that is packed again.
.PHONY: release
release: release-check $(VENV)-build/.ready
	$(call install_missing,$(DEB_PACKAGES) $(RPM_PACKAGES))
	@$(in_a_folder) && export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) && \
	git -c tar.umask=0022 archive --prefix=$(RELEASE)/ -o "$$copy/$(RELEASE).tar" HEAD && tar -xf "$$copy/$(RELEASE).tar" -C "$$copy" && \
	$(MAKE) -C "$$copy/$(RELEASE)" deb rpm wheel VENV="$(abspath $(VENV))" && made="$$copy/$(RELEASE)/dist" && \
	xz -9 -T1 <"$$copy/$(RELEASE).tar" >"$$made/$(RELEASE).tar.xz" && \
	mkdir "$$copy/sdist" && tar -xf "$$made/$(RELEASE).tar.gz" -C "$$copy/sdist" && \
	tar --format=ustar --sort=name --mtime=@$$SOURCE_DATE_EPOCH --owner=root:0 --group=root:0 --mode=go=rX \
		-C "$$copy/sdist" -cf "$$copy/sdist.tar" $(RELEASE) && gzip -9n <"$$copy/sdist.tar" >"$$made/$(RELEASE).tar.gz" && \
	(cd "$$made" && sha256sum -- * >SHA256SUMS) && cp "$$made"/* dist && cat dist/SHA256SUMS

.PHONY: test-deps
test-deps:
	$(call install_missing,$(TEST_PACKAGES),$(TEST_OPTIONAL))
	@$(MAKE) -s $(VENV)/.ready

$(VENV)/.ready: tests/requirements.txt
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(BIN)/pip install -q -r tests/requirements.txt
	@touch $@

PYTEST = $(SUDO) env PYTHONDONTWRITEBYTECODE=1 CI=$(CI) $(BIN)/pytest $(PROFILE)
PROFILE :=
WORKERS := 3

# Byte code as Python writes it: tests start bwtop a thousand times.  Only pytest adds its own, of the tests.
.PHONY: compiled
compiled: test-deps
	@$(PYTHON) -m compileall -q bwtop tests

# All tests in two runs: first, file by file in parallel, those that can run beside others, then the few that cannot.
# Both run to their end.  Files keep the order of tests/conftest.py.  Many wait, so there are more workers than processors.
.PHONY: test
test: compiled
ifeq ($(strip $(ARGS)),)
	@status=0; \
	$(PYTEST) -m 'not alone' -n $(WORKERS) --dist loadfile --no-loadscope-reorder || status=$$?; \
	$(PYTEST) -m alone || status=$$?; \
	exit $$status
else
	@$(PYTEST) $(ARGS)
endif

.PHONY: test-thorough
test-thorough:
	@$(MAKE) test PROFILE=--hypothesis-profile=thorough

$(VENV)-newest/.ready: tests/requirements.txt
	$(PYTHON) -m venv --system-site-packages $(VENV)-newest
	$(VENV)-newest/bin/pip install -q -r tests/requirements.txt
	$(VENV)-newest/bin/pip install -q --upgrade --ignore-installed urwid humanize prometheus-client
	@touch $@

NEWEST = $(SUDO) env PYTHONDONTWRITEBYTECODE=1 CI=$(CI) $(VENV)-newest/bin/pytest
NEWEST_TESTS = tests/screen tests/metrics tests/output tests/view tests/text tests/modes tests/options tests/measure $(wildcard tests/test_*.py)

# The screen in a real terminal has deadlines, so it is by itself.
.PHONY: test-newest
test-newest: compiled $(VENV)-newest/.ready
	@$(NEWEST) -m 'not kernel and not screen' -n $(WORKERS) --dist loadfile $(NEWEST_TESTS) $(ARGS)
	@$(NEWEST) -m screen tests/screen tests/modes $(ARGS)

# In a fresh Debian of that suite, with its own Python and packages.
.PHONY: test-trixie test-sid
test-trixie test-sid: test-deps
	@$(SUDO) env PYTHONDONTWRITEBYTECODE=1 $(BIN)/python -m tests.packaging.suite $(@:test-%=%)

$(VENV)/.ready-vm: tests/vm/requirements.txt $(VENV)/.ready
	$(BIN)/pip install -q -r tests/vm/requirements.txt
	@touch $@

# Not through sudo: in a virtual machine everyone is root.
.PHONY: test-kernels
test-kernels: test-deps
	$(call install_missing,$(VM_PACKAGES))
	@$(MAKE) -s $(VENV)/.ready-vm
	@PYTHONDONTWRITEBYTECODE=1 CI=$(CI) $(BIN)/python -m tests.vm $(ARGS)

# What ran is in tests/vm/matrix.json, with hashes of it.
MACHINES ?= amd64 arm64
.PHONY: verify-kernels
verify-kernels: test-deps
	@for machine in $(MACHINES); do \
		$(BIN)/python -m tests.vm --verify --machine $$machine || \
			$(MAKE) test-kernels ARGS="--changed --machine $$machine" || exit; \
	done

# The screen and the page as the documents show them, from runs with real traffic.
.PHONY: picture
picture: test-deps
	@$(SUDO) env PYTHONDONTWRITEBYTECODE=1 BWTOP_PICTURES=$(CURDIR)/man \
		$(BIN)/pytest -q tests/screen/test_terminal.py tests/web/page/test_pictures.py -k picture

.PHONY: bench-deps
bench-deps: test-deps
	$(call install_missing,$(BENCH_PACKAGES))

.PHONY: bench
bench: bench-deps
	@$(SUDO) env -u PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX=$(CURDIR)/$(VENV)/pycache $(BIN)/python -m tests.bench $(ARGS)

.PHONY: docs
docs:
	@$(PYTHON) -m man

.PHONY: lint
lint: test-deps
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy bwtop man tests
	$(BIN)/lint-imports

.PHONY: format
format: test-deps
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

.PHONY: clean
clean:
	rm -rf dist $(VENV) $(VENV)-build $(VENV)-newest .mypy_cache .ruff_cache .import_linter_cache
	find bwtop tests -name __pycache__ -prune -exec $(SUDO) rm -rf {} +
