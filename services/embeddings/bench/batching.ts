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
/** A tick of /proc, as Linux counts for programs. */
const tickMs = 10;
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
  /** Of the service, which says more than the clock where other processes compute too. */
  const cpuMs = async () => {
    const [user, system] =
      (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ').slice(11, 13) ?? [];
    return (Number(user) + Number(system)) * tickMs;
  };
  const residentMb = async () =>
    Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN) / 1024;
  const afterLoadMb = await residentMb();
  const tokens = await embed(texts);
  const best: Record<string, { ms: number; cpuMs: number }> = {};
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, way] of Object.entries(ways)) {
      const [begunMs, begunCpuMs] = [performance.now(), await cpuMs()];
      await way();
      const took = { ms: performance.now() - begunMs, cpuMs: (await cpuMs()) - begunCpuMs };
      const known = best[name] ?? took;
      best[name] = { ms: Math.min(known.ms, took.ms), cpuMs: Math.min(known.cpuMs, took.cpuMs) };
    }
  }
  const baseline = best['oneByOne']?.ms ?? Number.NaN;
  for (const [way, { ms, cpuMs: cpu }] of Object.entries(best)) {
    const timesAsFast = Number((baseline / ms).toFixed(2));
    print({ way, texts: textCount, tokens, ms: Math.round(ms), cpuMs: Math.round(cpu), timesAsFast });
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
