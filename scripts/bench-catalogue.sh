# shellcheck shell=bash disable=SC2154 # read by scripts/bench.sh, whose functions and variables these are
# The catalogue's part of the benchmarks: how long each way to read it takes, with few products and with
# many. One client, no cache, each figure from a thousand requests or so. Both shops are open at once
# and asked in turns, so that what disturbs the machine disturbs both alike.
#
# BENCH_FEW_PRODUCTS        the small catalogue; 10000
# BENCH_CATALOGUE_SECONDS   measured time, after a sixth of it, in which what is read most comes into memory; 200,
#                           since the p99 of two hundred requests is one of them

few_products=${BENCH_FEW_PRODUCTS:-10000}
catalogue_seconds=${BENCH_CATALOGUE_SECONDS:-200}
beside_pid=
beside_home=
beside_data=

close_beside() {
    shut "$beside_pid" "$beside_home" "$beside_data"
    beside_pid=
    beside_home=
    beside_data=
}

# open_catalogue SIZE : a shop without a cache, with so many products.
open_catalogue() {
    local size=$1
    "$shop" demo --products "$size" --out "$folder/catalogue-$size.csv"
    EMPORIUM_CATALOG__CACHE_BYTES=0 open_shop
    import_file "catalogue-import-$size" "$folder/catalogue-$size.csv"
    rm "$folder/catalogue-$size.csv"
    # What the database does by itself, sooner or later.
    sql -d emporium -c 'VACUUM (ANALYZE)' -c CHECKPOINT
}

catalogue_runs() {
    local few_url=$url few_port=$port
    trap 'close_beside; sweep' EXIT
    open_catalogue "$few_products"
    # It stays open, beside the next one.
    beside_pid=$shop_pid beside_home=$home beside_data=$data
    shop_pid='' home='' data=''
    port=$((few_port + 1))
    url=http://127.0.0.1:$port
    open_catalogue "$products"
    load catalogue catalog --url "$few_url" --beside "$url" --clients 1 --warm-up "$((catalogue_seconds / 6))s" \
        --duration "${catalogue_seconds}s"
    close_shop
    close_beside
    url=$few_url port=$few_port
    local kinds=$folder/catalogue-kinds.tsv
    kinds_of catalogue >"$kinds"
    join -t $'\t' <(grep -v ', beside' "$kinds" | sort -t $'\t') \
        <(sed -n 's/, beside//p' "$kinds" | sort -t $'\t') | sort -t $'\t' -n -k 4 | cut -f 1-3,5-6 >"$folder/kinds.tsv"
}

# kinds_of RUN: what was read, its p50 and its p99 in microseconds, and its place.
kinds_of() {
    awk -F'"' '
        $2 == "name" { name = $4 }
        $2 == "p50" { p50 = $3 }
        $2 == "p99" && name != "" {
            gsub(/[^0-9]/, "", p50); p99 = $3; gsub(/[^0-9]/, "", p99)
            printf "%s\t%d\t%d\t%d\n", name, p50, p99, ++place; name = ""
        }' "$(result "$1")"
}

# What asks for several things at once; and the kind that all other searches make up.
combined='category by|category in stock|word by price|word in a category'
any_search='^search, any of these'

# worst_kind AMONG [BUT] : of the kinds that match the one and not the other; its ratio and its name.
worst_kind() {
    awk -F '\t' -v among="$1" -v but="${2:-^$}" '
        $1 ~ among && $1 !~ but && $3 > 0 && $5 / $3 > worst { worst = $5 / $3; name = $1 }
        END { printf "%.2f\t%s", worst, name }' "$folder/kinds.tsv"
}

catalogue_goals() {
    local single all search several
    single=$(worst_kind . "$combined|^search")
    all=$(worst_kind "$any_search")
    search=$(worst_kind '^search' "$combined|$any_search")
    several=$(worst_kind "$combined")
    goal "p99 of reading $products products to $few_products: the worst page, filter or ordering" \
        "${single%%$'\t'*}" 'at most' 2 '×' "${single#*$'\t'}; each is below"
    goal 'the same, search' "${all%%$'\t'*}" 'at most' 2 '×' 'its kinds together, each as often as the others'
    goal 'the same, the worst kind of search by itself' "${search%%$'\t'*}" 'at most' 2 '×' "${search#*$'\t'}"
    printf '| %s | %s× | told | | %s |\n' 'the same, the worst combination of two' "${several%%$'\t'*}" \
        "${several#*$'\t'}" >>"$goals"
}

catalogue_table() {
    echo "| read, uncached, one client | $few_products products: p50 | p99 | $products products: p50 | p99 | p99 to p99 |"
    echo '| --- | ---: | ---: | ---: | ---: | ---: |'
    awk -F '\t' 'function ms(us) { return sprintf("%.2f ms", us / 1000) }
        { printf "| %s | %s | %s | %s | %s | %.2f× |\n", $1, ms($2), ms($3), ms($4), ms($5), ($3 > 0 ? $5 / $3 : 0) }' \
        "$folder/kinds.tsv"
    echo
}
