-- Words of names that may be another word but for a slip or two; and some that are not.
-- $1 text the other word, $2 bigint the most words
-- Row: word. No row: none is like it.
-- Served by search_words_cuts_idx.
SELECT DISTINCT word
FROM (
    SELECT word
    FROM search_words
    WHERE search_cuts(word) && (SELECT search_cuts(search_form($1::text)))
    LIMIT $2::bigint
) AS w
