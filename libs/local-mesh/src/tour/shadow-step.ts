import { AdminServiceService } from '@gatehouse/contracts/admin';
import { connectToSocket } from '../mesh-client.ts';
import { spiffeIdOf } from '../mesh-layout.ts';
import type { TourContext } from './tour-context.ts';

const DECISIONS_MAX = 1000;

/** A rule in shadow has decided on the calls before and changed none of them. */
export async function tourShadow({ mesh, screen, signal }: TourContext): Promise<void> {
  const { colors } = screen;
  const client = connectToSocket(mesh.services.inference.admin);
  try {
    const { decisions } = await client.unary(
      AdminServiceService.listDecisions,
      { limit: DECISIONS_MAX, refusedOnly: false },
      { signal },
    );
    const own = decisions.filter(({ identity }) => identity === spiffeIdOf('developer'));
    const differing = own.filter(({ shadow }) => shadow !== undefined);
    const [newest] = differing;
    if (newest?.shadow === undefined) throw new Error('the rule in shadow differs from no decision');
    screen.line(
      `  ${own.length} calls of developer were allowed; rule ${colors.bold(newest.shadow.ruleId)}, in shadow,`,
    );
    screen.line(`  would have refused ${colors.yellow(String(differing.length))} of them.`);
    screen.line(
      colors.dim(`  latest: decision ${newest.decisionId}, ${newest.method}, trace ${newest.traceId}`),
    );
  } finally {
    client.close();
  }
}
