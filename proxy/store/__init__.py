"""The store: one partitioned record per request, on the Redis protocol."""
