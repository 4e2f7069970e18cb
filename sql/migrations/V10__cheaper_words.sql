-- What is worked out of each product that is written, at less expense: the same results in a third and in two
-- thirds of the time.

CREATE OR REPLACE FUNCTION search_symbols(words text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN string_to_array(regexp_replace(words, E'[A-Z0-9 \x1f]+', '', 'g'), NULL);

-- Most pieces of names are words that are known, which are not taken apart again. By byte, which is how
-- words are compared, and the quickest to sort.
CREATE OR REPLACE FUNCTION note_words() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO search_words (word)
    SELECT DISTINCT w.word
    FROM (
        SELECT DISTINCT piece COLLATE "C" AS piece
        FROM named, string_to_table(split_part(named.search_text, E'\x1f', 1), ' ') AS piece
    ) AS p
    LEFT JOIN LATERAL (SELECT true AS is_known FROM search_words k WHERE k.word = p.piece LIMIT 1) AS i ON true
    CROSS JOIN search_words_of(p.piece) AS w (word)
    LEFT JOIN LATERAL (SELECT true AS is_known FROM search_words k WHERE k.word = w.word LIMIT 1) AS k ON true
    WHERE i.is_known IS NULL AND k.is_known IS NULL;
    RETURN NULL;
END
$$;
