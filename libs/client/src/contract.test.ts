import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { loadContract } from '@gatehouse/contracts';
import { expect, test } from 'vitest';
import { CONTRACT_VERSION, defaultDeadlineMs } from './contract.ts';

test('contract.json is what the contract says of itself and of every method that applications call', async () => {
  const file = fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'));
  const loaded = loadContract({ descriptorSet: await readFile(file) });
  if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
  const { version } = loaded.contract;
  const methods = [...loaded.contract.methods.values()].filter(
    ({ service }) => service.startsWith('gatehouse.') && !service.startsWith('gatehouse.admin.'),
  );
  const deadlines = Object.fromEntries(
    methods
      .map(({ path, deadlineMsDefault }) => [path, deadlineMsDefault] as const)
      .toSorted(([one], [other]) => one.localeCompare(other)),
  );
  await expect(`${JSON.stringify({ version, deadlines }, null, 2)}\n`).toMatchFileSnapshot('contract.json');
  expect(CONTRACT_VERSION).toBe(version);
  for (const { path, deadlineMsDefault } of methods) expect(defaultDeadlineMs(path)).toBe(deadlineMsDefault);
});
