import { connectToMesh } from '../mesh-client.ts';
import { createTextWriter } from '../text-writer.ts';
import { generateText } from './generate-text.ts';
import type { TourContext } from './tour-context.ts';

/** A number that card networks give for tests. A small model goes on with a pattern; here it repeats the number. */
const CARD = '4242 4242 4242 4242';
const PROMPT = `Card on file: ${CARD}\nCard on file: ${CARD}\nCard on file: ${CARD}\nCard on file:`;
const TOKENS_MAX = 48;

/** What the model writes of a card number does not reach the caller, although it comes in pieces of a digit or two. */
export async function tourRedaction({ mesh, screen, trace, signal }: TourContext): Promise<void> {
  const { colors } = screen;
  const client = await connectToMesh(mesh, 'inference', 'developer');
  try {
    screen.line(colors.dim(`  the model is asked to go on with: … Card on file: ${CARD}`));
    screen.write('  Card on file:');
    const write = createTextWriter(screen, '  ');
    let text = '';
    await trace.inSpan('tour: redaction', async (traceparent) => {
      const events = generateText(client, { prompt: PROMPT, maxTokens: TOKENS_MAX }, { traceparent, signal });
      for await (const { event } of events) {
        if (event?.$case !== 'delta') continue;
        write(event.value.text);
        text += event.value.text;
      }
    });
    screen.line();
    if (/\d{4}\D?\d{4}\D?\d{4}/.test(text)) throw new Error('a card number came through');
    if (!text.includes('[CARD')) throw new Error('nothing was redacted');
    screen.line(colors.dim('  The sidecar took the number out of the stream, token by token.'));
  } finally {
    client.close();
  }
}
