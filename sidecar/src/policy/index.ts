export { compilePolicy } from './compile-policy.ts';
export {
  type ExplainRequest,
  type Explanation,
  explainPolicy,
  type RuleExplanation,
} from './explain-policy.ts';
export type { Decision, DecisionRequest, DenialReason, IdentityRules, Policy, TokenFacts } from './policy.ts';
export { policyJsonSchema } from './policy-schema.ts';
export { type ExpectationResult, runExpectations } from './run-expectations.ts';
