-- Who the server of a partition is: its run id changes with every start, failover and restore.
-- Answers {now, run id, uptime (s)}.
return {clock(ARGV[1]), server()}
