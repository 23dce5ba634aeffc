import type { ExplainRequest, ExplainResponse } from '@gatehouse/contracts/admin';
import type { DecisionLog } from '../path/decision-log.ts';
import {
  type ExplainRequest as Asked,
  type Explanation,
  explainPolicy,
  type Policy,
} from '../policy/index.ts';
import { toRecord, toShadow } from './decision-record.ts';

export type ExplainParts = {
  readonly policy: Policy;
  /** Null: there are none to be asked again. */
  readonly decisions: DecisionLog | null;
  readonly clock: () => number;
};

/** Answers Explain: what policy would decide on a call that is described, or on one of the decision list. */
export function answerExplain(
  request: ExplainRequest,
  { policy, decisions, clock }: ExplainParts,
): ExplainResponse | { readonly problem: string } {
  if (request.decisionId === '') {
    const asked = toAsked(request, clock());
    return 'problem' in asked ? asked : toResponse(policy, asked, explainPolicy(policy, asked));
  }
  const decided = decisions?.find(request.decisionId);
  if (decided === undefined)
    return { problem: `The decision ${request.decisionId} is none of those that this sidecar still has.` };
  const { identity, method, model, asked: facts, timeMs } = decided;
  const asked: Asked = { identity, method, model: model === '' ? null : model, ...facts, nowMs: timeMs };
  return { ...toResponse(policy, asked, explainPolicy(policy, asked)), decided: toRecord(decided) };
}

function toAsked(request: ExplainRequest, nowMs: number): Asked | { readonly problem: string } {
  const {
    identity,
    method,
    model,
    tokenIssuer,
    tokenClaims,
    tokenClaimsJson,
    maxOutputTokens,
    priority,
    time,
  } = request;
  const claims = tokenClaimsJson === '' ? tokenClaims : parseObject(tokenClaimsJson);
  if (claims === null) return { problem: 'token_claims_json: expected a JSON object.' };
  return {
    identity,
    method,
    model: model === '' ? null : model,
    outputTokensLimit: maxOutputTokens === undefined ? null : Number(maxOutputTokens),
    priority: priority ?? null,
    token: tokenIssuer === '' ? null : { issuer: tokenIssuer, claims },
    nowMs: time?.getTime() ?? nowMs,
  };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function toResponse(policy: Policy, asked: Asked, explained: Explanation): ExplainResponse {
  const { decision, shadow, rules, limits, protections } = explained;
  return {
    allowed: decision.allowed,
    ruleId: decision.ruleId ?? '',
    reason: decision.allowed ? '' : decision.reason,
    policyVersion: policy.version,
    rules: rules.map((rule) => ({ ...rule, labels: { ...rule.labels } })),
    shadow: shadow === null ? undefined : toShadow(shadow),
    limits: [...limits],
    protections: [...protections],
    identity: asked.identity,
    method: asked.method,
    model: asked.model ?? '',
    decided: undefined,
  };
}
