import { SERVICES } from '../mesh-layout.ts';
import { showTrace } from '../show-trace.ts';
import { ORCHESTRATION_SPAN } from './orchestration-step.ts';
import type { TourContext } from './tour-context.ts';

/** A graph that finds passages and answers from them passes through every service and every sidecar. */
const PROCESSES = SERVICES.flatMap((name) => [name, `${name}-sidecar`]);

export async function tourTraceTree({ mesh, screen, trace }: TourContext): Promise<void> {
  const spans = await trace.collect(ORCHESTRATION_SPAN, (received) => {
    const services = new Set(received.map(({ service }) => service));
    const ids = new Set(received.map(({ spanId }) => spanId));
    const connected = received.every(({ parentSpanId }) => parentSpanId === '' || ids.has(parentSpanId));
    return connected && PROCESSES.every((process) => services.has(process));
  });
  if (spans === undefined) {
    screen.line(`  spans go to ${mesh.otlpEndpoint}; look there for these traces:`);
    for (const [name, traceId] of trace.traceIds) screen.line(`    ${traceId}  ${screen.colors.dim(name)}`);
    return;
  }
  showTrace(screen, spans);
  const services = new Set(spans.map(({ service }) => service));
  const silent = PROCESSES.filter((process) => !services.has(process));
  if (silent.length > 0) throw new Error(`no span came from ${silent.join(', ')}`);
}
