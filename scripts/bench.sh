#!/usr/bin/env bash
# Measures the shop against the plainest rivals on this machine, and writes docs/benchmarks.md.
#
#   make bench
#
# Each run has a fresh shop with a PostgreSQL of its own, fsync on, and everything in it that the shop
# always has, mail included. The rivals run in the same session: pgbench with one transaction an order
# on a PostgreSQL with the same settings, and an actix-web handler that returns a constant. Every run of
# the shop also checks its books; one that does not hold fails the whole.
#
# EMPORIUM        the program; target/release/emporium
# BENCH_SECONDS   measured time of a run; 10
# BENCH_WARM_UP   before it, not measured, in seconds; 3
# BENCH_CLIENTS   client counts of the hot product; "16 64 128 256 512"
# BENCH_CARTS     carts of a round of checkouts; 2048, so that its two ends are a small part of it
# BENCH_PAGE_ROUNDS  pairs of runs of a cached page and of the same bytes from a bare handler; 3
# BENCH_PORT      this port and the next one are used; 8090
# BENCH_FOLDER    where data, results and reports go: a real disk; target/bench
# BENCH_PRODUCTS  products of the catalogue that is imported; 1000000
# BENCH_REPORT    the file to write; docs/benchmarks.md
set -euo pipefail
cd "$(dirname "$0")/.."

shop=${EMPORIUM:-target/release/emporium}
seconds=${BENCH_SECONDS:-10}
warm_up=${BENCH_WARM_UP:-3}
read -r -a hot_clients <<<"${BENCH_CLIENTS:-16 64 128 256 512}"
read -r -a spread_clients <<<"${BENCH_SPREAD_CLIENTS:-64 512 2048}"
read -r -a replay_clients <<<"${BENCH_REPLAY_CLIENTS:-64 256 1024}"
read -r -a page_clients <<<"${BENCH_PAGE_CLIENTS:-64 256}"
page_rounds=${BENCH_PAGE_ROUNDS:-3}
read -r -a naive_clients <<<"16 64"
carts=${BENCH_CARTS:-2048}
products=${BENCH_PRODUCTS:-1000000}
cart_clients=64
port=${BENCH_PORT:-8090}
folder=${BENCH_FOLDER:-target/bench}
report=${BENCH_REPORT:-docs/benchmarks.md}
demo=config/demo/online-retail
url=http://127.0.0.1:$port
bare_url=http://127.0.0.1:$((port + 1))

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
runs=$folder/runs.tsv
: >"$runs"

say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }

# --- the shop ------------------------------------------------------------------------------------

shop_pid=
bare_pid=
data=
home=

close_shop() {
    if [[ -n $bare_pid ]]; then
        kill -INT "$bare_pid" 2>/dev/null || true
        wait "$bare_pid" 2>/dev/null || true
        bare_pid=
    fi
    shut "$shop_pid" "$home" "$data"
    shop_pid=
    home=
    data=
}

# shut PID HOME DATA : stops a shop and takes away what it leaves.
shut() {
    if [[ -n $1 ]]; then
        kill -INT "$1" 2>/dev/null || true
        wait "$1" 2>/dev/null || true
    fi
    # The cluster is elsewhere where its account cannot reach the data folder. Mails stay until the end: a
    # file system that has just deleted many files takes its time over new ones, for minutes.
    if [[ -n $2 && -d $2/cluster ]]; then
        rm -rf "$2/cluster"
        leavings+=("$2")
    fi
    [[ -z $3 ]] || leavings+=("$3")
    # What is still to be written must not slow the next run down.
    sync
}

