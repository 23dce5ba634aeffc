import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddingsServiceClient } from '@gatehouse/contracts/embeddings';
import { startService } from '@gatehouse/service-kit';
import { createLogger } from '@gatehouse/telemetry';
import { credentials } from '@grpc/grpc-js';
import { embeddingsConfig, type ModelConfig } from '../src/config.ts';
import { start } from '../src/start.ts';
import { MODEL, modelFiles } from './model-files.ts';

export interface RunningService {
  readonly client: EmbeddingsServiceClient;
  /** `unix:/path`. */
  readonly address: string;
  stop(): Promise<void>;
}

/** The whole service on a Unix socket of its own, with the real model. */
export async function startEmbeddings(overrides: Partial<ModelConfig> = {}): Promise<RunningService> {
  const folder = await mkdtemp(join(tmpdir(), 'emb-'));
  const config = embeddingsConfig.parse({
    name: 'embeddings',
    listen: `unix:${folder}/app.sock`,
    models: [{ name: MODEL, ...modelFiles, ...overrides }],
  });
  const log = createLogger({ name: 'embeddings', level: 'fatal' });
  const parts = await start(config, { log, now: Date.now });
  const server = await startService({ config, services: parts.services, log, now: Date.now });
  const client = new EmbeddingsServiceClient(server.address, credentials.createInsecure());
  return {
    client,
    address: server.address,
    stop: async () => {
      client.close();
      await server.stop();
      await parts.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
