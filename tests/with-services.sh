#!/usr/bin/env bash
# Runs a command with a PostgreSQL and a Redis of its own, and stops both when it ends.
#
#   tests/with-services.sh cargo nextest run --workspace
#
# Gives the command TEST_DATABASE_URL, a superuser's key-value string for the maintenance database,
# in which tests make databases of their own, TEST_REDIS_URL, and TEST_PGBENCH, the server's pgbench. Both servers listen only on
# sockets in a private temporary folder. Nothing here outlives a crash, so fsync is off.
set -euo pipefail

if [[ $# -eq 0 ]]; then
    echo "usage: $0 COMMAND [ARGUMENT…]" >&2
    exit 2
fi

# The newest PostgreSQL there is.
programs=$(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -V | while read -r folder; do
    if [[ -x $folder/initdb ]]; then echo "$folder"; fi
done | tail -n 1)
if [[ -z $programs ]]; then
    programs=$(command -v initdb >/dev/null && dirname "$(readlink -f "$(command -v initdb)")" || true)
fi
if [[ -z $programs ]] || ! command -v redis-server >/dev/null; then
    echo "PostgreSQL and redis-server are needed: apt-get install postgresql redis-server" >&2
    exit 1
fi

# Socket paths must be short, so a long TMPDIR will not do.
base=${TMPDIR:-/tmp}
[[ ${#base} -le 40 ]] || base=/tmp
folder=$(mktemp -d "$base/emporium-test.XXXXXX")
postgres_pid=
redis_pid=

# shellcheck disable=SC2317,SC2086 # called by the trap; an empty process id is no word
finish() {
    local status=$?
    trap - EXIT INT TERM HUP
    # QUIT is an immediate shutdown: nothing in there is worth a checkpoint.
    [[ -z $postgres_pid ]] || kill -QUIT "$postgres_pid" 2>/dev/null || true
    [[ -z $redis_pid ]] || kill -KILL "$redis_pid" 2>/dev/null || true
    wait $postgres_pid $redis_pid 2>/dev/null || true
    rm -rf "$folder"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# PostgreSQL refuses to run as root, and wants a working folder that it can enter.
as_user=(env -u PGPORT -u PGHOST -u PGDATABASE -u PGUSER)
if [[ $(id -u) -eq 0 ]]; then
    account=postgres
    id "$account" >/dev/null 2>&1 || account=nobody
    as_user+=(setpriv "--reuid=$account" "--regid=$(id -g "$account")" --clear-groups)
    chown "$account" "$folder"
fi

(cd "$folder" && exec "${as_user[@]}" "$programs/initdb" -D "$folder/cluster" -U postgres \
    --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=reject --no-sync) \
    >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }

# One subshell, which becomes the server, so that $! is the server's own process id.
(cd "$folder" && exec "${as_user[@]}" "$programs/postgres" -D "$folder/cluster" \
    -c listen_addresses= -c unix_socket_directories="$folder" -c unix_socket_permissions=0700 \
    -c fsync=off -c full_page_writes=off -c synchronous_commit=off \
    -c max_connections=300 -c shared_buffers=128MB -c max_wal_size=1GB \
    -c autovacuum_naptime=5s -c log_min_messages=log -c log_checkpoints=off) \
    >"$folder/postgres.log" 2>&1 &
postgres_pid=$!

redis-server --port 0 --unixsocket "$folder/redis.sock" --unixsocketperm 700 --dir "$folder" \
    --save '' --appendonly no --daemonize no >"$folder/redis.log" 2>&1 &
redis_pid=$!

wait_for() { # what, its pid, its log, a command that succeeds once it is ready
    local what=$1 pid=$2 log=$3
    shift 3
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        if ! kill -0 "$pid" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "$what did not start:" >&2
    cat "$log" >&2
    exit 1
}
wait_for PostgreSQL "$postgres_pid" "$folder/postgres.log" "$programs/pg_isready" -q -h "$folder" -p 5432 -U postgres -d postgres
wait_for Redis "$redis_pid" "$folder/redis.log" test -S "$folder/redis.sock"

export TEST_DATABASE_URL="host=$folder port=5432 user=postgres dbname=postgres"
export TEST_REDIS_URL="redis+unix://$folder/redis.sock"
export TEST_PGBENCH="$programs/pgbench"

# In the background and waited for, so that a signal to this script is heard at once.
"$@" &
command_pid=$!
trap 'kill -INT "$command_pid" 2>/dev/null; wait "$command_pid" || true; exit 130' INT
trap 'kill -TERM "$command_pid" 2>/dev/null; wait "$command_pid" || true; exit 143' TERM HUP
wait "$command_pid"
