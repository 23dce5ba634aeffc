import { writeFile } from 'node:fs/promises';
import { drawTrace, queryJaeger, showTrace } from '@gatehouse/local-mesh';
import { ATTRIBUTES } from '@gatehouse/telemetry/names';
import type { CommandContext } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';

export type TraceOptions = {
  /** Jaeger's query service. */
  readonly jaeger: string;
  /** A file for a drawing of it. */
  readonly svg?: string;
  readonly json?: boolean;
};

const TRACE_ID = /^[0-9a-f]{32}$/;

/** `gatehouse trace`: a trace that Jaeger has, as a tree with what policy and breakers did; what was refused, and how to ask why. */
export async function traceCommand(
  { out }: CommandContext,
  traceId: string,
  { jaeger, svg, json }: TraceOptions,
): Promise<number> {
  if (!TRACE_ID.test(traceId))
    throw new CommandError(`a trace's id is 32 digits of 0 to 9 and a to f, and ${traceId} is not`);
  const spans = await queryJaeger(jaeger, traceId).catch((error: unknown) => {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CommandError(`${jaeger} cannot be asked: ${why}`);
  });
  if (spans === null) throw new CommandError(`${jaeger} has no trace ${traceId}`, EXIT.no);
  if (svg !== undefined) await writeFile(svg, drawTrace(spans));
  if (json) {
    out.line(JSON.stringify(spans));
    return EXIT.ok;
  }
  showTrace(out, spans);
  const refused = spans.filter(({ attributes }) => attributes[ATTRIBUTES.decision] === 'deny');
  for (const { service, attributes } of refused) {
    const text = (name: string): string => String(attributes[name] ?? '');
    const rule = text(ATTRIBUTES.ruleId);
    out.line();
    out.line(
      `  ${service} refused ${text(ATTRIBUTES.callerIdentity)}: ${text(ATTRIBUTES.refusalReason)}, ${rule === '' ? 'no rule allows it' : `rule ${rule}`}, policy ${text(ATTRIBUTES.policyVersion)}`,
    );
    out.line(`  gatehouse policy explain --decision ${text(ATTRIBUTES.decisionId)}`);
  }
  return EXIT.ok;
}
