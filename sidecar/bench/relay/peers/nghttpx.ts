import { join } from 'node:path';
import type { Candidate } from './candidate.ts';
import { versionFrom } from './run-program.ts';

/** Any client certificate of the CA may call: nghttpx reads no URI SAN. One worker, no access log. */
export const nghttpx: Candidate = {
  name: 'nghttpx',
  version: () => versionFrom('nghttpx', ['--version'], /nghttp2\/(\S+)/),
  prepare: async (ground, port) => ({
    command: 'nghttpx',
    args: [
      `--conf=/dev/null`,
      `--frontend=127.0.0.1,${port}`,
      `--backend=127.0.0.1,${ground.appPort};;proto=h2`,
      '--workers=1',
      '--tls-min-proto-version=TLSv1.3',
      '--tls-max-proto-version=TLSv1.3',
      '--verify-client',
      `--verify-client-cacert=${ground.bundleFile}`,
      '--frontend-http2-max-concurrent-streams=1024',
      '--backend-http2-max-concurrent-streams=1024',
      '--accesslog-file=/dev/null',
      `--errorlog-file=${join(ground.folder, 'nghttpx.log')}`,
      '--no-ocsp',
      ground.keyFile,
      ground.certificateFile,
    ],
  }),
};
