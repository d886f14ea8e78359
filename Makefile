# Orrery: two commands do all on a fresh Debian 12: `make up` and `make test`.
#
#   make up        get what is missing, build, start everything, run a demo pod
#   make down      stop everything; state stays
#   make test      every test, also the end-to-end one (needs root for it)
#   make clients   kubectl 1.30 to 1.37, helm, the Python client and a kube-rs controller against a private control plane
#   make check     layers, sizes, formatting, lints
#   make install   orrery, crx-init and completions below $(PREFIX)

PREFIX ?= /usr/local
TARGET ?= target
PROFILE ?= release
OUT = $(TARGET)/$(PROFILE)

# What `/version` tells of the build: the commit, and its date unless SOURCE_DATE_EPOCH says another. The same for the same
# commit, so that a build can be repeated. Without git or a checkout both stay unknown.
ORRERY_COMMIT := $(or $(ORRERY_COMMIT),$(shell git rev-parse HEAD 2>/dev/null))
SOURCE_DATE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))
ifneq ($(ORRERY_COMMIT),)
export ORRERY_COMMIT
endif
ifneq ($(SOURCE_DATE_EPOCH),)
ORRERY_BUILD_DATE := $(or $(ORRERY_BUILD_DATE),$(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%dT%H:%M:%SZ))
export ORRERY_BUILD_DATE
endif

.DEFAULT_GOAL := help
.PHONY: help up down build deps test clients check install clean

help:
	@sed -n 's/^#   //p' Makefile

# Packages and tools of Debian; does nothing when all are there.
deps:
	@scripts/deps

build: deps
	@scripts/step "build orrery" cargo build --quiet --locked --profile $(PROFILE) -p orrery
	@scripts/step "build crx-init" guest/build $(OUT)/crx-init

up: build
	@command -v kubectl >/dev/null || scripts/step "get kubectl" scripts/get-kubectl "$${ORRERY_STATE:-/var/lib/orrery}/cache/bin"
	@$(OUT)/orrery up $(UP)

down:
	@if [ -x $(OUT)/orrery ]; then $(OUT)/orrery down $(DOWN); else orrery down $(DOWN); fi

# The tests build the program themselves, in the quick profile; crx-init has to lie beside it.
test: deps
	@scripts/step "build crx-init" guest/build $(TARGET)/debug/crx-init
	@scripts/test

# CLIENTS are options, such as `--only helm`; see docs/clients.md. Needs no root, but a C compiler and pip.
clients:
	@scripts/clients $(CLIENTS)

check: deps
	@cargo xtask check

install: build
	install -D -m 0755 $(OUT)/orrery $(DESTDIR)$(PREFIX)/bin/orrery
	install -D -m 0755 $(OUT)/crx-init $(DESTDIR)$(PREFIX)/lib/orrery/crx-init
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions
	$(OUT)/orrery completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/orrery
	$(OUT)/orrery completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_orrery

clean:
	cargo clean
	rm -rf guest/target
