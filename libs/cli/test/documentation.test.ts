import { glob, readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  compilePolicy,
  loadContractFiles,
  parseConfig,
  policyJsonSchema,
  runExpectations,
  sidecarConfigJsonSchema,
} from '@gatehouse/sidecar';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** The fenced blocks of a language in a page. */
async function blocks(page: string, language: string): Promise<string[]> {
  const text = await readFile(join(ROOT, page), 'utf8');
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, block]) => block ?? '',
  );
}

async function pages(): Promise<string[]> {
  const found = glob('**/*.md', { cwd: ROOT, exclude: (name) => /^node_modules$|^\./.test(basename(name)) });
  return Array.fromAsync(found);
}

test('the policy and the expectations in docs/policy.md hold', async () => {
  const [policyText = '', expectationsText = ''] = await blocks('docs/policy.md', 'yaml');
  const loaded = await loadContractFiles({ overlayFiles: [] });
  if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
  const compiled = compilePolicy(policyText, { contract: loaded.contract, fileName: 'policy.md' });
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  const ran = runExpectations(expectationsText, { policy: compiled.policy, fileName: 'policy.md', nowMs: 0 });
  expect(ran).toMatchObject({ results: [{ passed: true }] });
});

test('the configuration in docs/sidecar.md is valid', async () => {
  const [configText = ''] = await blocks('docs/sidecar.md', 'yaml');
  expect(parseConfig(configText, 'sidecar.md')).toHaveProperty('config');
});

test.each([
  ['docs/schemas/policy.schema.json', policyJsonSchema],
  ['docs/schemas/sidecar.schema.json', sidecarConfigJsonSchema],
])('%s is the schema that the code enforces', async (file, schema) => {
  expect(JSON.parse(await readFile(join(ROOT, file), 'utf8'))).toEqual(JSON.parse(JSON.stringify(schema())));
});

test('every link between pages leads somewhere', async () => {
  const broken: string[] = [];
  for (const page of await pages()) {
    const text = await readFile(join(ROOT, page), 'utf8');
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)) {
      const file = join(ROOT, dirname(page), target);
      await readdir(file).catch(() => readFile(file).catch(() => broken.push(`${page}: ${target}`)));
    }
  }
  expect(broken).toEqual([]);
});
