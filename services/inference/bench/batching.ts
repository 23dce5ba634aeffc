// Eight generations at a time against one: `node services/inference/bench/batching.ts`. The service is a process of its
// own; every generation is a streaming RPC over its Unix socket. Prints JSON lines. Needs the fetched model.
import { readdir, readFile } from 'node:fs/promises';
import { InferenceServiceService } from '@gatehouse/contracts/inference';
import { type EgressChannel, egressChannel } from '@gatehouse/service-kit';
import { startInference } from '../test/inference-process.ts';
import { llamaConfig, modelName } from '../test/model-file.ts';

const rounds = 3;
const outputTokens = 64;
/** A tick of /proc, as Linux counts for programs. */
const tickMs = 10;

/** Of the service and its engine, which says more than the clock where other processes compute too. */
async function cpuMs(pids: readonly number[]): Promise<number> {
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8')));
  const fields = stats.map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' '));
  return fields.reduce((sum, field) => sum + (Number(field[11]) + Number(field[12])) * tickMs, 0);
}

async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
}

async function engineOf(pid: number): Promise<number[]> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const lists = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8')),
  );
  return lists.flatMap((list) => list.trim().split(/\s+/).filter(Boolean).map(Number));
}

async function generate(channel: EgressChannel, seed: number): Promise<number> {
  const messages = [{ role: 2 as const, content: 'Tell me a long story about the sea.' }];
  const stream = channel.serverStream(InferenceServiceService.streamGenerate, {
    model: modelName,
    input: { $case: 'chat', value: { messages } },
    maxTokens: outputTokens,
    seed,
    stop: [],
    jsonSchema: '',
    priority: 0,
  });
  for await (const { event } of stream)
    if (event?.$case === 'completed') return event.value.usage?.outputTokens ?? 0;
  throw new Error('the stream ended early');
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const service = await startInference({
  models: [
    { ...llamaConfig, contextTokensMax: 1024, sequencesMax: 8, batchTokensMax: 128, threadsMax: undefined },
  ],
});
const channel = egressChannel({ address: service.address, authority: 'inference' });
const pids = [service.pid, ...(await engineOf(service.pid))];
try {
  await generate(channel, 1);
  const best: Record<string, number> = {};
  for (let round = 0; round < rounds; round += 1) {
    for (const concurrency of [1, 8]) {
      const [cpuBefore, begun] = [await cpuMs(pids), performance.now()];
      const calls = Array.from({ length: concurrency }, (_, index) => generate(channel, 10 + index));
      const tokens = (await Promise.all(calls)).reduce((sum, count) => sum + count, 0);
      const tokensPerS = (tokens / (performance.now() - begun)) * 1000;
      const cpuMsPerToken = ((await cpuMs(pids)) - cpuBefore) / tokens;
      best[concurrency] = Math.max(best[concurrency] ?? 0, tokensPerS);
      print({ bench: 'generate', concurrency, tokens, tokensPerS, cpuMsPerToken });
    }
  }
  const speedup = (best['8'] ?? 0) / (best['1'] ?? 1);
  const residentMbAll = await Promise.all(pids.map(residentMb));
  print({ bench: 'generate', speedupOf8: speedup, target: 2.5, residentMb: residentMbAll });
} finally {
  channel.close();
  await service.end('SIGTERM');
}
