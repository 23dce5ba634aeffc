import { OrchestrationServiceService, type StreamExecuteResponse } from '@gatehouse/contracts/orchestration';
import { connectToMesh } from '../mesh-client.ts';
import { formatMs, type Screen } from '../screen.ts';
import { createTextWriter } from '../text-writer.ts';
import type { TourContext } from './tour-context.ts';

export const ORCHESTRATION_SPAN = 'tour: orchestration';

const GRAPH = 'answer-from-passages';
const QUESTION = 'How long do refunds take?';
const PASSAGES = [
  'Refunds are paid to the card that was charged within five working days.',
  'Cards can be frozen in the app at any time.',
  'Transfers above ten thousand euros need a second approval.',
  'Support answers from eight to six on working days.',
];

export async function tourOrchestration({ mesh, screen, trace, signal }: TourContext): Promise<void> {
  const { colors } = screen;
  const client = await connectToMesh(mesh, 'orchestration', 'developer');
  try {
    screen.line(colors.dim(`  graph ${GRAPH}, ${PASSAGES.length} passages, asked: ${QUESTION}`));
    await trace.inSpan(ORCHESTRATION_SPAN, async (traceparent) => {
      const events = client.serverStream(
        OrchestrationServiceService.streamExecute,
        { source: { $case: 'graph', value: GRAPH }, inputs: { question: QUESTION, passages: PASSAGES } },
        { traceparent, signal },
      );
      const show = eventWriter(screen);
      let completed = false;
      for await (const { event } of events) {
        show(event);
        completed ||= event?.$case === 'completed';
      }
      if (!completed) throw new Error('the stream ended without a result');
    });
  } finally {
    client.close();
  }
}

/** Shows events as they come; text of a node runs on in its own line. */
function eventWriter(screen: Screen): (event: StreamExecuteResponse['event']) => void {
  const { colors } = screen;
  let open = '';
  let write = createTextWriter(screen, '    ');
  const endLine = (): void => {
    if (open !== '') screen.line();
    open = '';
  };
  return (event) => {
    switch (event?.$case) {
      case 'nodeStarted':
        endLine();
        screen.line(`  ${colors.cyan('▸')} ${event.value.path} ${colors.dim(`(${event.value.kind})`)}`);
        return;
      case 'nodeDelta':
        if (open !== event.value.path) {
          endLine();
          write = createTextWriter(screen, '    ');
          open = event.value.path;
        }
        write(event.value.text);
        return;
      case 'nodeEnded': {
        endLine();
        const { path, took, status, attempts, fellBack } = event.value;
        const ok = (status?.code ?? 0) === 0;
        const ms = took === undefined ? 0 : Number(took.seconds) * 1000 + took.nanos / 1e6;
        const notes = [
          formatMs(ms),
          ...(attempts > 1 ? [`${attempts} tries`] : []),
          ...(fellBack ? ['fallback'] : []),
        ];
        screen.line(`  ${ok ? colors.green('✓') : colors.red('✗')} ${path} ${colors.dim(notes.join(', '))}`);
        return;
      }
      case 'completed': {
        endLine();
        const { inputTokens = 0, outputTokens = 0 } = event.value.usage ?? {};
        for (const { index, passage, score } of citationsOf(event.value.outputs)) {
          screen.line(`  cites [${index}] ${passage} ${colors.dim(`(${score.toFixed(2)})`)}`);
        }
        screen.line(colors.dim(`  ${inputTokens} tokens in, ${outputTokens} out`));
        return;
      }
      case undefined:
        return;
    }
  };
}

type Citation = { readonly index: number; readonly passage: string; readonly score: number };

function citationsOf(outputs: Readonly<Record<string, unknown>>): readonly Citation[] {
  const { citations } = outputs;
  return Array.isArray(citations) ? (citations as readonly Citation[]) : [];
}
