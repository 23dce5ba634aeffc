export { compilePolicy } from './compile-policy.ts';
export { explainPolicy } from './explain-policy.ts';
export type { CompiledLimit } from './limits.ts';
export type { Decision, IdentityRules, Policy, TokenFacts } from './policy.ts';
export { policyJsonSchema } from './policy-schema.ts';
export type { CompiledProtection } from './protections.ts';
export { type ExpectationResult, runExpectations } from './run-expectations.ts';
