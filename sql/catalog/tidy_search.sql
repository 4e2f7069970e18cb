-- Moves what was written to the search indexes lately to where a search need not read all of it. An
-- index does so by itself only after megabytes of such entries. Wants the owner of the tables.
-- Row: the pages that were moved, of each index.
SELECT gin_clean_pending_list('products_search_idx'), gin_clean_pending_list('products_symbols_idx')
