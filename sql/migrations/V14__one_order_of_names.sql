-- Names in order of their form, as suggestions have them since V8: in any case, and alike on every database,
-- whatever its collation. Two indexes of all names were a fifth of what it costs to write a product. A program from
-- before this sorts the whole list where somebody asks for it by name.
DROP INDEX products_name_idx;
