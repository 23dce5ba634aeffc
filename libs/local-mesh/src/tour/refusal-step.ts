import { ChatRole, InferenceServiceService, Priority } from '@gatehouse/contracts/inference';
import { readCallFailure } from '../call-failure.ts';
import { connectToMesh, isServiceError } from '../mesh-client.ts';
import { LANGUAGE_MODEL, spiffeIdOf } from '../mesh-layout.ts';
import { showFailure } from '../show-failure.ts';
import { explainRefusal } from './explain-refusal.ts';
import type { TourContext } from './tour-context.ts';

export async function tourRefusal(context: TourContext): Promise<void> {
  const { mesh, screen, trace, signal } = context;
  const { colors } = screen;
  const client = await connectToMesh(mesh, 'inference', 'intern');
  try {
    screen.line(colors.dim(`  ${spiffeIdOf('intern')} calls InferenceService/Generate`));
    const failure = await trace.inSpan('tour: refusal', (traceparent) =>
      client
        .unary(
          InferenceServiceService.generate,
          {
            model: LANGUAGE_MODEL,
            input: {
              $case: 'chat',
              value: { messages: [{ role: ChatRole.CHAT_ROLE_USER, content: 'Hello' }] },
            },
            stop: [],
            jsonSchema: '',
            priority: Priority.PRIORITY_UNSPECIFIED,
          },
          { traceparent, signal },
        )
        .then(
          () => undefined,
          (error: unknown) => {
            if (isServiceError(error)) return readCallFailure(error);
            throw error;
          },
        ),
    );
    if (failure === undefined) throw new Error('the call was allowed');
    showFailure(screen, failure);
    if (failure.code !== 'PERMISSION_DENIED')
      throw new Error(`expected PERMISSION_DENIED, got ${failure.code}`);
    await explainRefusal(context, failure.metadata['decision_id'] ?? '');
  } finally {
    client.close();
  }
}
