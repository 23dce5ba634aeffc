/**
 * What does tracing every call cost? Processor time of caller, both sidecars and app for a unary call, all in this process, with
 * no trace, one of a hundred, and every one sampled: each sampled call makes two spans. The collector is a process of its own.
 * The ways are alternated in short rounds, so that a slow moment of the machine falls on all of them.
 *
 * node sidecar/bench/tracing.ts
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { run } from '../test/support/calls.ts';
import { startTestMesh } from '../test/support/test-mesh.ts';
import { AnswerFrames } from './relay/load/answers.ts';
import { App } from './relay/load/app.ts';

const RATIOS = [0, 0.01, 1];
const ROUNDS = 12;
const CALLS_PER_ROUND = 500;
/** Longer than a span waits for others, so that a round pays for its own exports. */
const SETTLE_MS = 1300;
const IN_FLIGHT = 10;
const SPANS_PER_CALL = 2;

if (process.send === undefined) await measure();
else await takeSpans();

/** The collector's process: answers every export, reads none. */
async function takeSpans(): Promise<void> {
  const server = new App(new AnswerFrames({ messages: 1, payloadBytes: 0, everyMs: 0 })).listen();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.send?.((server.address() as AddressInfo).port);
  process.on('disconnect', () => process.exit(0));
}

async function measure(): Promise<void> {
  const collector = fork(fileURLToPath(import.meta.url));
  const [port] = (await once(collector, 'message')) as [number];
  const otlpEndpoint = `http://127.0.0.1:${port}`;
  const meshes = [];
  try {
    for (const sampleRatio of RATIOS) meshes.push(await startTestMesh({ otlpEndpoint, sampleRatio }));
    const clients = meshes.map((mesh) => mesh.client());
    const us = RATIOS.map((): number[] => []);
    for (let round = -1; round < ROUNDS; round++) {
      for (const [way, client] of clients.entries()) {
        const from = cpuUs();
        for (let made = 0; made < CALLS_PER_ROUND; made += IN_FLIGHT)
          await Promise.all(Array.from({ length: IN_FLIGHT }, () => run(client, 'unary', [{ text: 'x' }])));
        await delay(SETTLE_MS);
        // The first round is for the compiler.
        if (round >= 0) us[way]?.push((cpuUs() - from) / CALLS_PER_ROUND);
      }
    }
    const medians = us.map(median);
    for (const [way, ratio] of RATIOS.entries()) {
      const more = (medians[way] ?? 0) - (medians[0] ?? 0);
      console.log(
        `${String(ratio * 100).padStart(3)} % sampled: ${medians[way]?.toFixed(0)} µs a call, ${(more / SPANS_PER_CALL).toFixed(1)} µs more for each sidecar`,
      );
    }
    for (const [way, mesh] of meshes.entries()) {
      const lines = (await mesh.metrics(mesh.egress)).match(/^gatehouse_spans_total.*/gm) ?? [];
      console.log(`${String((RATIOS[way] ?? 0) * 100).padStart(3)} %: ${lines.join(', ')}`);
    }
  } finally {
    await Promise.all(meshes.map((mesh) => mesh.stop()));
    collector.disconnect();
  }
}

/** Time of this process on a CPU, of its garbage collector too: others on the machine don't count. */
function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
