import type { ExplainResponse, RuleExplanation } from '@gatehouse/contracts/admin';
import type { Screen } from '@gatehouse/local-mesh';

/** The verdict, each rule with the first thing that did not match, and what else concerns the call. */
export function showExplanation(out: Screen, explained: ExplainResponse): void {
  const { colors } = out;
  const { identity, method, model, allowed, ruleId, reason, policyVersion, decided, shadow } = explained;
  out.line(`${identity} → ${method}${model === '' ? '' : ` with model ${model}`}`);
  if (decided !== undefined) {
    const then = decided.allowed ? 'allowed' : `refused ${decided.reason}`;
    out.line(colors.dim(`${decided.time?.toISOString() ?? ''}: ${then} (policy ${decided.policyVersion})`));
  }
  const rule = ruleId === '' ? 'by no rule' : `by rule ${colors.bold(ruleId)}`;
  const verdict = allowed ? colors.green('allowed') : `${colors.red('refused')} ${reason}`;
  out.line(`${verdict} ${rule} ${colors.dim(`(policy ${policyVersion})`)}`);
  if (shadow !== undefined) {
    const would = shadow.wouldAllow ? 'be allowed' : `be refused ${shadow.reason}`;
    const by = shadow.ruleId === '' ? 'by no rule' : `by rule ${shadow.ruleId}`;
    out.line(colors.yellow(`in shadow it would ${would} ${by} (policy ${shadow.policyVersion})`));
  }
  for (const each of explained.rules) out.line(`  ${ruleLine(out, each)}`);
  if (explained.limits.length > 0) out.line(colors.dim(`counted by ${explained.limits.join(', ')}`));
  if (explained.protections.length > 0)
    out.line(colors.dim(`protected by ${explained.protections.join(', ')}`));
}

function ruleLine({ colors }: Screen, rule: RuleExplanation): string {
  const mark = rule.matched ? colors.green('✓') : colors.dim('·');
  const facts = [
    rule.effect,
    rule.shadow ? 'in shadow' : '',
    rule.owner === '' ? '' : `owner ${rule.owner}`,
    ...Object.entries(rule.labels).map(([name, value]) => `${name}=${value}`),
  ].filter((fact) => fact !== '');
  const mismatch = rule.mismatch === '' ? '' : `: ${rule.mismatch}`;
  return `${mark} ${rule.ruleId} ${colors.dim(`(${facts.join(', ')})${mismatch}`)}`;
}
