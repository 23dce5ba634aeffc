// A long fuzz run: `node sidecar/test/conformance/fuzz/main.ts [--seconds N] [--seed S] [--connections N]
// [--role server|client]`.
import { parseArgs } from 'node:util';
import { FRAME_HEAD_BYTES, FrameType } from '../../../src/http2/frame-types.ts';
import { freshSeed } from '../support/random.ts';
import { fuzz } from './differential.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(freshSeed()) },
    connections: { type: 'string', default: '64' },
    role: { type: 'string', default: 'server' },
  },
});
const seed = Number(values.seed);
const endsAtMs = performance.now() + Number(values.seconds) * 1_000;
const role = values.role === 'client' ? 'client' : 'server';
console.log(`${role}, seed ${seed}, ${values.seconds} s`);
const report = await fuzz({
  role,
  seed,
  connections: Number(values.connections),
  goesOn: () => performance.now() < endsAtMs,
});
for (const { seed: at, index, difference, moves, hex } of report.findings) {
  console.log(
    `\nseed ${at}, conversation ${index}: ${difference}\n  ${moves.join(' · ')}\n  ${framesOf(Buffer.from(hex, 'hex'))}\n  ${hex}`,
  );
}
console.log(
  `${report.conversations} conversations on ${report.connections} connections, ` +
    `${report.connectionErrors} ended by an error; ${report.findings.length} differences`,
);
process.exit(report.findings.length === 0 ? 0 : 1);

/** The frames of a conversation as far as they can be told apart: type, flags, stream and size. */
function framesOf(bytes: Buffer): string {
  const names = new Map<number, string>(Object.entries(FrameType).map(([name, type]) => [type, name]));
  const frames: string[] = [];
  for (let at = 0; at + FRAME_HEAD_BYTES <= bytes.length; ) {
    const size = bytes.readUIntBE(at, 3);
    const type = bytes[at + 3] as number;
    const flags = (bytes[at + 4] as number).toString(16);
    frames.push(`${names.get(type) ?? `type ${type}`}/${flags} #${bytes.readUInt32BE(at + 5)} ${size}`);
    at += FRAME_HEAD_BYTES + size;
  }
  return frames.join(' · ');
}
