-- The ledger of stock is read by product, if at all; its numbers alone need no index of their own, which each product
-- of an import had to be put into as well.
DROP INDEX stock_entries_product_idx;
ALTER TABLE stock_entries
    DROP CONSTRAINT stock_entries_pkey,
    ADD PRIMARY KEY (product_id, id);
