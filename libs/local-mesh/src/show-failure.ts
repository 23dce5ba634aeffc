import type { CallFailure } from './call-failure.ts';
import type { Screen } from './screen.ts';

/** Shows why a call failed: status, reason, sentence, and every detail that came with it. */
export function showFailure(screen: Screen, failure: CallFailure): void {
  const { colors } = screen;
  const reason = failure.reason === '' ? '' : ` ${colors.yellow(failure.reason)}`;
  screen.line(`  ${colors.red(failure.code)}${reason}`);
  screen.line(`  ${failure.message}`);
  const facts = Object.entries(failure.metadata);
  const columns = Math.max(0, ...facts.map(([name]) => name.length));
  for (const [name, value] of facts) {
    screen.line(`    ${colors.dim(name.padEnd(columns))}  ${value === '' ? 'none' : value}`);
  }
  for (const { type, value } of failure.details) {
    screen.line(`    ${colors.dim(type)}  ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  }
}
