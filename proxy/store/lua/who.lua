-- Who the server of a partition is: its run id changes with every start, failover and restore.
return run_id()
