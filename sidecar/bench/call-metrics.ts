/**
 * What do a call's metrics cost, and what does counting its tokens? CPU time of the counting alone, medians: a call of one of 300 callers for
 * one of 80 models, sampled for traces or not, and a streamed message of 17 bytes of a method whose responses tell of tokens.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadContract } from '@gatehouse/contracts';
import { StreamGenerateResponse } from '@gatehouse/contracts/inference';
import type { Stream } from '../src/http2/index.ts';
import type { DecisionFacts } from '../src/path/4-authorise.ts';
import type { Admitted } from '../src/path/5-admit.ts';
import { ByteBudget } from '../src/path/byte-budget.ts';
import { Call, type CallTrace } from '../src/path/call.ts';
import { CallMetrics } from '../src/path/call-metrics.ts';
import { UsageMeter } from '../src/path/usage-meter.ts';

const ROUNDS = 7;
const CALLS = 1_000_000;
const MESSAGES = 200;
const PATH = '/gatehouse.inference.v1.InferenceService/StreamGenerate';
const OK = { status: 0, refusal: null, requestMessages: 1, responseMessages: 1 } as const;

const descriptorSet = readFileSync(
  fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb')),
);
const loaded = loadContract({ descriptorSet });
if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
const method = loaded.contract.methods.get(PATH) ?? null;

function callOf(caller: number, recorded: boolean): Call {
  const call = new Call('inbound', {} as Stream, 0);
  call.identity = `spiffe://bench/ns/default/sa/caller-${caller}`;
  call.path = PATH;
  call.method = method;
  call.requestValues = { model: `model-${caller % 80}` } as Call['requestValues'];
  call.decision = { allowed: true } as DecisionFacts;
  call.trace = { recorded, traceId: 'f'.repeat(32) } as CallTrace;
  return call;
}

/** Nanoseconds of CPU for each of `count`. */
function median(count: number, once: () => void): number {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const before = process.cpuUsage();
    once();
    const { user, system } = process.cpuUsage(before);
    return ((user + system) * 1000) / count;
  });
  return rounds.toSorted((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN;
}

for (const recorded of [false, true]) {
  const metrics = new CallMetrics('inbound');
  const calls = Array.from({ length: 300 }, (_, caller) => callOf(caller, recorded));
  const each = median(CALLS, () => {
    for (let n = 0; n < CALLS; n++) metrics.ended(calls[n % calls.length] as Call, OK, n % 40);
  });
  console.log(`metrics of a call, ${recorded ? 'sampled' : 'not sampled'}: ${each.toFixed(0)} ns`);
}

const messages = Array.from({ length: MESSAGES }, (_, index) => {
  const event = { $case: 'delta', value: { text: ' hello', outputTokens: index + 1 } } as const;
  const body = StreamGenerateResponse.encode({ event }).finish();
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
});
const whole = Buffer.concat(messages);
const metrics = new CallMetrics('inbound');
const budget = new ByteBudget(1024);
const stream = (see: (meter: UsageMeter) => void): void => {
  for (let n = 0; n < CALLS / MESSAGES / 2; n++) {
    const meter = new UsageMeter(callOf(0, false) as Admitted, metrics, budget, () => {});
    see(meter);
    meter.end();
  }
};
const paced = median(CALLS / 2, () =>
  stream((meter) => {
    for (const message of messages) meter.see(message, 0, message.length);
  }),
);
const burst = median(CALLS / 2, () => stream((meter) => meter.see(whole, 0, whole.length)));
console.log(`tokens of a streamed message that comes alone: ${paced.toFixed(0)} ns`);
console.log(`tokens of a streamed message among ${MESSAGES} that come at once: ${burst.toFixed(0)} ns`);
