-- Names in order of their form, as suggestions have them since V8: in any case, and alike on every database,
-- whatever its collation. A second index of all names was a seventh of what it costs to insert a product. A program
-- from before this sorts the whole list where somebody asks for it by name.
DROP INDEX products_name_idx;
