// Makes calls with jira.js, a client that we did not write and that checks every answer against its
// own schemas. Standard input: {host, token, calls: [{surface, group, method, parameters}]}; standard
// output: for each call {result}, or {error: {name, status, retryAfterMs, message}}.
import { text } from 'node:stream/consumers';
import { createClient } from 'jira.js/core';
import { createCloudClient, createServiceDeskClient } from 'jira.js';

const { host, token, calls } = JSON.parse(await text(process.stdin));
const client = createClient({ host, auth: { type: 'bearer', token }, onSchemaMismatch: 'throw' });
const surfaces = { cloud: createCloudClient(client), desk: createServiceDeskClient(client) };

const said = [];
for (const { surface, group, method, parameters } of calls) {
  try {
    const result = await surfaces[surface][group][method](parameters);
    said.push({ result: result ?? null });
  } catch (error) {
    const { name, message, status, retryAfterMs } = error;
    said.push({ error: { name, message, status, retryAfterMs } });
  }
}
process.stdout.write(JSON.stringify(said));
