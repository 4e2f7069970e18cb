#!/usr/bin/env bash
# Installs what is named and missing: any of postgres, redis, browser, websockets, nextest, deny.
# `browser` is Chromium with its driver, `websockets` the library of the example in Python.
#
# System packages come from apt, as root or through sudo; where neither is possible, the script says
# what to install and fails. No service is started: the shop and its tests run servers of their own.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }

have_postgres() {
    local folder
    for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
        [[ -x $folder/initdb && -x $folder/postgres && -x $folder/createdb ]] && return 0
    done
    command -v initdb >/dev/null && command -v postgres >/dev/null && command -v createdb >/dev/null
}

have_redis() { command -v redis-server >/dev/null; }

have_browser() {
    command -v chromedriver >/dev/null || return 1
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

have_websockets() {
    local python
    for python in python3 /usr/bin/python3; do
        "$python" -c 'import websockets' 2>/dev/null && return 0
    done
    return 1
}

# Runs a command as root, or fails.
as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
        sudo "$@"
    else
        return 1
    fi
}

# Keeps the packages from starting servers: apt asks this file, and 101 forbids it. One that is there
# already is somebody else's and stays. Debian's postgresql would also make a cluster of its own.
policy=/usr/sbin/policy-rc.d
cluster_conf=/etc/postgresql-common/createcluster.d/emporium-install.conf
made=()

forbid_services() {
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made+=("$policy")
    fi
    if [[ ! -e $cluster_conf ]]; then
        as_root mkdir -p "$(dirname "$cluster_conf")"
        echo 'create_main_cluster = false' | as_root tee "$cluster_conf" >/dev/null
        made+=("$cluster_conf")
    fi
}

allow_services() {
    [[ ${#made[@]} -eq 0 ]] || as_root rm -f "${made[@]}"
}

install_packages() {
    if ! command -v apt-get >/dev/null || ! as_root true; then
        say "missing: $*"
        say "Install them (Debian, Ubuntu: sudo apt-get install $*) and try again."
        exit 1
    fi
    say "installing $*"
    trap allow_services EXIT
    forbid_services
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    allow_services
    made=()
}

packages=()
tools=()
for name in "$@"; do
    case $name in
        postgres) have_postgres || packages+=(postgresql) ;;
        redis) have_redis || packages+=(redis-server) ;;
        browser) have_browser || packages+=(chromium chromium-driver) ;;
        websockets) have_websockets || packages+=(python3-websockets) ;;
        nextest) cargo nextest --version >/dev/null 2>&1 || tools+=(cargo-nextest) ;;
        deny) cargo deny --version >/dev/null 2>&1 || tools+=(cargo-deny) ;;
        *)
            say "usage: $0 [postgres] [redis] [browser] [websockets] [nextest] [deny]"
            exit 2
            ;;
    esac
done

if [[ ${#packages[@]} -gt 0 ]]; then
    install_packages "${packages[@]}"
fi
for tool in "${tools[@]}"; do
    say "installing $tool (once; this takes a few minutes)"
    cargo install --locked "$tool"
done
