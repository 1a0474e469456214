# The two commands are `make demo` and `make test`; both set up what is missing (xtask/setup.sh).
# V=1 shows what cargo does.

SHELL := /bin/bash
step := xtask/step.sh
export RUST_BACKTRACE ?= 0
ifndef V
export CARGO_TERM_QUIET := true
endif

.PHONY: help demo demo-docker demo-cassandra cassandra test test-cassandra test-javascript bench fuzz torture build guests check clean
.PHONY: deb tarball
.PHONY: setup-demo setup-docker setup-test setup-fuzz setup-cassandra
.NOTPARALLEL:

help:
	@echo 'make demo    set up, build, and run the main job on a real etcd cluster (root or sudo)'
	@echo 'make demo-docker  the same on etcd in containers, of Docker (root or sudo)'
	@echo 'make demo-cassandra  the same on a Cassandra, which is fetched with Maven (root or sudo)'
	@echo 'make cassandra  fetch a Cassandra into target/, for the lab of workloads/cassandra'
	@echo 'make test    set up, build, and run every test (root or sudo)'
	@echo 'make test-cassandra  fetch a Cassandra and run what is tested on three members of it (root or sudo)'
	@echo 'make test-javascript  build a schedule in JavaScript and compare it with the one in Rust (root or sudo)'
	@echo 'make bench   measure the datapath on this kernel and a second one, and plugins, into target/bench/ (root or sudo)'
	@echo 'make fuzz    let every fuzz target run for 20 s (SECONDS=N for longer)'
	@echo 'make torture  kill, stop, flood and soak the daemon for about an hour and a half (MINUTES=N of soak) (root or sudo)'
	@echo 'make build   eBPF programs, plugins, daemon and command line, into target/'
	@echo 'make deb     a Debian package, make tarball one for everybody else, into target/packages/'
	@echo 'make check   format, lints, licences, tidiness'
	@echo 'make clean   remove everything that was built, the linker excepted'

demo: setup-demo build
	@xtask/demo.sh

demo-docker: setup-docker build
	@xtask/demo.sh docker

demo-cassandra: cassandra build
	@xtask/demo.sh cassandra

# 70 MB from the Maven repository.
cassandra: setup-cassandra
	@$(step) 'fetching Cassandra' xtask/cassandra.sh fetch

# The tests build the daemon themselves, with what they add to it.
test: setup-test guests
	@$(step) --last 'running the tests' cargo xtask test $(if $(CHECKS),--with-checks)

# Not part of `make test`: a Cassandra is downloaded, and its members want 3 GB of memory.
# One test at a time: each has a cluster on the same addresses. A quiet cargo would not name the tests.
test-cassandra: cassandra
	@$(step) 'building the plugins' cargo xtask plugins
	@CARGO_TERM_QUIET=false $(step) --last 'testing on a real Cassandra' cargo test --release \
		--workspace --test cassandra -- --ignored --test-threads=1

test-javascript: setup-demo guests
	@CARGO_TERM_QUIET=false $(step) --last 'testing a schedule in JavaScript' cargo test --release \
		--workspace --test javascript -- --ignored --test-threads=1

bench: setup-test guests
	@$(step) --last 'measuring the datapath and plugins' cargo xtask bench

fuzz: setup-fuzz
	@$(step) --last 'fuzzing' cargo xtask fuzz $(SECONDS)

torture: setup-test guests
	@$(step) --last 'torturing the daemon' cargo xtask torture $(MINUTES)

build: guests
	@$(step) 'building faultd and faultctl' cargo build --release --package faultd --package faultctl

deb: setup-demo build
	@$(step) --last 'packing a Debian package' cargo xtask deb

tarball: setup-demo build
	@$(step) --last 'packing a tarball' cargo xtask tarball

# What runs inside others: in the kernel, and in the daemon's plugin host.
guests:
	@$(step) 'building xtask' cargo build --release --package xtask
	@$(step) 'building the eBPF programs' cargo xtask ebpf
	@$(step) 'building the plugins' cargo xtask plugins

check: setup-demo guests
	@$(step) 'checking' cargo xtask check

setup-demo:
	@$(step) 'looking for what the demo needs' xtask/setup.sh demo

setup-docker:
	@$(step) 'looking for what the demo needs' xtask/setup.sh docker

setup-test:
	@$(step) 'looking for what the tests need' xtask/setup.sh test

setup-cassandra:
	@$(step) 'looking for what Cassandra needs' xtask/setup.sh cassandra

setup-fuzz:
	@$(step) 'looking for what fuzzing needs' xtask/setup.sh fuzz

clean:
	@find target -mindepth 1 -maxdepth 1 ! -name tools -exec rm -rf {} +
