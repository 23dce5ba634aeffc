import { readCallFailure } from '../call-failure.ts';
import { isServiceError } from '../mesh-client.ts';
import { tourAudit } from './audit-step.ts';
import { tourEmbeddings } from './embeddings-step.ts';
import { tourGeneration } from './generation-step.ts';
import { tourOrchestration } from './orchestration-step.ts';
import { tourQuota } from './quota-step.ts';
import { tourRedaction } from './redaction-step.ts';
import { tourRefusal } from './refusal-step.ts';
import { tourShadow } from './shadow-step.ts';
import type { TourContext } from './tour-context.ts';
import { tourTraceTree } from './trace-step.ts';

/** Shows one thing. Throws when it does not come out as it should. */
type TourStep = { readonly title: string; readonly show: (context: TourContext) => Promise<void> };

const STEPS: readonly TourStep[] = [
  { title: 'A language model answers, token by token', show: tourGeneration },
  { title: 'Sentences compared by meaning', show: tourEmbeddings },
  { title: 'A graph of calls: find passages, then answer from them', show: tourOrchestration },
  { title: 'A call that policy refuses, and why', show: tourRefusal },
  { title: 'A quota of tokens ends a stream in its middle', show: tourQuota },
  { title: 'A card number is taken out of a streamed answer', show: tourRedaction },
  { title: 'What a rule in shadow would have refused', show: tourShadow },
  { title: 'The audit records, verified, and with one byte changed', show: tourAudit },
  { title: 'The trace of the graph, through every process', show: tourTraceTree },
];

/** Shows what the mesh does, one real call after another. Gives the titles of the steps that failed. */
export async function runTour(context: TourContext): Promise<readonly string[]> {
  const { screen } = context;
  const failed: string[] = [];
  for (const [index, step] of STEPS.entries()) {
    context.signal.throwIfAborted();
    screen.line();
    screen.line(`${screen.colors.cyan(`${index + 1}/${STEPS.length}`)} ${screen.colors.bold(step.title)}`);
    try {
      await step.show(context);
    } catch (error) {
      context.signal.throwIfAborted();
      failed.push(step.title);
      screen.line(`  ${screen.colors.red('failed:')} ${describe(error)}`);
    }
  }
  return failed;
}

function describe(error: unknown): string {
  if (!isServiceError(error)) return error instanceof Error ? error.message : String(error);
  const { code, reason, message } = readCallFailure(error);
  return `${code}${reason === '' ? '' : ` ${reason}`}: ${message}`;
}
