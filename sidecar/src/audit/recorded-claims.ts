import { hash } from 'node:crypto';
import type { Caller } from '@gatehouse/contracts/audit';
import type { Policy, TokenFacts } from '../policy/index.ts';

/** The claims that a policy looks at; `all` where a condition goes through them without naming them. */
type ClaimNames = ReadonlySet<string> | 'all';

/** JSON of all claims of one record, in characters; and of how many it may be. */
const CLAIMS_CHARACTERS_MAX = 8192;
const CLAIMS_MAX = 128;
const SUBJECT_DIGEST_BYTES = 16;
const namesOf = new WeakMap<Policy, ClaimNames>();

/** What a record keeps of an end user's token: what a replay of the decision needs, and a digest of the subject. */
export function callerOf(identity: string, token: TokenFacts | null, policy: Policy | null): Caller {
  const caller: Caller = { identity, tokenIssuer: '', subjectDigest: '', claims: {}, claimsLeftOut: [] };
  if (token === null) return caller;
  caller.tokenIssuer = token.issuer;
  const { iss, sub } = token.claims;
  if (typeof sub === 'string') caller.subjectDigest = digestOf(typeof iss === 'string' ? iss : '', sub);
  if (policy === null) return caller;
  const wanted = claimNames(policy);
  let left = CLAIMS_CHARACTERS_MAX;
  for (const [name, value] of Object.entries(token.claims)) {
    if (wanted !== 'all' && !wanted.has(name)) continue;
    const json = JSON.stringify(value) ?? 'null';
    const characters = name.length + json.length;
    if (characters <= left && Object.keys(caller.claims).length < CLAIMS_MAX) {
      caller.claims[name] = json;
      left -= characters;
    } else if (caller.claimsLeftOut.length < CLAIMS_MAX) {
      caller.claimsLeftOut.push(name.slice(0, 64));
    }
  }
  return caller;
}

function digestOf(issuer: string, subject: string): string {
  const digest = hash('sha256', `${issuer}\n${subject}`, 'buffer');
  return digest.toString('hex', 0, SUBJECT_DIGEST_BYTES);
}

/** Of rules, those in shadow included, and of limits. */
export function claimNames(policy: Policy): ClaimNames {
  const known = namesOf.get(policy);
  if (known !== undefined) return known;
  const names = new Set<string>();
  let all = false;
  for (const each of [policy, policy.shadow]) {
    for (const { token, condition } of each?.rules ?? []) {
      for (const { name } of token?.claims ?? []) names.add(name);
      for (const name of condition?.reads.claims ?? []) names.add(name);
      all ||= condition?.reads.allClaims ?? false;
    }
    for (const { per } of each?.limits ?? [])
      for (const key of per) if (key.kind === 'claim') names.add(key.name);
  }
  const found = all ? 'all' : names;
  namesOf.set(policy, found);
  return found;
}
