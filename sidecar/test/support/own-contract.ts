import { readFileSync } from 'node:fs';
import { type Contract, loadContract } from '@gatehouse/contracts';

/** The contract of Gatehouse's own services. */
export const ownContract: Contract = load();

function load(): Contract {
  const loaded = loadContract({
    descriptorSet: readFileSync(new URL(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'))),
  });
  if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
  return loaded.contract;
}
