-- Search that helps along: what somebody is typing, the best first, and misspelled words.

-- Names by their beginning, in any case. By byte, so that those with one beginning stand together.
CREATE INDEX products_name_form_idx ON products ((search_form(name) COLLATE "C"), id) WHERE deleted_at IS NULL;

-- Every word of three to forty letters that the name of some product has, or once had, in the form of a
-- search. Words are only added. Not unique: whoever adds a word would have to wait for all who are just
-- adding it too, and two of them for each other. So a word may be here as often as writers met over it.
CREATE TABLE search_words (
    word text COLLATE "C" NOT NULL
);
CREATE INDEX search_words_word_idx ON search_words (word);

-- What is left of a word's first seven letters without any one of them, or without any two where it has
-- six letters or more; and they themselves. Words that are so many slips apart have such a rest in common,
-- by which they find each other: symmetric deletions, as in W. Garbe's SymSpell. At most 29 of a word.
CREATE FUNCTION search_cuts(word text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 10000
    RETURN (
        SELECT array_agg(DISTINCT overlay(overlay(w.start PLACING '' FROM b FOR 1) PLACING '' FROM a FOR 1))
        FROM (SELECT left(word, 7) AS start) AS w
        CROSS JOIN LATERAL generate_series(1, length(w.start) + 1) AS a
        CROSS JOIN LATERAL generate_series(a + 1, length(w.start) + 2) AS b
        WHERE length(word) > 5 OR b > length(w.start)
    );

-- Without a list of late entries, all of which each search would have to read.
CREATE INDEX search_words_cuts_idx ON search_words USING gin (search_cuts(word)) WITH (fastupdate = off);

-- The words of a piece of a name. Letters are whatever is no blank and none of these marks.
CREATE FUNCTION search_marks() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN E'\t\n\r\x1e\u00a0!"#$%&\'()*+,-./0123456789:;<=>?@[\\]^_`{|}~«»‘’“”„–—…·•™®©°€£½¼¾²³';
CREATE FUNCTION search_words_of(piece text) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1
    BEGIN ATOMIC
        SELECT word
        FROM string_to_table(translate(piece, search_marks(), repeat(' ', length(search_marks()))), ' ') AS word
        WHERE length(word) BETWEEN 3 AND 40;
    END;

-- No statement that writes products can forget it. Without whole scans: what the planner takes for a small
-- table, while it is being filled, may have become a large one by the time that its plan is used.
CREATE FUNCTION note_words() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    -- What blanks part is looked at once, however many names have it, and only then taken apart.
    INSERT INTO search_words (word)
    SELECT w.word
    FROM (
        SELECT DISTINCT word
        FROM (
            SELECT DISTINCT piece
            FROM named, string_to_table(split_part(named.search_text, E'\x1f', 1), ' ') AS piece
        ) AS p, search_words_of(p.piece) AS word
    ) AS w
    LEFT JOIN LATERAL (SELECT true AS is_known FROM search_words k WHERE k.word = w.word LIMIT 1) AS k ON true
    WHERE k.is_known IS NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER products_note_new_words AFTER INSERT ON products
    REFERENCING NEW TABLE AS named
    FOR EACH STATEMENT EXECUTE FUNCTION note_words();

-- Most edits leave names as they are; what words these have is known, and so nothing is written.
CREATE TRIGGER products_note_words AFTER UPDATE ON products
    REFERENCING NEW TABLE AS named
    FOR EACH STATEMENT EXECUTE FUNCTION note_words();

-- The words that there are.
INSERT INTO search_words (word)
SELECT DISTINCT word
FROM (
    SELECT DISTINCT piece
    FROM products, string_to_table(split_part(search_text, E'\x1f', 1), ' ') AS piece
    WHERE deleted_at IS NULL
) AS p, search_words_of(p.piece) AS word;
