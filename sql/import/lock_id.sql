-- Locks an import's id for as long as this connection lives, unless another import has it.
-- $1 text id
-- Row (always one): whether it is ours now.
SELECT pg_try_advisory_lock(hashtextextended($1, 7310588146912534626))
