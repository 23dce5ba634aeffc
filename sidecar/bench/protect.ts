/**
 * What does data protection cost? First the protection alone: a streamed message of about five characters, and a prompt by
 * its size, with all built-in detectors. Then a stream of such messages through a real sidecar, with protection and
 * without, in turns: the CPU time of the whole process (app, sidecar and caller), by message. Run: `node sidecar/bench/protect.ts`
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  GenerateRequest,
  InferenceServiceClient,
  StreamGenerateResponse,
} from '@gatehouse/contracts/inference';
import { stringify } from 'yaml';
import { builtInDetectors } from '../src/protect/index.ts';
import {
  framed,
  GENERATE,
  type ProtectionEntry,
  protecting,
  STREAM_GENERATE,
} from '../src/protect/messages/test/protected-call.ts';
import { startModelApp } from '../test/support/model-app.ts';
import { spiffe, startTestMesh, TLS_OPTIONS, TRUST_DOMAIN } from '../test/support/test-mesh.ts';

const ROUNDS = 7;
const MESSAGES = 40_000;
const STREAM_MESSAGES = 20_000;
const PROMPT_BYTES = 4096;
const PROMPTS = 400;

const ALL: ProtectionEntry = { detectors: builtInDetectors, action: 'REDACT' };
const WORDS =
  'The quick answer is that a model writes text in pieces of about five characters, numbers like 2026 or 14:05 among them, and now and then a name such as Ada Lovelace or a link to example.org';
const PIECES = WORDS.match(/.{1,5}/gs) as string[];

const median = (values: readonly number[]): number =>
  values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Microseconds of CPU a time, median of the rounds. */
function costOf(times: number, run: () => void): number {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / times;
  });
  return median(rounds);
}

function streamedMessages(): Buffer[] {
  return PIECES.map((text, index) =>
    framed(
      StreamGenerateResponse.encode({
        event: { $case: 'delta', value: { text, outputTokens: index + 1 } },
      }).finish(),
    ),
  );
}

function protectionAlone(): void {
  const messages = streamedMessages();
  const stream = (protections: readonly ProtectionEntry[]): number =>
    costOf(MESSAGES, () => {
      const { response } = protecting(protections)(STREAM_GENERATE);
      for (let i = 0; i < MESSAGES; i++) response?.message(messages[i % messages.length] as Buffer);
    });
  console.log(`a streamed message, all detectors: ${stream([ALL]).toFixed(2)} us`);
  console.log(`a streamed message, cards alone:   ${stream([{ detectors: ['CARD'] }]).toFixed(2)} us`);
  console.log(`a streamed message, recorded only: ${stream([{ ...ALL, action: 'RECORD' }]).toFixed(2)} us`);

  const text = WORDS.repeat(Math.ceil(PROMPT_BYTES / WORDS.length)).slice(0, PROMPT_BYTES);
  const prompt = framed(
    GenerateRequest.encode(
      GenerateRequest.fromPartial({ input: { $case: 'prompt', value: text } } as never),
    ).finish(),
  );
  const begin = protecting([ALL]);
  const perPrompt = costOf(PROMPTS, () => {
    for (let i = 0; i < PROMPTS; i++) begin(GENERATE).request?.message(prompt);
  });
  console.log(`a prompt, all detectors: ${(perPrompt / (PROMPT_BYTES / 1024)).toFixed(1)} us/KiB`);
}

async function throughASidecar(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'gh-bench-'));
  const app = await startModelApp(`unix:${join(folder, 'app.sock')}`);
  app.answer = {
    pieces: Array.from({ length: STREAM_MESSAGES }, (_, i) => PIECES[i % PIECES.length] as string),
  };
  const mesh = await startTestMesh({ app: app.address, contract: {}, policy: policy(), sampleRatio: 0 });
  const clientOf = async (name: string): Promise<InferenceServiceClient> =>
    new InferenceServiceClient(
      mesh.inbound.inboundAddress ?? '',
      await mesh.credentialsOf(name),
      TLS_OPTIONS,
    );
  const plain = await clientOf('plain');
  const guarded = await clientOf('guarded');
  const costs: { plain: number[]; guarded: number[] } = { plain: [], guarded: [] };
  try {
    await Promise.all([stream(plain), stream(guarded)]);
    for (let round = 0; round < ROUNDS; round++) {
      costs.plain.push(await stream(plain));
      costs.guarded.push(await stream(guarded));
    }
  } finally {
    plain.close();
    guarded.close();
    await mesh.stop();
    app.stop();
    await rm(folder, { recursive: true, force: true });
  }
  const [without, withIt] = [median(costs.plain), median(costs.guarded)];
  console.log(`a message of a stream, app and caller included: ${without.toFixed(2)} us without protection,`);
  console.log(
    `${withIt.toFixed(2)} us with all detectors: ${(withIt / without).toFixed(2)} times, ${(withIt - without).toFixed(2)} us more`,
  );
}

/** Microseconds of CPU a message. */
function stream(client: InferenceServiceClient): Promise<number> {
  const before = process.cpuUsage();
  return new Promise((resolve, reject) => {
    const call = client.streamGenerate(
      GenerateRequest.fromPartial({ model: 'm', input: { $case: 'prompt', value: 'go' } } as never),
    );
    call.on('data', () => {});
    call.on('error', reject);
    call.on('end', () => {
      const { user, system } = process.cpuUsage(before);
      resolve((user + system) / STREAM_MESSAGES);
    });
  });
}

function policy(): string {
  const rule = (name: string) => ({
    id: name,
    effect: 'ALLOW',
    identities: [spiffe(name)],
    permissions: ['inference.generate'],
  });
  return stringify({
    version: 'bench',
    trustDomains: [TRUST_DOMAIN],
    rules: [rule('plain'), rule('guarded')],
    protections: [{ id: 'all', match: { identities: [spiffe('guarded')] }, ...ALL }],
  });
}

protectionAlone();
await throughASidecar();
