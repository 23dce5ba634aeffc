import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Candidate } from '../candidate.ts';

export const grpcJsProxy: Candidate = {
  name: 'grpc-js',
  version: async () =>
    (createRequire(import.meta.url)('@grpc/grpc-js/package.json') as { version: string }).version,
  prepare: async (ground, port) => ({
    command: process.execPath,
    args: [
      fileURLToPath(new URL('main.ts', import.meta.url)),
      String(port),
      String(ground.appPort),
      ground.certificateFile,
      ground.keyFile,
      ground.bundleFile,
    ],
  }),
};
