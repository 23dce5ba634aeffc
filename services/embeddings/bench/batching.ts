// Batching against one by one: `node services/embeddings/bench/batching.ts`. The service is a process of its own;
// every text is an RPC over its Unix socket. Prints JSON lines. Needs the fetched model.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EmbeddingsServiceClient } from '@gatehouse/contracts/embeddings';
import { credentials, Metadata } from '@grpc/grpc-js';
import { MODEL, modelFiles } from '../test/model-files.ts';

const textCount = 256;
const rounds = 3;
const readyMsMax = 30_000;
const words =
  'the quick settlement of a payment between two european banks was delayed every morning before markets opened'.split(
    ' ',
  );

/** Sentences of 6 to 19 words, the same in every run. */
function sentences(): string[] {
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  return Array.from({ length: textCount }, () =>
    Array.from({ length: 6 + random(14) }, () => words[random(words.length)]).join(' '),
  );
}

async function bench(client: EmbeddingsServiceClient, pid: number): Promise<void> {
  const embed = (inputs: string[]) =>
    new Promise<number>((resolve, reject) => {
      const request = { model: MODEL, inputs, options: undefined };
      const options = { deadline: Date.now() + 120_000 };
      client.embed(request, new Metadata(), options, (error, response) =>
        error ? reject(error) : resolve(response.inputTokens),
      );
    });
  const texts = sentences();
  const ways: Record<string, () => Promise<unknown>> = {
    oneByOne: async () => {
      for (const text of texts) await embed([text]);
    },
    concurrent16: () => {
      const next = texts.values();
      const caller = async () => {
        for (const text of next) await embed([text]);
      };
      return Promise.all(Array.from({ length: 16 }, caller));
    },
    concurrent256: () => Promise.all(texts.map((text) => embed([text]))),
    oneCall: () => embed(texts),
  };
  const residentMb = async () =>
    Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN) / 1024;
  const afterLoadMb = await residentMb();
  const tokens = await embed(texts);
  const best: Record<string, number> = {};
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, way] of Object.entries(ways)) {
      const begunMs = performance.now();
      await way();
      best[name] = Math.min(best[name] ?? Number.POSITIVE_INFINITY, performance.now() - begunMs);
    }
  }
  const baseline = best['oneByOne'] ?? Number.NaN;
  for (const [way, ms] of Object.entries(best)) {
    print({
      way,
      texts: textCount,
      tokens,
      ms: Math.round(ms),
      timesAsFast: Number((baseline / ms).toFixed(2)),
    });
  }
  print({
    residentMb: { afterLoad: Math.round(afterLoadMb), afterRuns: Math.round(await residentMb()), max: 350 },
  });
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const folder = await mkdtemp(join(tmpdir(), 'emb-'));
const address = `unix:${folder}/app.sock`;
const configFile = join(folder, 'config.yaml');
// JSON is YAML.
const config = { name: 'embeddings', listen: address, models: [{ name: MODEL, ...modelFiles }] };
await writeFile(configFile, JSON.stringify(config));
const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const service = spawn(process.execPath, [main, '--config', configFile], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
const client = new EmbeddingsServiceClient(address, credentials.createInsecure());
try {
  await new Promise<void>((resolve, reject) => {
    client.waitForReady(Date.now() + readyMsMax, (error) => (error ? reject(error) : resolve()));
  });
  await bench(client, service.pid ?? 0);
} finally {
  client.close();
  const exited = once(service, 'exit');
  service.kill('SIGTERM');
  await exited;
  await rm(folder, { recursive: true, force: true });
}