# Folders to be taken away at the end.
leavings=()
sweep() {
    close_shop
    [[ ${#leavings[@]} -eq 0 ]] || rm -rf "${leavings[@]}"
}
trap sweep EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

open_shop() {
    close_shop
    data=$(mktemp -d "$folder/data.XXXXXX")
    # Postgres may run as another account, which must be able to pass.
    chmod 755 "$data"
    local log=$folder/serve.log
    # Emptied here, lest the words of the last shop be taken for this one's.
    : >"$log"
    env -u DATABASE_URL -u REDIS_URL -u SMTP_URL -u JWT_SECRET -u EMPORIUM_ENV \
        EMPORIUM_DATA="$data" HOST=127.0.0.1 PORT="$port" RUST_LOG="${BENCH_LOG:-warn}" \
        "$shop" serve --first-run "$demo/products.csv" >"$log" 2>&1 &
    shop_pid=$!
    for _ in $(seq 600); do
        grep -q '^Ctrl-C stops it' "$log" && break
        kill -0 "$shop_pid" 2>/dev/null || { cat "$log" >&2; exit 1; }
        sleep 0.1
    done
    ADMIN_PASSWORD=$(sed -n 's/.*staff  *admin, password \([^ ]*\).*/\1/p' "$log")
    export ADMIN_PASSWORD
    home=$(sed -n 's/.*a private PostgreSQL in //p' "$log")
    # What follows the start (caches, first vacuum) is over.
    sleep 2
}

resident_kib() { sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$shop_pid/status"; }

# The first line of its name in a JSON file.
figure() { sed -n "s/^ *\"$2\": \\([0-9.]*\\),*\$/\\1/p" "$1" | head -n 1; }

# load NAME ARGUMENT… : one run; its figures go to NAME.json and into the table of all runs.
load() {
    local name=$1
    shift
    say "$name: emporium loadtest $*"
    if ! "$shop" loadtest "$@" --json "$folder/$name.json" --html "$folder/$name.html" \
        >"$folder/$name.txt" 2>"$folder/$name.log"; then
        cat "$folder/$name.log" "$folder/$name.txt" >&2
        say "$name failed"
        exit 1
    fi
    local rate p50 p99 cpu unit=operations
    rate=$(figure "$folder/$name.json" done_per_second)
    if [[ $1 == replay ]]; then
        rate=$(figure "$folder/$name.json" lines_per_second)
        unit=lines
    fi
    # The figures of the whole stand before those of a kind.
    p50=$(sed -n '/"latency_us"/,/}/p' "$folder/$name.json" | sed -n 's/^ *"p50": \([0-9]*\),*$/\1/p' | head -n 1)
    p99=$(sed -n '/"latency_us"/,/}/p' "$folder/$name.json" | sed -n 's/^ *"p99": \([0-9]*\),*$/\1/p' | head -n 1)
    cpu=$(figure "$folder/$name.json" generator_cpu)
    row "$name" "$rate" "$p50" "$p99" "$cpu" "$unit"
}

# name, rate, p50 and p99 in microseconds, generator's share of a core, unit
row() {
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$@" >>"$runs"
    say "$1: $(printf '%.0f' "$2") $6/s"
}

rate_of() { awk -F '\t' -v name="$1" '$1 == name { print $2 }' "$runs"; }
best_of() { awk -F '\t' -v start="$1" 'index($1, start) == 1 && $2 > best { best = $2 } END { print best + 0 }' "$runs"; }
# median_of START: the rate of the runs whose names begin so, the lower one of the two in the middle.
median_of() {
    awk -F '\t' -v start="$1" 'index($1, start) == 1 { print $2 }' "$runs" | sort -g | awk '{ all[NR] = $1 } END { print NR ? all[int((NR + 1) / 2)] : 0 }'
}

# best_median_of START: of the client counts that pages are read with, the best one's median.
best_median_of() {
    local clients
    for clients in "${page_clients[@]}"; do median_of "$1-$clients-"; done | sort -g | tail -n 1
}
calc() { awk "BEGIN { $1 }"; }

# --- the rivals ----------------------------------------------------------------------------------

programs=$(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -V | while read -r place; do
    if [[ -x $place/pgbench ]]; then echo "$place"; fi
done | tail -n 1)
if [[ -z $programs ]] && command -v pgbench >/dev/null; then
    programs=$(dirname "$(readlink -f "$(command -v pgbench)")")
fi
[[ -n $programs ]] || { say "pgbench is missing; it comes with PostgreSQL (Debian: postgresql)"; exit 1; }

# Where the running cluster listens.
socket() { sed -n 5p "$home/cluster/postmaster.pid"; }
sql() { "$programs/psql" -X -q -v ON_ERROR_STOP=1 -h "$(socket)" -p 5432 -U emporium "$@"; }

naive() {
    local mode=$1 clients=$2 name=pgbench-$1-$2
    local run=("$programs/pgbench" -h "$(socket)" -p 5432 -U emporium -n -M prepared -j 2
        -c "$clients" -f "bench/$mode.sql")
    sql -d naive -c CHECKPOINT
    say "$name: pgbench, one transaction an order"
    "${run[@]}" -T "$warm_up" naive >/dev/null 2>"$folder/$name.log"
    "${run[@]}" -T "$seconds" naive >"$folder/$name.txt" 2>"$folder/$name.log" || { cat "$folder/$name.log" >&2; exit 1; }
    row "$name" "$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$folder/$name.txt")" \
        "" "" "" transactions
}

# --- the runs ------------------------------------------------------------------------------------

command -v curl >/dev/null || { say 'curl is missing, which imports a catalogue (Debian: curl)'; exit 1; }
[[ -x $shop ]] || { say "$shop is missing; make bench builds it"; exit 1; }
say "results go to $folder and $report"

open_shop
idle_kib=$(resident_kib)
synced=$(sql -d emporium -Atc "SELECT string_agg(name || ' ' || setting, ', ' ORDER BY name) FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')")
postgres=$(sql -d emporium -Atc "SHOW server_version")
sql -d emporium -c 'CREATE DATABASE naive'
sql -d naive -f bench/schema.sql
for mode in hot spread; do
    for clients in "${naive_clients[@]}"; do naive "$mode" "$clients"; done
done

timing=(--url "$url" --warm-up "${warm_up}s" --duration "${seconds}s")
for clients in "${hot_clients[@]}"; do
    open_shop
    load "hot-$clients" flash-sale "${timing[@]}" --clients "$clients" --watch-pid "$shop_pid"
done
busy_kib=$(figure "$folder/hot-${hot_clients[-1]}.json" rss_max_kib)

open_shop
load "cart-$cart_clients" flash-sale "${timing[@]}" --clients "$cart_clients" --via cart --accounts "$carts"

for clients in "${spread_clients[@]}"; do
    open_shop
    load "spread-$clients" spread "${timing[@]}" --clients "$clients" --popularity "$demo/orders.csv.gz"
done

open_rate=$(calc "printf \"%d\", 0.7 * $(best_of hot-)")
open_shop
load hot-open-loop flash-sale "${timing[@]}" --clients "${hot_clients[-1]}" --rate "$open_rate"
open_p99=$(awk -F '\t' '$1 == "hot-open-loop" { print $4 }' "$runs")

for clients in "${replay_clients[@]}"; do
    open_shop
    load "replay-$clients" replay "$demo/orders.csv.gz" --url "$url" --clients "$clients"
done

open_shop
load mixed-64 mixed "${timing[@]}" --clients 64 --popularity "$demo/orders.csv.gz"

# beside_bare PATH BARE SHOP : an answer of the shop, and the same bytes from a handler that does nothing
# else, in turns, of which the medians count; the names of their runs begin so.
beside_bare() {
    local path=$1 clients round
    "$shop" loadtest bare --url "$url" --path "$path" --port $((port + 1)) >"$folder/bare.log" 2>&1 &
    bare_pid=$!
    sleep 1
    for clients in "${page_clients[@]}"; do
        for round in $(seq "$page_rounds"); do
            load "$2-$clients-$round" browse --url "$bare_url" --path "$path" "${timing[@]:2}" --clients "$clients"
            load "$3-$clients-$round" browse --url "$url" --path "$path" "${timing[@]:2}" --clients "$clients"
        done
    done
    close_shop
}

open_shop
beside_bare "/api/products/$(sql -d emporium -Atc 'SELECT min(id) FROM products')/" bare page

# --- the catalogue's cache, and what it hides ------------------------------------------------------

open_shop
beside_bare '/api/products/?page_size=20' list-bare list-shop

# Every read of a product asks the database, as pgbench does.
EMPORIUM_CATALOG__CACHE_BYTES=0 open_shop
read -r low high < <(sql -d emporium -AtF ' ' -c 'SELECT min(id), max(id) FROM products')
for clients in "${naive_clients[@]}"; do
    name=pgbench-read-$clients
    run=("$programs/pgbench" -h "$(socket)" -p 5432 -U emporium -n -M prepared -j 2 -c "$clients"
        -f bench/read.sql -D "low=$low" -D "high=$high")
    say "$name: pgbench, one product a transaction"
    "${run[@]}" -T "$warm_up" emporium >/dev/null 2>"$folder/$name.log"
    "${run[@]}" -T "$seconds" emporium >"$folder/$name.txt" 2>"$folder/$name.log" || { cat "$folder/$name.log" >&2; exit 1; }
    row "$name" "$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$folder/$name.txt")" "" "" "" transactions
    load "uncached-$clients" browse --lists 0 --zipf 0 "${timing[@]}" --clients "$clients"
done

open_shop
load hot-readers-64 flash-sale "${timing[@]}" --clients 64 --readers 64
close_shop

# --- a whole catalogue ----------------------------------------------------------------------------

peak_kib() { sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$shop_pid/status"; }

# import_file NAME FILE : as a client does; its last line is the verdict. Sets took, in seconds.
import_file() {
    local name=$1 file=$2 access began
    access=$(curl -sS "$url/api/auth/login/" -H 'Content-Type: application/json' \
        -d "{\"username\":\"admin\",\"password\":\"$ADMIN_PASSWORD\"}" | sed -n 's/.*"access":"\([^"]*\)".*/\1/p')
    began=$(date +%s.%N)
    # Without the closing slash, behind which curl would put the file's name.
    curl -sS -X POST -T "$file" -H "Authorization: Bearer $access" -H 'Content-Type: text/csv' \
        "$url/api/products/import" >"$folder/$name.ndjson"
    took=$(calc "printf \"%.1f\", $(date +%s.%N) - $began")
    if ! tail -n 1 "$folder/$name.ndjson" | grep -q '"type":"report".*"refused":0'; then
        tail -n 3 "$folder/$name.ndjson" >&2
        say "$name failed"
        exit 1
    fi
}

say "a catalogue of $products products"
"$shop" demo --products "$products" --out "$folder/catalogue.csv"
for round in 1 2; do
    awk -F, -v OFS=, -v round="$round" 'NR == 1 { print "sku,stock" } NR > 1 { print $1, NR % 1000 + round }' \
        "$folder/catalogue.csv" >"$folder/stocks-$round.csv"
done

open_shop
import_file import-new "$folder/catalogue.csv"
new_seconds=$took
row import-new "$(calc "print $products / $took")" "" "" "" products
import_file import-stocks "$folder/stocks-1.csv"
stocks_seconds=$took
row import-stocks "$(calc "print $products / $took")" "" "" "" products
import_kib=$(peak_kib)

load quiet-64 spread "${timing[@]}" --clients 64 --popularity "$demo/orders.csv.gz"
import_file import-beside "$folder/stocks-2.csv" &
import_pid=$!
load importing-64 spread "${timing[@]}" --clients 64 --popularity "$demo/orders.csv.gz"
if ! kill -0 "$import_pid" 2>/dev/null; then
    say "the import was over before the checkouts were; take more products"
fi
wait "$import_pid"
close_shop

# --- feeds ---------------------------------------------------------------------------------------

# shellcheck source=scripts/bench-feeds.sh
. scripts/bench-feeds.sh
feeds_runs
close_shop

# --- the catalogue, small and large ----------------------------------------------------------------

# shellcheck source=scripts/bench-catalogue.sh
. scripts/bench-catalogue.sh
catalogue_runs

# --- the table -----------------------------------------------------------------------------------

goals=$folder/goals.md
missed=0
# goal NAME VALUE "at least"|"at most" LIMIT UNIT HOW
goal() {
    local verdict
    verdict=$(calc "v = $2 + 0; l = $4 + 0; if (\"$3\" == \"at least\") print (v >= l) ? \"yes\" : \"no\"; else print (v <= l) ? \"yes\" : \"no\"")
    [[ $verdict == yes ]] || missed=$((missed + 1))
    printf '| %s | %s%s | %s %s%s | %s | %s |\n' "$1" "$2" "$5" "$3" "$4" "$5" "$verdict" "$6" >>"$goals"
}
ratio() { calc "printf \"%.2f\", ($2 > 0) ? $1 / $2 : 0"; }
whole() { printf '%.0f' "$1"; }

hot_best=$(awk -F '\t' '$1 ~ /^hot-[0-9]+$/ && $2 > best { best = $2 } END { print best + 0 }' "$runs")
# From 64 clients on, the worst fall below the best so far.
falls=$(awk -F '\t' '$1 ~ /^hot-[0-9]+$/ { split($1, part, "-"); if (part[2] < 64) next
    if ($2 > best) best = $2; share = $2 / best; if (least == 0 || share < least) least = share }
    END { printf "%.3f", least }' "$runs")
first=${hot_clients[0]}
{
    echo '| goal | measured | wanted | met | how |'
    echo '| --- | --- | --- | --- | --- |'
} >"$goals"
naive_hot=$(best_of pgbench-hot-)
naive_spread=$(best_of pgbench-spread-)
goal 'hot product, best client count, to pgbench at its best' "$(ratio "$hot_best" "$naive_hot")" 'at least' 20 '×' \
    "$(whole "$hot_best")/s to $(whole "$naive_hot")/s"
goal "hot product, $first clients, to pgbench with $first" "$(ratio "$(rate_of "hot-$first")" "$(rate_of "pgbench-hot-$first")")" 'at least' 5 '×' \
    "$(whole "$(rate_of "hot-$first")")/s to $(whole "$(rate_of "pgbench-hot-$first")")/s"
goal 'hot product, 64 clients and more: of the peak so far, at worst' "$falls" 'at least' 0.95 '×' 'throughput does not fall as clients are added'
goal 'spread, one line an order, to pgbench spread at its best' "$(ratio "$(best_of spread-)" "$naive_spread")" 'at least' 4 '×' \
    "$(whole "$(best_of spread-)")/s to $(whole "$naive_spread")/s"
goal 'replay, lines, to pgbench spread at its best' "$(ratio "$(best_of replay-)" "$naive_spread")" 'at least' 10 '×' \
    "$(whole "$(best_of replay-)") lines/s to $(whole "$naive_spread")/s"
goal 'hot product, open loop at 70 % of the peak: p99' "$(calc "printf \"%.1f\", $open_p99 / 1000")" 'at most' 25 ' ms' "$open_rate/s asked for"
goal 'checkout from the cart, to direct orders' "$(ratio "$(rate_of "cart-$cart_clients")" "$(rate_of "hot-$cart_clients")")" 'at least' 0.8 '×' \
    "$(whole "$(rate_of "cart-$cart_clients")")/s to $(whole "$(rate_of "hot-$cart_clients")")/s, $cart_clients clients"
medians="each the median of $page_rounds runs in turns, with the client count that suits it best"
goal 'product read, cached, to the bare handler' "$(ratio "$(best_median_of page)" "$(best_median_of bare)")" 'at least' 0.75 '×' \
    "$(whole "$(best_median_of page)")/s to $(whole "$(best_median_of bare)")/s, $medians"
goal 'first page of 20, cached, to the bare handler' "$(ratio "$(best_median_of list-shop)" "$(best_median_of list-bare)")" 'at least' 0.75 '×' \
    "$(whole "$(best_median_of list-shop)")/s to $(whole "$(best_median_of list-bare)")/s, $medians"
goal 'product read, uncached, to the same query in pgbench' "$(ratio "$(best_of uncached-)" "$(best_of pgbench-read-)")" 'at least' 0.6 '×' \
    "$(whole "$(best_of uncached-)")/s to $(whole "$(best_of pgbench-read-)")/s"
goal 'hot product, read by 64 while 64 buy it: stocks older than 1 s' "$(figure "$folder/hot-readers-64.json" failed)" 'at most' 0 '' \
    "$(whole "$(rate_of hot-readers-64)") reads and orders/s"
goal 'server memory, idle' "$(calc "printf \"%.0f\", $idle_kib / 1000")" 'at most' 40 ' MB' 'resident, with the demo catalogue'
goal "server memory, under ${hot_clients[-1]} clients" "$(calc "printf \"%.0f\", $busy_kib / 1000")" 'at most' 200 ' MB' 'resident, at most'

