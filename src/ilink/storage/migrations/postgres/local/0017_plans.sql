-- Batches come in all the time, and what stores them keeps its plans. Left to itself the server plans most of these
-- statements anew at each call, because it takes the tables of days for cheaper when it knows the values; that is half of
-- the time of a call. All of them look rows up by their keys. Those of `store_group` stay as they are: where a plan does
-- not know how few rows are given it would read all that waits.
ALTER FUNCTION ingest SET plan_cache_mode = force_generic_plan;
