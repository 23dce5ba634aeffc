/**
 * What one decision costs, by how many rules the document has that don't concern the caller, and by what the rule that
 * does looks at. Candidates take turns in short rounds, and each number is the median of its rounds.
 *
 *   node sidecar/bench/policy-decision.ts
 */
import { readFileSync } from 'node:fs';
import { loadContract } from '@gatehouse/contracts';
import { formatProblem } from '@gatehouse/documents';
import { compilePolicy, type DecisionRequest, type IdentityRules } from '../src/policy/index.ts';

const ROUNDS = 12;
const DECISIONS_PER_ROUND = 200_000;
const CALLER = 'spiffe://gatehouse.local/ns/local/sa/caller';
const GENERATE = 'gatehouse.inference.v1.InferenceService/Generate';

const loaded = loadContract({
  descriptorSet: readFileSync(new URL(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'))),
});
if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
const { contract } = loaded;
const method = contract.methods.get(`/${GENERATE}`);
if (method === undefined) throw new Error(`no method ${GENERATE}`);

const REQUEST: DecisionRequest = {
  method,
  model: 'small@2',
  outputTokensLimit: 100,
  priority: 1,
  token: { issuer: 'staff', claims: { team: 'ml', groups: ['a', 'b', 'c'], level: 3 } },
  nowMs: Date.UTC(2026, 10, 22),
};

/** Of this thread: what else the machine does is left out. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

type Candidate = { readonly name: string; readonly rules: IdentityRules; readonly nsByRound: number[] };

/** @param own what the caller's rule asks for @param more further rules that concern the caller, such as shadow ones */
function candidate(name: string, others: number, own: string, more = ''): Candidate {
  const text = `version: v
trustDomains: [gatehouse.local]
jwtIssuers:
  - { name: staff, issuer: https://a, audiences: [x], algorithms: [ES256], jwksFile: a, claims: { team: STRING, groups: STRING_LIST, level: INT } }
rules:
${Array.from({ length: others }, (_, i) => `  - { id: r${i}, effect: ALLOW, identities: ["spiffe://gatehouse.local/ns/local/sa/x${i}"], methods: [${GENERATE}] }\n`).join('')}${more}
  - { id: own, effect: ALLOW, identities: ["${CALLER}"], methods: [${GENERATE}]${own} }
`;
  const begunMs = cpuMs();
  const compiled = compilePolicy(text, { contract, fileName: 'bench.yaml' });
  if ('problems' in compiled) throw new Error(compiled.problems.slice(0, 5).map(formatProblem).join('\n'));
  if (others >= 1000) console.log(`  ${others} rules load in ${Math.round(cpuMs() - begunMs)} ms of CPU`);
  return { name, rules: compiled.policy.forIdentity(CALLER), nsByRound: [] };
}

function measure(candidates: readonly Candidate[]): void {
  for (let round = 0; round < ROUNDS + 2; round++) {
    // Each round begins with another one: what comes first pays for what came before.
    const first = round % candidates.length;
    for (const { rules, nsByRound } of [...candidates.slice(first), ...candidates.slice(0, first)]) {
      const begunMs = cpuMs();
      for (let i = 0; i < DECISIONS_PER_ROUND; i++) {
        const decision = rules.decide(REQUEST);
        if (!decision.allowed) throw new Error(decision.reason);
        rules.shadowOf(REQUEST, decision);
      }
      const ns = ((cpuMs() - begunMs) * 1e6) / DECISIONS_PER_ROUND;
      if (round >= 2) nsByRound.push(ns); // The first two warm up.
    }
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] as number;
}

function report(title: string, candidates: readonly Candidate[]): void {
  measure(candidates);
  const [base] = candidates;
  console.log(title);
  for (const { name, nsByRound } of candidates) {
    const ns = median(nsByRound);
    const ratio = ns / median(base?.nsByRound ?? []);
    console.log(`  ${name.padEnd(44)} ${ns.toFixed(0).padStart(6)} ns  ×${ratio.toFixed(2)}`);
  }
}

report(
  'rules that do not concern the caller',
  [10, 100, 1000, 10_000].map((count) => candidate(`${count} rules`, count - 1, ', models: ["small*"]')),
);
report('what the rule looks at', [
  candidate('method alone', 9, ''),
  candidate('model', 9, ', models: [small]'),
  candidate('model by version and pattern', 9, ', models: ["s*@2"]'),
  candidate('token and a claim', 9, ', token: { issuer: staff, claims: [{ name: team, values: [ml] }] }'),
  candidate('condition on the request', 9, ', condition: request.max_output_tokens <= 256'),
  candidate('condition on claims', 9, ', condition: token.claims.team == "ml" && "c" in token.claims.groups'),
  candidate('condition on the time', 9, ', condition: now.getHours() < 24'),
  candidate(
    'method alone, another rule in shadow',
    9,
    '',
    `  - { id: shadow, effect: DENY, identities: ["${CALLER}"], methods: [${GENERATE}], models: [big], shadow: true }`,
  ),
]);