goal "import of $products new products" "$new_seconds" 'at most' 60 ' s' "over HTTP, as CSV"
goal "import of $products stocks" "$stocks_seconds" 'at most' 60 ' s' "over HTTP, as CSV"
goal 'server memory, at most, in those imports' "$(calc "printf \"%.0f\", $import_kib / 1000")" 'at most' 150 ' MB' 'resident'
goal 'checkouts while importing, to those without' "$(ratio "$(rate_of importing-64)" "$(rate_of quiet-64)")" 'at least' 0.5 '×' \
    "$(whole "$(rate_of importing-64)")/s to $(whole "$(rate_of quiet-64)")/s"

feeds_goals
catalogue_goals

table=$folder/table.md
{
    echo
    echo "Measured $(date -u +%F) by \`make bench\`: ${seconds} s a run after ${warm_up} s of warm-up, each on a fresh shop."
    echo "Load generator, shop and PostgreSQL share the machine."
    echo
    echo "- machine: $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(sed -n 's/^MemTotal: *//p' /proc/meminfo), $(stat -f -c %T "$folder") disk, $(uname -sr)"
    echo "- versions: $("$shop" --version), $(git describe --always --dirty 2>/dev/null || echo 'no git'), $(rustc --version 2>/dev/null || echo 'no rustc'), PostgreSQL $postgres ($synced)"
    echo
    cat "$goals"
    echo
    echo '| run | rate | p50 | p99 | generator, of one core |'
    echo '| --- | ---: | ---: | ---: | ---: |'
    awk -F '\t' 'function ms(us) { return us == "" ? "" : sprintf("%.2f ms", us / 1000) }
        { printf "| %s | %.0f %s/s | %s | %s | %s |\n", $1, $2, $6, ms($3), ms($4), $5 == "" ? "" : sprintf("%.0f %%", $5 * 100) }' "$runs"
    echo
    echo 'The number in a run'"'"'s name is its count of clients, a single digit its turn. Every run of the shop ended with a clean audit, and'
    echo 'with every acknowledged order found again, once and as it was asked for.'
    echo
    catalogue_table
} >"$table"

begin='<!-- make bench writes from here -->'
end='<!-- to here -->'
if [[ ! -f $report ]]; then
    mkdir -p "$(dirname "$report")"
    printf '# Benchmarks\n\n%s\n%s\n\n## What was tried, and what it gave\n' "$begin" "$end" >"$report"
fi
grep -qF "$begin" "$report" && grep -qF "$end" "$report" || { say "$report lacks the lines '$begin' and '$end'"; exit 1; }
awk -v begin="$begin" -v end="$end" -v table="$table" '
    $0 == end { inside = 0 }
    !inside { print }
    $0 == begin { inside = 1; while ((getline line < table) > 0) print line }' "$report" >"$folder/report.md"
cat "$folder/report.md" >"$report"

cat "$table"
say "written to $report; pages with plots are in $folder"
[[ $missed -eq 0 ]] || say "$missed goals are missed"
