-- Return the run id of a partition's server, which changes with every start, failover and restore.
return run_id()
