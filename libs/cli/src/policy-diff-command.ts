import type { PolicyDifference } from '@gatehouse/sidecar';
import type { CommandContext } from './command-context.ts';
import { EXIT } from './command-error.ts';
import { loadPolicy } from './load-policy.ts';

/**
 * `gatehouse policy diff`: who gains and who loses what when one document takes the place of another. Exit code 1 where
 * they differ.
 */
export async function policyDiffCommand(
  context: CommandContext,
  files: { readonly before: string; readonly after: string },
  options: { readonly json?: boolean },
): Promise<number> {
  const { diffPolicies } = await import('@gatehouse/sidecar');
  const [before, after] = await Promise.all([loadPolicy(files.before), loadPolicy(files.after)]);
  const differences = diffPolicies(before, after);
  if (options.json)
    context.out.line(JSON.stringify({ before: before.version, after: after.version, differences }));
  else showDifferences(context, differences, `${before.version} → ${after.version}`);
  return differences.length === 0 ? EXIT.ok : EXIT.no;
}

function showDifferences(
  { out }: CommandContext,
  differences: readonly PolicyDifference[],
  versions: string,
): void {
  const { colors } = out;
  const paint = { gains: colors.green, loses: colors.red, changes: colors.yellow };
  let who = '';
  for (const difference of differences) {
    if (difference.who !== who) out.line(colors.bold(difference.who));
    ({ who } = difference);
    const verb = difference.effect === 'changes' ? '' : `${paint[difference.effect](difference.effect)} `;
    const methods = difference.methods.map(shortName).join(', ');
    out.line(`  ${verb}${methods === '' ? '' : `${methods}: `}${difference.what}`);
  }
  out.line(colors.dim(differences.length === 0 ? `${versions}: nobody gains or loses anything` : versions));
}

/** `Service/Method` of `pkg.Service/Method`. */
function shortName(method: string): string {
  return method.slice(method.lastIndexOf('.', method.indexOf('/')) + 1);
}
