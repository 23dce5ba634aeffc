import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Contract, type ContractMethod, loadContract } from '@gatehouse/contracts';
import { StreamGenerateResponse } from '@gatehouse/contracts/inference';
import { stringify } from 'yaml';
import { compilePolicy } from '../../../policy/index.ts';
import type { CallProtection } from '../../protector.ts';
import { Protectors } from '../../protectors.ts';
import { createPseudonyms } from '../../pseudonyms.ts';
import type { MessageProtection } from '../message-protection.ts';

const DESCRIPTORS = fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'));

const CALLER = 'spiffe://test.gatehouse/sa/caller';
export const GENERATE = '/gatehouse.inference.v1.InferenceService/Generate';
export const STREAM_GENERATE = '/gatehouse.inference.v1.InferenceService/StreamGenerate';
export const STREAM_EMBED = '/gatehouse.embeddings.v1.EmbeddingsService/StreamEmbed';
export const EXECUTE = '/gatehouse.orchestration.v1.OrchestrationService/Execute';
export const STREAM_EXECUTE = '/gatehouse.orchestration.v1.OrchestrationService/StreamExecute';

const METHODS = [GENERATE, STREAM_GENERATE, STREAM_EMBED, EXECUTE, STREAM_EXECUTE];

export const contract = load();

function load(): Contract {
  const loaded = loadContract({ descriptorSet: readFileSync(DESCRIPTORS) });
  if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
  return loaded.contract;
}

/** A protection as a policy document has it; `id` and `action: REDACT` unless given. */
export type ProtectionEntry = {
  readonly detectors: readonly string[];
  readonly action?: string;
  readonly [key: string]: unknown;
};

/** Begins calls under a policy with these protections. */
export function protecting(
  protections: readonly ProtectionEntry[],
  detectors: readonly object[] = [],
): (path: string, model?: () => string | null) => CallProtection {
  const document = {
    version: 't',
    trustDomains: ['test.gatehouse'],
    rules: [
      { id: 'all', effect: 'ALLOW', identities: [CALLER], methods: METHODS.map((path) => path.slice(1)) },
    ],
    detectors,
    protections: protections.map((each, index) => ({ id: `p${index}`, action: 'REDACT', ...each })),
  };
  const compiled = compilePolicy(stringify(document), { contract, fileName: 'policy.yaml' });
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  const protectors = new Protectors(contract, new Map([['key', createPseudonyms(Buffer.alloc(32, 7))]]));
  const problems = protectors.load(compiled.policy);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return (path, model = () => null) => {
    const method = contract.methods.get(path) as ContractMethod;
    const concerned = compiled.policy.forIdentity(CALLER).protections(method);
    const begun = protectors.of(compiled.policy).begin({ method, protections: concerned, model });
    if (begun === null) throw new Error('nothing is protected');
    return begun;
  };
}

export function framed(body: Uint8Array, flag = 0): Buffer {
  const head = Buffer.alloc(5, 0);
  head[0] = flag;
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

/** The messages in bytes that go on, without framing. */
export function unframed(bytes: Buffer): Buffer[] {
  const bodies: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    bodies.push(bytes.subarray(at + 5, end));
    at = end;
  }
  return bodies;
}

/** A piece of a streamed answer. */
export function delta(text: string, outputTokens = 0): Buffer {
  const event = { $case: 'delta' as const, value: { text, outputTokens } };
  return Buffer.from(StreamGenerateResponse.encode({ event }).finish());
}

/** Sends messages through, and then the end. @returns what goes on, or throws what refuses them */
export function sendThrough(protection: MessageProtection | null, bodies: readonly Uint8Array[]): Buffer[] {
  if (protection === null) throw new Error('this direction is not protected');
  const results = [...bodies.map((body) => protection.message(framed(body))), protection.end()];
  return results.flatMap((result) => {
    if ('kind' in result) throw Object.assign(new Error(JSON.stringify(result)), { refusal: result });
    return unframed(result);
  });
}
