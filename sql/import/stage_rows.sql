-- Takes rows in as they were sent, in the binary format.
COPY import_rows (run, line, sku, name, sets_description, description, price_cents, category_no, stock, stock_delta)
FROM STDIN (FORMAT binary)
