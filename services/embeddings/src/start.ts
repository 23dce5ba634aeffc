import { type ServiceParts, type StartDeps, StartFailure } from '@gatehouse/service-kit/main';
import { observeQueues } from '@gatehouse/telemetry';
import type { EmbeddingsConfig, ModelConfig } from './config.ts';
import { type Compute, ModelUnloadable, startCompute } from './engine/compute.ts';
import { Embedder } from './engine/embedder.ts';
import { embeddingsService } from './service.ts';

/**
 * Builds the service: every model loaded, each in a worker of its own.
 * @throws StartFailure naming the model that cannot be loaded, and why
 */
export async function start(config: EmbeddingsConfig, { log }: StartDeps): Promise<ServiceParts> {
  const computes: Compute[] = [];
  const close = async () => {
    await Promise.all(computes.map((compute) => compute.close()));
  };
  const embedders = new Map<string, Embedder>();
  try {
    for (const model of config.models) {
      const compute = await load(model);
      computes.push(compute);
      embedders.set(model.name, new Embedder(compute, model, () => performance.now()));
      log.info({ model: model.name, dimensions: compute.dimensions }, 'model loaded');
    }
  } catch (error) {
    await close();
    throw error;
  }
  for (const compute of computes) {
    // A worker that ends unasked is a bug, and the process with it: whatever supervises it starts it anew.
    void compute.ended.then((error) => {
      if (error !== undefined) throw error;
    });
  }
  observeQueues(config.name, () => [...embedders].map(([model, { load }]) => ({ model, ...load })));
  return { services: [embeddingsService(embedders)], close };
}

async function load(model: ModelConfig): Promise<Compute> {
  try {
    return await startCompute(model);
  } catch (error) {
    if (!(error instanceof ModelUnloadable)) throw error;
    throw new StartFailure(`the model ${model.name} cannot be loaded: ${error.message}`);
  }
}
