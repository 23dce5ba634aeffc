import { readCallFailure } from '../call-failure.ts';
import { connectToMesh, isServiceError } from '../mesh-client.ts';
import { spiffeIdOf } from '../mesh-layout.ts';
import { showFailure } from '../show-failure.ts';
import { createTextWriter } from '../text-writer.ts';
import { generateText } from './generate-text.ts';
import type { TourContext } from './tour-context.ts';

const PROMPT = 'The history of trade began';
const TOKENS_ASKED = 200;

/** A caller with a small account of tokens asks for more than it has. */
export async function tourQuota({ mesh, screen, trace, signal }: TourContext): Promise<void> {
  const { colors } = screen;
  const client = await connectToMesh(mesh, 'inference', 'trial');
  try {
    screen.line(
      colors.dim(`  ${spiffeIdOf('trial')} asks for ${TOKENS_ASKED} tokens; its limit is less a minute`),
    );
    const write = createTextWriter(screen, '  ');
    let outputTokens = 0;
    const failure = await trace.inSpan('tour: quota', async (traceparent) => {
      try {
        const events = generateText(
          client,
          { prompt: PROMPT, maxTokens: TOKENS_ASKED },
          { traceparent, signal },
        );
        for await (const { event } of events) {
          if (event?.$case !== 'delta') continue;
          write(event.value.text);
          outputTokens = event.value.outputTokens;
        }
        return undefined;
      } catch (error) {
        if (isServiceError(error)) return readCallFailure(error);
        throw error;
      }
    });
    screen.line();
    screen.line(colors.dim(`  ended after ${outputTokens} tokens:`));
    if (failure === undefined) throw new Error('the stream was not ended');
    showFailure(screen, failure);
    if (failure.code !== 'RESOURCE_EXHAUSTED' || outputTokens === 0)
      throw new Error(`expected RESOURCE_EXHAUSTED in the middle of the stream, got ${failure.code}`);
  } finally {
    client.close();
  }
}
