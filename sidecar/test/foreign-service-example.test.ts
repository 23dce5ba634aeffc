import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Contract, findUnclassified } from '@gatehouse/contracts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadContractFiles } from '../src/config/load-contract-files.ts';
import { parseConfig } from '../src/config/parse.ts';
import { compilePolicy, explainPolicy } from '../src/policy/index.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const EXAMPLE = 'docs/examples/foreign-service/';

let folder: string;
let contract: Contract;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-example-'));
  const descriptorSetFile = join(folder, 'greeter.binpb');
  const buf = join(ROOT, 'node_modules/.bin/buf');
  await promisify(execFile)(buf, [
    'build',
    join(ROOT, EXAMPLE, 'proto'),
    '--as-file-descriptor-set',
    '-o',
    descriptorSetFile,
  ]);
  const loaded = await loadContractFiles({
    descriptorSetFile,
    overlayFiles: [join(ROOT, EXAMPLE, 'overlay.yaml')],
  });
  if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
  contract = loaded.contract;
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

test('the overlay classifies what it serves, and leaves out what it does not', () => {
  const paths = [...contract.methods.keys()].filter((path) => path.startsWith('/greeter.'));
  expect(paths).toEqual(['/greeter.v1.Greeter/SayHello', '/greeter.v1.Greeter/SayHelloOften']);
  expect(contract.unclassifiedMethods).toContain('/greeter.v1.Greeter/Forget');
  const fields = findUnclassified(contract).filter((each) =>
    JSON.stringify(each).includes('greeter.v1.Hello'),
  );
  expect(fields).toEqual([]);
  // A foreign descriptor set gets the standard services too: probes call them on every app.
  expect(contract.methods.has('/grpc.health.v1.Health/Check')).toBe(true);
});

test('the configuration is valid and names the files of the example', async () => {
  const parsed = parseConfig(await readFile(join(ROOT, EXAMPLE, 'sidecar.yaml'), 'utf8'), 'sidecar.yaml');
  expect(parsed).toMatchObject({
    config: { policyFile: `${EXAMPLE}policy.yaml`, contract: { overlayFiles: [`${EXAMPLE}overlay.yaml`] } },
  });
});

test('the policy decides as the README shows', async () => {
  const text = await readFile(join(ROOT, EXAMPLE, 'policy.yaml'), 'utf8');
  const compiled = compilePolicy(text, { contract, fileName: 'policy.yaml' });
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  const decide = (name: string, method: string): boolean =>
    explainPolicy(compiled.policy, {
      identity: `spiffe://example.org/sa/${name}`,
      method: `greeter.v1.Greeter/${method}`,
      model: null,
      token: null,
      nowMs: 0,
    }).decision.allowed;
  expect([decide('alice', 'SayHello'), decide('alice', 'SayHelloOften')]).toEqual([true, true]);
  expect([decide('bob', 'SayHello'), decide('bob', 'SayHelloOften')]).toEqual([true, false]);
  const readme = await readFile(join(ROOT, EXAMPLE, 'README.md'), 'utf8');
  expect(readme).toContain(`(policy ${compiled.policy.version})`);
});
