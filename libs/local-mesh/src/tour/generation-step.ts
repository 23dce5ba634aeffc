import { ChatRole, InferenceServiceService, Priority } from '@gatehouse/contracts/inference';
import { connectToMesh } from '../mesh-client.ts';
import { LANGUAGE_MODEL } from '../mesh-layout.ts';
import { formatMs } from '../screen.ts';
import { createTextWriter } from '../text-writer.ts';
import type { TourContext } from './tour-context.ts';

const QUESTION = 'Give me two tips for writing a good email.';
const TOKENS_MAX = 100;

export async function tourGeneration({ mesh, screen, trace, signal }: TourContext): Promise<void> {
  const { colors } = screen;
  const client = await connectToMesh(mesh, 'inference', 'developer');
  try {
    screen.line(colors.dim(`  ${LANGUAGE_MODEL} is asked: ${QUESTION}`));
    const write = createTextWriter(screen, '  ');
    await trace.inSpan('tour: generation', async (traceparent) => {
      const events = client.serverStream(
        InferenceServiceService.streamGenerate,
        {
          model: LANGUAGE_MODEL,
          input: {
            $case: 'chat',
            value: { messages: [{ role: ChatRole.CHAT_ROLE_USER, content: QUESTION }] },
          },
          maxTokens: TOKENS_MAX,
          temperature: 0,
          seed: 7,
          stop: [],
          jsonSchema: '',
          priority: Priority.PRIORITY_UNSPECIFIED,
        },
        { traceparent, signal },
      );
      let completed = false;
      for await (const { event } of events) {
        if (event?.$case === 'delta') write(event.value.text);
        if (event?.$case !== 'completed') continue;
        completed = true;
        const { usage, timings, model } = event.value;
        const first = formatMs(durationMs(timings?.timeToFirstToken));
        const total = formatMs(durationMs(timings?.total));
        screen.line();
        screen.line(
          colors.dim(
            `  ${usage?.outputTokens ?? 0} tokens from ${model} in ${total}, the first after ${first}`,
          ),
        );
      }
      if (!completed) throw new Error('the stream ended without a completion');
    });
  } finally {
    client.close();
  }
}

function durationMs(duration: { seconds: bigint; nanos: number } | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}
