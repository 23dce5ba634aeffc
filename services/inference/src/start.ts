import { randomInt } from 'node:crypto';
import { InferenceServiceService } from '@gatehouse/contracts/inference';
import type { ServiceParts, StartDeps } from '@gatehouse/service-kit/main';
import { observeQueues } from '@gatehouse/telemetry';
import type { InferenceConfig, ModelConfig } from './config.ts';
import type { Engine } from './engine/engine.ts';
import { LlamaEngine } from './engine/llama/llama-engine.ts';
import { OpenAiEngine } from './engine/openai/openai-engine.ts';
import { inferenceServices } from './service.ts';

const serviceName = InferenceServiceService.generate.path.split('/')[1] ?? '';

/**
 * Opens every model and pairs the engines with the service. The service counts as healthy while each engine can answer.
 * @throws StartFailure for a model that cannot be opened; those opened by then are closed
 */
export async function start(config: InferenceConfig, deps: StartDeps): Promise<ServiceParts> {
  const engines: Engine[] = [];
  const close = async () => {
    await Promise.all(engines.map((engine) => engine.close()));
  };
  try {
    for (const model of config.models) engines.push(await openEngine(model, deps)); // One by one: loading takes memory.
  } catch (error) {
    await close();
    throw error;
  }
  observeQueues(config.name, () => engines.map(({ info, load }) => ({ model: info.name, ...load })));
  return {
    services: inferenceServices({ engines, now: deps.now, randomSeed: () => randomInt(2 ** 32) }),
    reportHealth: (setServing) => {
      const down = new Set<Engine>();
      for (const engine of engines) {
        engine.onReadiness((ready) => {
          if (ready) down.delete(engine);
          else down.add(engine);
          setServing(serviceName, down.size === 0);
        });
      }
    },
    close,
  };
}

async function openEngine(model: ModelConfig, { log, now }: StartDeps): Promise<Engine> {
  switch (model.engine) {
    case 'llama.cpp':
      return await LlamaEngine.open(model, {
        now,
        onReadiness: (ready, cause) => {
          if (ready) log.info({ model: model.name }, 'engine is running again');
          else log.error({ model: model.name, cause }, 'engine has ended');
        },
      });
    case 'openai':
      return new OpenAiEngine(model, { now });
  }
}
