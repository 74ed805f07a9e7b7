-- Who the server of a partition is: its run id changes with every start, failover and restore.
-- Answers {now, run id, uptime (s)}.
local info = redis.call('INFO', 'server')
return {clock(ARGV[1]), string.match(info, 'run_id:(%w+)'),
  string.match(info, 'uptime_in_seconds:(%d+)')}
