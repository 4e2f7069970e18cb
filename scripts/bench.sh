#!/usr/bin/env bash
# Measures the shop against the plainest rivals on this machine, and writes docs/benchmarks.md.
#
#   make bench
#
# Each run that sells has a fresh shop with a PostgreSQL of its own, fsync on, and everything in it that the
# shop always has, mail included. The rivals run in the same session: pgbench with one transaction an order
# on a PostgreSQL with the same settings, and an actix-web handler that returns a constant. Every run of
# the shop also checks its books; one that does not hold fails the whole.
#
# A machine has its moods, which last for seconds or minutes. So what is compared is measured in rounds, each of
# which has both sides; and what counts is the middle one of the rounds' ratios, not the ratio of the best runs.
#
# EMPORIUM        the program; target/release/emporium
# BENCH_ROUNDS    of everything that is compared; an odd number, 3
# BENCH_SECONDS   measured time of a run; 6
# BENCH_WARM_UP   before it, not measured, in seconds; 2
# BENCH_CLIENTS   client counts of the hot product; "16 64 128 256 512"
# BENCH_CARTS     carts that are filled and then checked out at once; 2048, so that the two ends are a small part
# BENCH_PORT      this port and the next one are used; 8090
# BENCH_FOLDER    where data, results and reports go: a real disk; target/bench
# BENCH_PRODUCTS  products of the catalogue that is imported; 1000000
# BENCH_REPORT    the file to write; docs/benchmarks.md
set -euo pipefail
cd "$(dirname "$0")/.."

shop=${EMPORIUM:-target/release/emporium}
rounds=${BENCH_ROUNDS:-3}
seconds=${BENCH_SECONDS:-6}
warm_up=${BENCH_WARM_UP:-2}
read -r -a hot_clients <<<"${BENCH_CLIENTS:-16 64 128 256 512}"
read -r -a spread_clients <<<"${BENCH_SPREAD_CLIENTS:-64 512 2048}"
# Of 64, 256 and 1024 the last was the best by far, and each replay signs thousands of customers up first.
read -r -a replay_clients <<<"${BENCH_REPLAY_CLIENTS:-1024}"
read -r -a page_clients <<<"${BENCH_PAGE_CLIENTS:-64 256}"
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

