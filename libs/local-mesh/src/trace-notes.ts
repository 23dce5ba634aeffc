import { ATTRIBUTES, EVENTS } from '@gatehouse/telemetry/names';
import type { ReceivedSpan } from './otlp-receiver.ts';

/** What whoever reads a trace looks for in a span: which node it was, which rule, why it was refused or tried again. */
export function traceNotes({ attributes, events }: ReceivedSpan): readonly string[] {
  const node = attributes[ATTRIBUTES.nodePath];
  const rule = attributes[ATTRIBUTES.ruleId];
  const refusal = attributes[ATTRIBUTES.refusalReason];
  const retry = Number(attributes[ATTRIBUTES.retryNumber] ?? 0);
  return [
    ...(node === undefined ? [] : [String(node)]),
    ...(rule === undefined || rule === '' ? [] : [`rule ${String(rule)}`]),
    ...(refusal === undefined ? [] : [`refused: ${String(refusal)}`]),
    ...(retry === 0 ? [] : [`try ${retry + 1}`]),
    ...events
      .filter(({ name }) => name === EVENTS.breakerStateChanged)
      .map(({ attributes: change }) => `breaker ${String(change['from'])} → ${String(change['to'])}`),
  ];
}
