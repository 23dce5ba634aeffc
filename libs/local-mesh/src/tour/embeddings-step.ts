import { EmbeddingsServiceService } from '@gatehouse/contracts/embeddings';
import { connectToMesh } from '../mesh-client.ts';
import { EMBEDDING_MODEL } from '../mesh-layout.ts';
import type { TourContext } from './tour-context.ts';

const QUESTION = 'How do I get my money back?';
const SENTENCES = [
  'Refunds reach your account within five working days.',
  'A customer asks to be paid back for a broken kettle.',
  'Our cards work in every country but two.',
  'The night train to Vienna leaves at nine.',
];
const BAR_CELLS = 30;

export async function tourEmbeddings({ mesh, screen, trace, signal }: TourContext): Promise<void> {
  const { colors } = screen;
  const client = await connectToMesh(mesh, 'embeddings', 'developer');
  try {
    const response = await trace.inSpan('tour: embeddings', (traceparent) =>
      client.unary(
        EmbeddingsServiceService.embed,
        { model: EMBEDDING_MODEL, inputs: [QUESTION, ...SENTENCES] },
        { traceparent, signal },
      ),
    );
    const [question, ...sentences] = response.embeddings.map(({ vector }) =>
      vector?.$case === 'float32' ? vector.value.values : [],
    );
    if (question === undefined || sentences.length !== SENTENCES.length) {
      throw new Error(`${response.embeddings.length} vectors came for ${SENTENCES.length + 1} sentences`);
    }
    screen.line(colors.dim(`  ${response.model}: how near is each to “${QUESTION}”`));
    const rows = SENTENCES.map((text, index) => ({ text, score: cosine(question, sentences[index] ?? []) }));
    const columns = Math.max(...SENTENCES.map(({ length }) => length));
    for (const { text, score } of rows.toSorted((one, other) => other.score - one.score)) {
      const bar = '█'.repeat(Math.max(0, Math.round(score * BAR_CELLS)));
      screen.line(`  ${text.padEnd(columns)}  ${score.toFixed(2).padStart(5)}  ${colors.cyan(bar)}`);
    }
  } finally {
    client.close();
  }
}

function cosine(one: readonly number[], other: readonly number[]): number {
  let dot = 0;
  let oneSquared = 0;
  let otherSquared = 0;
  for (const [index, value] of one.entries()) {
    const against = other[index] ?? 0;
    dot += value * against;
    oneSquared += value * value;
    otherSquared += against * against;
  }
  return dot / Math.sqrt(oneSquared * otherSquared);
}