# stop PID : ends a process of ours, if there is one.
stop() {
    [[ -n $1 ]] || return 0
    kill -INT "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

close_shop() {
    stop "$bare_pid"
    bare_pid=
    shut "$shop_pid" "$home" "$data"
    shop_pid=
    home=
    data=
}

# shut PID HOME DATA : stops a shop and empties what it leaves. The files themselves stay until the end: a file
# system that has just deleted many takes its time over new ones, for minutes.
shut() {
    stop "$1"
    # The cluster is elsewhere where its account cannot reach the data folder.
    if [[ -n $2 && -d $2/cluster ]]; then
        find "$2/cluster" -type f -size +0 -exec truncate -s 0 {} +
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

# The round that is being measured; what is measured once has only the first.
round=1

# result NAME [ROUND] : the JSON file of a run.
result() { echo "$folder/$1.${2:-1}.json"; }

# The first line of its name in a JSON file.
figure() { sed -n "s/^ *\"$2\": \\([0-9.]*\\),*\$/\\1/p" "$1" | head -n 1; }

# load NAME ARGUMENT… : one run; its figures go to NAME.ROUND.json and into the table of all runs.
load() {
    local name=$1 stem=$folder/$1.$round
    shift
    say "$name: emporium loadtest $*"
    if ! "$shop" loadtest "$@" --json "$stem.json" --html "$stem.html" >"$stem.txt" 2>"$stem.log"; then
        cat "$stem.log" "$stem.txt" >&2
        say "$name failed"
        exit 1
    fi
    local rate p50 p99 cpu unit=operations
    rate=$(figure "$stem.json" done_per_second)
    if [[ $1 == replay ]]; then
        rate=$(figure "$stem.json" lines_per_second)
        unit=lines
    fi
    # The figures of the whole stand before those of a kind.
    p50=$(sed -n '/"latency_us"/,/}/p' "$stem.json" | sed -n 's/^ *"p50": \([0-9]*\),*$/\1/p' | head -n 1)
    p99=$(sed -n '/"latency_us"/,/}/p' "$stem.json" | sed -n 's/^ *"p99": \([0-9]*\),*$/\1/p' | head -n 1)
    cpu=$(figure "$stem.json" generator_cpu)
    row "$name" "$rate" "$p50" "$p99" "$cpu" "$unit"
}

# name, rate, p50 and p99 in microseconds, generator's share of a core, unit
row() {
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$round" "${@:2}" >>"$runs"
    say "$1: $(printf '%.0f' "$2") $6/s"
}

# best NAMES [ROUND] : the highest rate of the round's runs whose whole names match.
best() {
    awk -F '\t' -v names="^$1\$" -v round="${2:-1}" '$1 ~ names && $2 == round && $3 > best { best = $3 }
        END { print best + 0 }' "$runs"
}
# middle : of lines that begin with a figure, the one with the middle figure.
middle() { sort -g | awk '{ all[NR] = $0 } END { print all[int((NR + 1) / 2)] }'; }
each_round() { seq "$rounds"; }
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

# transactions NAME DATABASE CLIENTS ARGUMENT… : one run of pgbench. Sets tps.
transactions() {
    local name=$1 database=$2 stem=$folder/$1.$round
    local run=("$programs/pgbench" -h "$(socket)" -p 5432 -U emporium -n -M prepared -j 2 -c "$3" "${@:4}" "$database")
    say "$name: pgbench ${*:4}"
    "${run[@]}" -T "$warm_up" >/dev/null 2>"$stem.log"
    "${run[@]}" -T "$seconds" >"$stem.txt" 2>"$stem.log" || { cat "$stem.log" >&2; exit 1; }
    tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$stem.txt")
}

# naive HOT_OR_SPREAD CLIENTS : one transaction an order.
naive() {
    sql -d naive -c CHECKPOINT
    transactions "pgbench-$1-$2" naive "$2" -f "bench/$1.sql"
    row "pgbench-$1-$2" "$tps" "" "" "" transactions
}

# --- the runs ------------------------------------------------------------------------------------

command -v curl >/dev/null || { say 'curl is missing, which imports a catalogue (Debian: curl)'; exit 1; }
[[ -x $shop ]] || { say "$shop is missing; make bench builds it"; exit 1; }
say "results go to $folder and $report"

timing=(--url "$url" --warm-up "${warm_up}s" --duration "${seconds}s")

# Once, with the first shop that is open.
look_around() {
    [[ -z ${idle_kib:-} ]] || return 0
    idle_kib=$(resident_kib)
    synced=$(sql -d emporium -Atc "SELECT string_agg(name || ' ' || setting, ', ' ORDER BY name) FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')")
    postgres=$(sql -d emporium -Atc "SHOW server_version")
}

sell() {
    local clients mode open_rate
    open_shop
    look_around
    sql -d emporium -c 'CREATE DATABASE naive'
    sql -d naive -f bench/schema.sql
    for mode in hot spread; do
        for clients in "${naive_clients[@]}"; do naive "$mode" "$clients"; done
    done

    for clients in "${hot_clients[@]}"; do
        open_shop
        load "hot-$clients" flash-sale "${timing[@]}" --clients "$clients" --watch-pid "$shop_pid"
    done

    open_rate=$(calc "printf \"%d\", 0.7 * $(best 'hot-[0-9]+' "$round")")
    open_shop
    load hot-open-loop flash-sale "${timing[@]}" --clients "${hot_clients[-1]}" --rate "$open_rate"

    open_shop
    load "cart-$cart_clients" flash-sale "${timing[@]}" --clients "$cart_clients" --via cart --accounts "$carts"

    for clients in "${spread_clients[@]}"; do
        open_shop
        load "spread-$clients" spread "${timing[@]}" --clients "$clients" --popularity "$demo/orders.csv.gz"
    done

    for clients in "${replay_clients[@]}"; do
        open_shop
        load "replay-$clients" replay "$demo/orders.csv.gz" --url "$url" --clients "$clients"
    done
}

# beside_bare PATH BARE SHOP : an answer of the shop, and the same bytes from a handler that does nothing
# else; the names of their runs begin so.
beside_bare() {
    local clients
    "$shop" loadtest bare --url "$url" --path "$1" --port $((port + 1)) >"$folder/bare.log" 2>&1 &
    bare_pid=$!
    sleep 1
    for clients in "${page_clients[@]}"; do
        load "$2-$clients" browse --url "$bare_url" --path "$1" "${timing[@]:2}" --clients "$clients"
        load "$3-$clients" browse --url "$url" --path "$1" "${timing[@]:2}" --clients "$clients"
    done
    stop "$bare_pid"
    bare_pid=
}

# What the catalogue's cache gives, and what it hides.
browse() {
    local clients low high
    open_shop
    read -r low high < <(sql -d emporium -AtF ' ' -c 'SELECT min(id), max(id) FROM products')
    beside_bare "/api/products/$low/" bare page
    beside_bare '/api/products/?page_size=20' list-bare list-shop

    # Every read of a product asks the database, as pgbench does.
    EMPORIUM_CATALOG__CACHE_BYTES=0 open_shop
    for clients in "${naive_clients[@]}"; do
        transactions "pgbench-read-$clients" emporium "$clients" -f bench/read.sql -D "low=$low" -D "high=$high"
        row "pgbench-read-$clients" "$tps" "" "" "" transactions
        load "uncached-$clients" browse --lists 0 --zipf 0 "${timing[@]}" --clients "$clients"
    done
}

for round in $(each_round); do
    say "round $round of $rounds"
    sell
    browse
done
round=1

open_shop
load mixed-64 mixed "${timing[@]}" --clients 64 --popularity "$demo/orders.csv.gz"

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
for time in 1 2; do
    awk -F, -v OFS=, -v time="$time" 'NR == 1 { print "sku,stock" } NR > 1 { print $1, NR % 1000 + time }' \
        "$folder/catalogue.csv" >"$folder/stocks-$time.csv"
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

# beside NAME RUNS RIVALS LEAST [HOW] : a goal for the ratio of the best rates of a round; the middle round counts.
beside() {
    local round value ours theirs
    read -r value ours theirs < <(for round in $(each_round); do
        ours=$(best "$2" "$round")
        theirs=$(best "$3" "$round")
        echo "$(ratio "$ours" "$theirs") $ours $theirs"
    done | middle)
    goal "$1" "$value" 'at least' "$4" '×' "$(whole "$ours")/s to $(whole "$theirs")/s${5:+, $5}"
}

# From 64 clients on, the worst fall below the best so far, in each round.
falls() {
    awk -F '\t' '$1 !~ /^hot-[0-9]+$/ { next }
        { split($1, part, "-"); if (part[2] < 64) next }
        $3 > best[$2] { best[$2] = $3 }
        { share = $3 / best[$2]; if (!($2 in least) || share < least[$2]) least[$2] = share }
        END { for (round in least) printf "%.3f\n", least[round] }' "$runs"
}
# The p99 of the open loop in each round, in milliseconds, and the rate.
open_loops() { awk -F '\t' '$1 == "hot-open-loop" { printf "%.1f %.0f\n", $5 / 1000, $3 }' "$runs"; }
# The most that a shop held under so many clients, in KiB.
held() { for round in $(each_round); do figure "$(result "$1" "$round")" rss_max_kib; done | sort -g | tail -n 1; }

first=${hot_clients[0]} last=${hot_clients[-1]}
{
    echo '| goal | measured | wanted | met | how |'
    echo '| --- | --- | --- | --- | --- |'
} >"$goals"
beside 'hot product, best client count, to pgbench at its best' 'hot-[0-9]+' 'pgbench-hot-[0-9]+' 20
beside "hot product, $first clients, to pgbench with $first" "hot-$first" "pgbench-hot-$first" 5
goal 'hot product, 64 clients and more: of the peak so far, at worst' "$(falls | middle)" 'at least' 0.95 '×' 'throughput does not fall as clients are added'
beside 'spread, one line an order, to pgbench spread at its best' 'spread-[0-9]+' 'pgbench-spread-[0-9]+' 4
beside 'replay, lines, to pgbench spread at its best' 'replay-[0-9]+' 'pgbench-spread-[0-9]+' 10
read -r open_p99 open_rate < <(open_loops | middle)
goal 'hot product, open loop at 70 % of the peak: p99' "$open_p99" 'at most' 25 ' ms' \
    "$(whole "$open_rate")/s; in the rounds $(open_loops | cut -d ' ' -f 1 | xargs | sed 's/ /, /g')"
beside 'checkout from the cart, to direct orders' "cart-$cart_clients" "hot-$cart_clients" 0.8 "$cart_clients clients"
beside 'product read, cached, to the bare handler' 'page-[0-9]+' 'bare-[0-9]+' 0.75
beside 'first page of 20, cached, to the bare handler' 'list-shop-[0-9]+' 'list-bare-[0-9]+' 0.75
beside 'product read, uncached, to the same query in pgbench' 'uncached-[0-9]+' 'pgbench-read-[0-9]+' 0.6
goal 'hot product, read by 64 while 64 buy it: stocks older than 1 s' "$(figure "$(result hot-readers-64)" failed)" 'at most' 0 '' \
    "$(whole "$(best hot-readers-64)") reads and orders/s"
goal 'server memory, idle' "$(calc "printf \"%.0f\", $idle_kib / 1000")" 'at most' 40 ' MB' 'resident, with the demo catalogue'
goal "server memory, under $last clients" "$(calc "printf \"%.0f\", $(held "hot-$last") / 1000")" 'at most' 200 ' MB' 'resident, at most'

