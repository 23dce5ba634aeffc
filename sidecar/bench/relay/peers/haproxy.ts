import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Candidate } from './candidate.ts';
import { versionFrom } from './run-program.ts';

/** Any client certificate of the CA may call: haproxy 2.6 reads no URI SAN. One thread, connections to the app shared. */
export const haproxy: Candidate = {
  name: 'haproxy',
  version: () => versionFrom('/usr/sbin/haproxy', ['-v'], /version (\S+)/),
  prepare: async (ground, port) => {
    const pem = join(ground.folder, 'haproxy.pem');
    const parts = await Promise.all([readFile(ground.certificateFile), readFile(ground.keyFile)]);
    await writeFile(pem, Buffer.concat(parts));
    const config = `
global
  nbthread 1
  maxconn 8192
  tune.h2.max-concurrent-streams 1024
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend inbound
  bind 127.0.0.1:${port} ssl crt ${pem} ca-file ${ground.bundleFile} verify required alpn h2 ssl-min-ver TLSv1.3 backlog 4096
  default_backend app
backend app
  http-reuse always
  server app 127.0.0.1:${ground.appPort} proto h2
`;
    const file = join(ground.folder, 'haproxy.cfg');
    await writeFile(file, config);
    return { command: '/usr/sbin/haproxy', args: ['-db', '-f', file] };
  },
};
