import { dirname, resolve } from 'node:path';
import { type DocumentProblem, formatProblem } from '@gatehouse/documents';
import type { ReplayReport, StoredEntry } from '@gatehouse/sidecar';
import { findAuditFolder, readingAudit } from './audit-folder.ts';
import type { CommandContext } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { type GateCheck, policyChecks, sloChecks, UNMEASURED } from './gate-checks.ts';
import { type Measures, type PolicyGate, readGate, readMeasures, type SloGate } from './gate-document.ts';
import { loadPolicy } from './load-policy.ts';
import { measureSlo, PrometheusUnavailable } from './measure-slo.ts';
import { showReplay } from './policy-replay-command.ts';
import { readInputFile } from './read-input-file.ts';
import { showTable } from './table.ts';

export type GateOptions = {
  /** Asked for what both versions did. */
  readonly prometheus?: string;
  /** Files with what was measured elsewhere, in its place. */
  readonly baseline?: string;
  readonly canary?: string;
  readonly json?: boolean;
};

type Judged = {
  readonly checks: readonly GateCheck[];
  /** Why something could not be looked at: the rollout stops. */
  readonly missing: readonly string[];
  readonly measured: { readonly baseline: Measures; readonly canary: Measures } | null;
  readonly replay: ReplayReport | null;
};

/**
 * `gatehouse gate`: whether a rollout may go on. Exit code 0: it may; 1: it stops, also where data is missing; 2: the gate's
 * own document is wrong.
 */
export async function gateCommand(
  context: CommandContext,
  file: string,
  options: GateOptions,
): Promise<number> {
  const { policy, slo } = valueOf(readGate(await readInputFile(file), file));
  const ofPolicy = policy === undefined ? null : await judgePolicy(context, policy, dirname(file));
  const ofSlo = slo === undefined ? null : await judgeSlo(context, slo, options);
  const judged = [ofPolicy, ofSlo].filter((each) => each !== null);
  const checks = judged.flatMap((each) => each.checks);
  const missing = judged.flatMap((each) => each.missing);
  const passes = missing.length === 0 && checks.length > 0 && checks.every((check) => check.passes);
  const { out } = context;
  if (options.json) {
    const { baseline, canary } = ofSlo?.measured ?? { baseline: null, canary: null };
    out.line(JSON.stringify({ passes, checks, missing, baseline, canary, replay: ofPolicy?.replay ?? null }));
    return passes ? EXIT.ok : EXIT.no;
  }
  if (ofPolicy?.replay && ofPolicy.replay.differences.length > 0) showReplay(context, ofPolicy.replay);
  show(context, checks, missing);
  out.line(passes ? out.colors.green('go on') : out.colors.red('stop'));
  return passes ? EXIT.ok : EXIT.no;
}

/** A policy that does not load, and records that can't be read, stop the rollout as a bad answer does. */
async function judgePolicy(context: CommandContext, gate: PolicyGate, folder: string): Promise<Judged> {
  const { readEntries, replayRecords } = await import('@gatehouse/sidecar');
  const nothing = { checks: [], measured: null, replay: null };
  try {
    const policy = await loadPolicy(resolve(folder, gate.document));
    const folders: string[] = [];
    for (const named of gate.audit)
      folders.push((await findAuditFolder(context, resolve(folder, named))).folder);
    const replay = await readingAudit(() => replayRecords(policy, everyEntry(folders, readEntries)));
    return { checks: policyChecks(gate, replay), missing: [], measured: null, replay };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return { ...nothing, missing: [error.message] };
  }
}

async function* everyEntry(
  folders: readonly string[],
  read: (folder: string) => AsyncIterable<StoredEntry>,
): AsyncIterable<StoredEntry> {
  for (const folder of folders) yield* read(folder);
}

async function judgeSlo(context: CommandContext, gate: SloGate, options: GateOptions): Promise<Judged> {
  const missing: string[] = [];
  let measured = { baseline: UNMEASURED, canary: UNMEASURED };
  try {
    measured = await measureBoth(context, gate, options);
  } catch (error) {
    if (!(error instanceof PrometheusUnavailable)) throw error;
    missing.push(error.message);
  }
  return { checks: sloChecks(gate, measured.baseline, measured.canary), missing, measured, replay: null };
}

async function measureBoth(
  { signal }: CommandContext,
  { window, ...gate }: SloGate,
  { prometheus, ...files }: GateOptions,
): Promise<{ readonly baseline: Measures; readonly canary: Measures }> {
  const measure = async (version: 'baseline' | 'canary'): Promise<Measures> => {
    const file = files[version];
    if (file !== undefined) return valueOf(readMeasures(await readInputFile(file), file));
    const labels = gate[version];
    if (prometheus === undefined)
      throw new CommandError(`expected --prometheus, or --${version} with a file of what was measured`);
    if (labels === undefined)
      throw new CommandError(
        `slo.${version}: expected label matchers that choose the sidecars of the ${version}`,
      );
    return measureSlo(prometheus, { labels, window, signal });
  };
  const [baseline, canary] = await Promise.all([measure('baseline'), measure('canary')]);
  return { baseline, canary };
}

function show({ out }: CommandContext, checks: readonly GateCheck[], missing: readonly string[]): void {
  const rows = checks.map(({ name, baseline, canary, allowed, passes }) => [
    passes ? '✓' : '✗',
    name,
    baseline,
    canary,
    allowed,
  ]);
  if (rows.length > 0) showTable(out, ['', 'check', 'baseline', 'canary', 'allowed'], rows);
  for (const sentence of missing) out.line(out.colors.red(sentence));
}

function valueOf<T>(read: { readonly value: T } | { readonly problems: readonly DocumentProblem[] }): T {
  if ('problems' in read) throw new CommandError(read.problems.map(formatProblem).join('\n'));
  return read.value;
}
