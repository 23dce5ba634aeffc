import { AdminServiceService } from '@gatehouse/contracts/admin';
import { connectToSocket } from '../mesh-client.ts';
import type { TourContext } from './tour-context.ts';

/** Asks the sidecar why it decided as it did: each rule that it considered, and the first thing that did not match. */
export async function explainRefusal(
  { mesh, screen, signal }: TourContext,
  decisionId: string,
): Promise<void> {
  const { colors } = screen;
  const client = connectToSocket(mesh.services.inference.admin);
  try {
    const explained = await client.unary(
      AdminServiceService.explain,
      {
        identity: '',
        method: '',
        model: '',
        tokenIssuer: '',
        tokenClaims: {},
        tokenClaimsJson: '',
        decisionId,
      },
      { signal },
    );
    screen.line(colors.dim(`  asked why (gatehouse policy explain --decision ${decisionId}):`));
    for (const { ruleId, matched, mismatch } of explained.rules)
      screen.line(
        `    ${matched ? colors.red('✗') : colors.dim('·')} ${ruleId}${mismatch === '' ? '' : colors.dim(`: ${mismatch}`)}`,
      );
    if (explained.allowed) throw new Error('the decision explains itself as allowed');
  } finally {
    client.close();
  }
}
