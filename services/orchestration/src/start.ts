import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { egressChannel } from '@gatehouse/service-kit';
import { type ServiceParts, type StartDeps, StartFailure } from '@gatehouse/service-kit/main';
import type { OrchestrationConfig } from './config.ts';
import { graphDocumentReader } from './graph/document.ts';
import { type GraphLibrary, readLibrary } from './graph-library.ts';
import { orchestrationService } from './service.ts';

/**
 * Builds the service: its graphs, its two channels through the sidecar.
 * @throws StartFailure that names every problem of every graph file
 */
export async function start(config: OrchestrationConfig, { now }: StartDeps): Promise<ServiceParts> {
  const library = await loadLibrary(config.graphsDir);
  const { egress: address, upstreams } = config;
  const channels = {
    inference: egressChannel({ address, authority: upstreams.inference }),
    embeddings: egressChannel({ address, authority: upstreams.embeddings }),
  };
  return {
    services: [orchestrationService({ library, channels, now, random: Math.random })],
    close: async () => {
      channels.inference.close();
      channels.embeddings.close();
    },
  };
}

async function loadLibrary(dir: string): Promise<GraphLibrary> {
  const descriptors = await readFile(
    fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb')),
  );
  const read = readLibrary(await readGraphFiles(dir), graphDocumentReader(descriptors));
  if (read.ok) return read.library;
  const problems = read.problems.map((problem) => `  ${problem}`);
  throw new StartFailure(`the graphs in ${dir} are not valid:\n${problems.join('\n')}`);
}

async function readGraphFiles(dir: string): Promise<Map<string, string>> {
  try {
    const names = (await readdir(dir)).filter((name) => name.endsWith('.yaml'));
    const texts = await Promise.all(names.map((name) => readFile(join(dir, name), 'utf8')));
    return new Map(names.map((name, at) => [name, texts[at] ?? '']));
  } catch (error) {
    throw new StartFailure(`cannot read the graphs in ${dir}: ${(error as NodeJS.ErrnoException).code}`);
  }
}
