# shellcheck shell=bash disable=SC2154 # read by scripts/bench.sh, whose functions and variables these are
# The feeds' part of the benchmarks: what sockets cost, how soon they hear, and what numbering events
# costs several lanes.
#
# BENCH_SOCKETS       sockets of the run that counts memory; 10000
# BENCH_FEEDS_ROUNDS  pairs of runs with and without subscribers, in turns, the medians count; 3
# BENCH_BATCH         orders of a batch, where lanes are compared; 256

sockets=${BENCH_SOCKETS:-10000}
feeds_rounds=${BENCH_FEEDS_ROUNDS:-3}
batch_orders=${BENCH_BATCH:-256}
feeds_clients=256

feeds_runs() {
    open_shop
    load feeds-idle feeds "${timing[@]}" --sockets 1 --order-sockets 1 --clients 8 --rate 80

    local round
    for ((round = 1; round <= feeds_rounds; round++)); do
        open_shop
        load "feeds-none-$round" feeds "${timing[@]}" --sockets 0 --clients "$feeds_clients"
        open_shop
        load "feeds-1000-$round" feeds "${timing[@]}" --sockets 1000 --clients "$feeds_clients"
    done

    open_shop
    load feeds-never-read feeds "${timing[@]}" --sockets 1000 --never-read 100 --clients 16 --rate 500 \
        --watch-pid "$shop_pid"
    open_shop
    load "feeds-$sockets" feeds "${timing[@]}" --sockets "$sockets" --clients 16 --rate 20 --watch-pid "$shop_pid"

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
    local run=("$programs/pgbench" -h "$(socket)" -p 5432 -U emporium -n -M prepared -j 2 -c "$1"
        -D orders="$batch_orders" -D locked="$2" -f bench/batch.sql)
    sql -d batches -c 'TRUNCATE event_records, orders, order_items' -c CHECKPOINT
    say "$name: pgbench, batches of $batch_orders orders"
    "${run[@]}" -T "$warm_up" batches >/dev/null 2>"$folder/$name.log"
    "${run[@]}" -T "$seconds" batches >"$folder/$name.txt" 2>"$folder/$name.log" || { cat "$folder/$name.log" >&2; exit 1; }
    row "$name" "$(sed -n "s/^tps = \([0-9.]*\).*/\1/p" "$folder/$name.txt" | awk -v n="$batch_orders" '{ print $1 * n }')" \
        "" "" "" orders
}

# p99_of RUN NAME: of a latency in a run's JSON, in microseconds.
p99_of() { sed -n "/\"$2\"/,/}/p" "$folder/$1.json" | sed -n 's/^ *"p99": \([0-9]*\),*$/\1/p' | head -n 1; }
kib_of() { figure "$folder/$1.json" "$2"; }
ms() { calc "printf \"%.1f\", $1 / 1000"; }

feeds_goals() {
    local run never=feeds-never-read all=feeds-$sockets worst=0 p99
    for ((run = 1; run <= feeds_rounds; run++)); do
        p99=$(p99_of "feeds-1000-$run" last_us)
        if ((p99 > worst)); then worst=$p99; fi
    done
    local none with
    none=$(median_of feeds-none-)
    with=$(median_of feeds-1000-)
    goal "$sockets sockets on one node, all of one product: server memory each" \
        "$(calc "printf \"%.1f\", $(figure "$folder/$all.json" bytes_per_socket) / 1000")" 'at most' 25 ' KB' \
        'resident with them, less without'
    goal 'event → last of 1,000 sockets, flash sale at full rate: p99' "$(ms "$worst")" 'at most' 250 ' ms' \
        "from the beginning of the transaction, commit included; the worst of $feeds_rounds runs"
    goal 'loss of checkout throughput with 1,000 subscribers to the hot product' \
        "$(calc "printf \"%.1f\", ($none > 0) ? 100 * (1 - $with / $none) : 100")" 'at most' 15 ' %' \
        "$(whole "$with")/s to $(whole "$none")/s, $feeds_clients clients, each the median of $feeds_rounds runs; the generator reads the sockets too"
    goal '100 of 1,000 sockets that never read: more memory' \
        "$(calc "printf \"%.1f\", ($(kib_of $never max_kib) - $(kib_of $never open_kib)) * 1.024 / 1000")" 'at most' 50 ' MB' \
        'resident at most, less when all had just been opened'
    goal '100 of 1,000 sockets that never read: closed' "$(calc "printf \"%.1f\", $(figure "$folder/$never.json" closed_after_s)")" \
        'at most' 60 ' s' 'after they were opened; the others heard everything'
    goal 'commit → WebSocket frame, idle system: p99' "$(ms "$(p99_of feeds-idle after_answer_us)")" 'at most' 10 ' ms' \
        'from the answer to an order, the first that anybody hears of its commit, to the order on a feed; 80 orders/s'
    printf '| %s | %s ms | told | | %s |\n' 'event → WebSocket frame, idle system: p99' "$(ms "$(p99_of feeds-idle order_us)")" \
        'from the beginning of the transaction, its wait for the disk included; the same orders' >>"$goals"
    local lanes locked sequence
    for lanes in 1 2 4; do
        locked=$(rate_of "numbers-locked-$lanes")
        sequence=$(rate_of "numbers-sequence-$lanes")
        printf '| %s | %s× | told | | %s |\n' \
            "event numbers under the lock, to a sequence, $lanes lane$([[ $lanes == 1 ]] || echo s)" "$(ratio "$locked" "$sequence")" \
            "$(whole "$locked")/s to $(whole "$sequence")/s, pgbench with batches of $batch_orders orders" >>"$goals"
    done
}
