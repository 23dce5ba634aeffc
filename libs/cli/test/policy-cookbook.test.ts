import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { formatProblem } from '@gatehouse/documents';
import {
  compilePolicy,
  explainPolicy,
  loadContractFiles,
  type Policy,
  runExpectations,
} from '@gatehouse/sidecar';
import { expect, test } from 'vitest';

const PAGE = fileURLToPath(new URL('../../../docs/policy-cookbook.md', import.meta.url));

type Case = {
  readonly title: string;
  /** The document, and by name the files that it includes. */
  readonly document: string;
  readonly files: ReadonlyMap<string, string>;
  readonly expectations: string;
};

/** A section each: the document first, then files that begin with their name, then what is expected. */
function readCases(page: string): Case[] {
  return page
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const blocks = [...section.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, block]) => block ?? '');
      return {
        title: section.slice(0, section.indexOf('\n')),
        document: blocks[0] ?? '',
        files: new Map(blocks.slice(1, -1).map((block) => [/^# (\S+)\n/.exec(block)?.[1] ?? '', block])),
        expectations: blocks.at(-1) ?? '',
      };
    });
}

const cases = readCases(await readFile(PAGE, 'utf8'));
const loaded = await loadContractFiles({ overlayFiles: [] });
if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
const { contract } = loaded;

function compile({ document, files }: Case): Policy {
  const compiled = compilePolicy(document, {
    contract,
    fileName: 'policy.yaml',
    readFile: (file) => {
      const text = files.get(file);
      if (text === undefined) throw new Error(`the page has no ${file}`);
      return text;
    },
  });
  if ('problems' in compiled) throw new Error(compiled.problems.map(formatProblem).join('\n'));
  return compiled.policy;
}

test('the page has ten cases', () => {
  expect(cases.map(({ title }) => Number.parseInt(title, 10))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test.each(cases)('$title: the page says what the policy decides', (one) => {
  const policy = compile(one);
  const ran = runExpectations(one.expectations, { policy, fileName: one.title, nowMs: 0 });
  if ('problems' in ran) throw new Error(ran.problems.map(formatProblem).join('\n'));
  for (const { passed, line, decision } of ran.results)
    expect({ passed, line, decision }).toMatchObject({ passed: true });
  const expected = new Set(ran.results.map((result) => result.expected));
  expect([...expected].toSorted()).toEqual(['allow', 'deny']);
});

test.each(cases)('$title: limits and protections concern a call of the page', (one) => {
  const policy = compile(one);
  const ran = runExpectations(one.expectations, { policy, fileName: one.title, nowMs: 0 });
  if ('problems' in ran) throw new Error(ran.problems.map(formatProblem).join('\n'));
  const explained = ran.results.map(({ from, to, model }) =>
    explainPolicy(policy, { identity: from, method: to, model, token: null, nowMs: 0 }),
  );
  const concerned = new Set(explained.flatMap(({ limits, protections }) => [...limits, ...protections]));
  for (const { id } of [...policy.limits, ...policy.protections]) expect(concerned).toContain(id);
});
