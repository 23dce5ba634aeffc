import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Candidate } from './candidate.ts';
import { versionFrom } from './run-program.ts';

const FOREVER = 1_000_000_000;

/** Any client certificate of the CA may call: nginx reads no URI SAN. One worker, kept connections to the app, no log. */
export const nginx: Candidate = {
  name: 'nginx',
  version: () => versionFrom('/usr/sbin/nginx', ['-v'], /nginx\/(\S+)/),
  prepare: async (ground, port) => {
    const folder = join(ground.folder, 'nginx');
    await mkdir(folder, { recursive: true });
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${folder}/${kind};`)
      .join(' ');
    const config = `
daemon off; user root; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log warn;
events { worker_connections 16384; }
http {
  access_log off; http2_recv_buffer_size 256k; ${temporary}
  keepalive_requests ${FOREVER}; keepalive_timeout 1h;
  upstream app { server 127.0.0.1:${ground.appPort}; keepalive 1024; keepalive_requests ${FOREVER}; keepalive_timeout 1h; }
  server {
    listen 127.0.0.1:${port} ssl http2 backlog=4096;
    http2_max_concurrent_streams 1024;
    ssl_certificate ${ground.certificateFile}; ssl_certificate_key ${ground.keyFile};
    ssl_protocols TLSv1.3; ssl_client_certificate ${ground.bundleFile}; ssl_verify_client on;
    location / { grpc_pass grpc://app; grpc_read_timeout 1h; grpc_send_timeout 1h; }
  }
}
`;
    await writeFile(join(folder, 'nginx.conf'), config);
    return {
      command: '/usr/sbin/nginx',
      args: ['-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')],
    };
  },
};