goal "import of $products new products" "$new_seconds" 'at most' 60 ' s' "over HTTP, as CSV"
goal "import of $products stocks" "$stocks_seconds" 'at most' 60 ' s' "over HTTP, as CSV"
goal 'server memory, at most, in those imports' "$(calc "printf \"%.0f\", $import_kib / 1000")" 'at most' 150 ' MB' 'resident'
goal 'checkouts while importing, to those without' "$(ratio "$(best importing-64)" "$(best quiet-64)")" 'at least' 0.5 '×' \
    "$(whole "$(best importing-64)")/s to $(whole "$(best quiet-64)")/s"

feeds_goals
catalogue_goals

# What each run came to: medians of its rounds, and its lowest and highest rate.
runs_table() {
    echo '| run | rate | lowest to highest | p50 | p99 | generator, of one core |'
    echo '| --- | ---: | ---: | ---: | ---: | ---: |'
    awk -F '\t' '
        function ms(us) { return us == "" ? "" : sprintf("%.2f ms", us / 1000) }
        # Of a list of figures, in order from then on in sorted[1] to sorted[count], the middle one.
        function median(list,    i, j, figure) {
            count = split(list, sorted, " ")
            for (i = 2; i <= count; i++) {
                figure = sorted[i] + 0
                for (j = i - 1; j > 0 && sorted[j] + 0 > figure; j--) sorted[j + 1] = sorted[j]
                sorted[j + 1] = figure
            }
            return count == 0 ? "" : sorted[int((count + 1) / 2)]
        }
        !($1 in unit) { name[++names] = $1; unit[$1] = $7 }
        { rate[$1] = rate[$1] " " $3; p50[$1] = p50[$1] " " $4; p99[$1] = p99[$1] " " $5; cpu[$1] = cpu[$1] " " $6 }
        END {
            for (n = 1; n <= names; n++) {
                run = name[n]
                middle = sprintf("%.0f %s/s", median(rate[run]), unit[run])
                range = count == 1 ? "" : sprintf("%.0f to %.0f", sorted[1], sorted[count])
                share = median(cpu[run])
                printf "| %s | %s | %s | %s | %s | %s |\n", run, middle, range, ms(median(p50[run])), ms(median(p99[run])),
                    share == "" ? "" : sprintf("%.0f %%", share * 100)
            }
        }' "$runs"
}

