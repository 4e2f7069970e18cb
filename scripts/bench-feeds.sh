# shellcheck shell=bash disable=SC2154 # read by scripts/bench.sh, whose functions and variables these are
# The feeds' part of the benchmarks: what sockets cost, how soon they hear, and what numbering events
# costs several lanes.
#
# BENCH_SOCKETS       sockets of the run that counts memory; 10000
# BENCH_BATCH         orders of a batch, where lanes are compared; 256

sockets=${BENCH_SOCKETS:-10000}
batch_orders=${BENCH_BATCH:-256}
feeds_clients=256

feeds_runs() {
    open_shop
    load feeds-idle feeds "${timing[@]}" --sockets 1 --order-sockets 1 --clients 8 --rate 80

    for round in $(each_round); do
        open_shop
        load feeds-none feeds "${timing[@]}" --sockets 0 --clients "$feeds_clients"
        open_shop
        load feeds-1000 feeds "${timing[@]}" --sockets 1000 --clients "$feeds_clients"
    done
    round=1

    open_shop
    load feeds-never-read feeds "${timing[@]}" --sockets 1000 --never-read 100 --clients 16 --rate 500 \
        --watch-pid "$shop_pid"
    open_shop
    load "feeds-open-$sockets" feeds "${timing[@]}" --sockets "$sockets" --clients 16 --rate 20 --watch-pid "$shop_pid"

    open_shop
    sql -d emporium -c 'CREATE DATABASE batches'
    local migration
    for migration in $(printf '%s\n' sql/migrations/V*.sql | sort -V); do sql -d batches --single-transaction -f "$migration"; done
    sql -d batches -c "CREATE SEQUENCE event_numbers INCREMENT BY $((batch_orders + 1))" \
        -c 'INSERT INTO stock SELECT n, 2000000000 FROM generate_series(1, 64) n'
    local lanes
    for lanes in 1 2 4; do
        numbered "$lanes" 1
        numbered "$lanes" 0
    done
}

# numbered LANES LOCKED: batches of so many lanes, numbered under the lock or not.
numbered() {
    local name
    name=numbers-$([[ $2 == 1 ]] && echo locked || echo sequence)-$1
    sql -d batches -c 'TRUNCATE event_records, orders, order_items' -c CHECKPOINT
    transactions "$name" batches "$1" -f bench/batch.sql -D orders="$batch_orders" -D locked="$2"
    row "$name" "$(calc "print $tps * $batch_orders")" "" "" "" orders
}

# p99_of RUN WHAT [ROUND]
p99_of() { sed -n "/\"$2\"/,/}/p" "$(result "$1" "${3:-1}")" | sed -n 's/^ *"p99": \([0-9]*\),*$/\1/p' | head -n 1; }
kib_of() { figure "$(result "$1")" "$2"; }
ms() { calc "printf \"%.1f\", $1 / 1000"; }

feeds_goals() {
    local round never=feeds-never-read all=feeds-open-$sockets worst share none with
    worst=$(for round in $(each_round); do p99_of feeds-1000 last_us "$round"; done | sort -g | tail -n 1)
    read -r share none with < <(for round in $(each_round); do
        none=$(best feeds-none "$round")
        with=$(best feeds-1000 "$round")
        echo "$(ratio "$with" "$none") $none $with"
    done | middle)
    goal "$sockets sockets on one node, all of one product: server memory each" \
        "$(calc "printf \"%.1f\", $(figure "$(result "$all")" bytes_per_socket) / 1000")" 'at most' 25 ' KB' \
        'resident with them, less without'
    goal 'event → last of 1,000 sockets, flash sale at full rate: p99' "$(ms "$worst")" 'at most' 250 ' ms' \
        "from the beginning of the transaction, commit included; the worst of $rounds rounds"
    goal 'loss of checkout throughput with 1,000 subscribers to the hot product' \
        "$(calc "printf \"%.0f\", 100 * (1 - $share)")" 'at most' 15 ' %' \
        "$(whole "$with")/s to $(whole "$none")/s, $feeds_clients clients; the generator reads the sockets too"
    goal '100 of 1,000 sockets that never read: more memory' \
        "$(calc "printf \"%.1f\", ($(kib_of $never max_kib) - $(kib_of $never open_kib)) * 1.024 / 1000")" 'at most' 50 ' MB' \
        'resident at most, less when all had just been opened'
    goal '100 of 1,000 sockets that never read: closed' "$(calc "printf \"%.1f\", $(figure "$(result $never)" closed_after_s)")" \
        'at most' 60 ' s' 'after they were opened; the others heard everything'
    goal 'commit → WebSocket frame, idle system: p99' "$(ms "$(p99_of feeds-idle after_answer_us)")" 'at most' 10 ' ms' \
        'from the answer to an order, the first that anybody hears of its commit, to the order on a feed; 80 orders/s'
    printf '| %s | %s ms | told | | %s |\n' 'event → WebSocket frame, idle system: p99' "$(ms "$(p99_of feeds-idle order_us)")" \
        'from the beginning of the transaction, its wait for the disk included; the same orders' >>"$goals"
    local lanes locked sequence
    for lanes in 1 2 4; do
        locked=$(best "numbers-locked-$lanes")
        sequence=$(best "numbers-sequence-$lanes")
        printf '| %s | %s× | told | | %s |\n' \
            "event numbers under the lock, to a sequence, $lanes lane$([[ $lanes == 1 ]] || echo s)" "$(ratio "$locked" "$sequence")" \
            "$(whole "$locked")/s to $(whole "$sequence")/s, pgbench with batches of $batch_orders orders" >>"$goals"
    done
}
