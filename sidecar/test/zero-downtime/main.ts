/**
 * What a mesh goes through in a cluster, under constant load:
 *
 *   node sidecar/test/zero-downtime/main.ts [--rate 100] [--hold 5000] [--only WORD] [--json]
 *
 * Ends with 1 when a call was lost that should not have been.
 */
import { parseArgs } from 'node:util';
import { play, type Report } from './play.ts';
import { SCENARIOS } from './scenarios.ts';

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '100' },
    hold: { type: 'string', default: '5000' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const rate = Number(values.rate);
const holdMs = Number(values.hold);
if (!(rate > 0 && holdMs >= 0)) {
  process.stderr.write('zero-downtime: expected --rate above 0 and --hold of at least 0\n');
  process.exit(2);
}
const scenarios = SCENARIOS.filter(({ name }) => values.only === undefined || name.includes(values.only));
const rates = { unary: rate, repeatable: rate, serverStream: rate / 5 };

function show(report: Report): void {
  if (values.json) return;
  const { name, planned, calls, lost, excused, p50Ms, p99Ms, tookMs, note } = report;
  const verdict = lost.length === 0 ? '✓' : '✗';
  const failures = planned
    ? `${lost.length} lost`
    : `${lost.length} lost, ${excused.length} in flight on it failed`;
  process.stdout.write(
    `${verdict} ${name}: ${calls} calls in ${(tookMs / 1000).toFixed(1)} s, ${failures}, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms${note === '' ? '' : ` (${note})`}\n`,
  );
  for (const each of lost.slice(0, 5)) process.stdout.write(`    ${each}\n`);
}

const reports = await play(scenarios, { rates, holdMs, onReport: show });
if (values.json) process.stdout.write(`${JSON.stringify(reports, null, 2)}\n`);
process.exitCode = reports.some(({ lost }) => lost.length > 0) ? 1 : 0;