table=$folder/table.md
{
    echo
    echo "Measured $(date -u +%F) by \`make bench\`: ${seconds} s a run after ${warm_up} s of warm-up; $rounds rounds of what is compared,"
    echo 'of which the one with the middle ratio is told, with its rates. Load generator, shop and PostgreSQL share the machine.'
    echo
    echo "- machine: $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(sed -n 's/^MemTotal: *//p' /proc/meminfo), $(stat -f -c %T "$folder") disk, $(uname -sr)"
    echo "- versions: $("$shop" --version), $(git describe --always --dirty 2>/dev/null || echo 'no git'), $(rustc --version 2>/dev/null || echo 'no rustc'), PostgreSQL $postgres ($synced)"
    echo
    cat "$goals"
    echo
    runs_table
    echo
    echo 'The number in a run'"'"'s name is its count of clients; each figure is the median of its rounds. Every run of the shop ended with a'
    echo 'clean audit, and with every acknowledged order found again, once and as it was asked for.'
    echo
    catalogue_table
} >"$table"

begin='<!-- make bench writes from here -->'
end='<!-- to here -->'
if [[ ! -f $report ]]; then
    mkdir -p "$(dirname "$report")"
    printf '# Benchmarks\n\n%s\n%s\n\n## What was tried, and what it gave\n' "$begin" "$end" >"$report"
fi
if ! grep -qF "$begin" "$report" || ! grep -qF "$end" "$report"; then
    say "$report lacks the lines '$begin' and '$end'"
    exit 1
fi
awk -v begin="$begin" -v end="$end" -v table="$table" '
    $0 == end { inside = 0 }
    !inside { print }
    $0 == begin { inside = 1; while ((getline line < table) > 0) print line }' "$report" >"$folder/report.md"
cat "$folder/report.md" >"$report"

cat "$table"
say "written to $report; pages with plots are in $folder"
[[ $missed -eq 0 ]] || say "$missed goals are missed"
