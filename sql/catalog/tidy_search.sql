-- Moves what was written to the search index lately to where a search need not read all of it. The
-- index does so by itself only after megabytes of such entries. Wants the owner of the tables.
-- Row: the pages that were moved.
SELECT gin_clean_pending_list('products_search_idx')
