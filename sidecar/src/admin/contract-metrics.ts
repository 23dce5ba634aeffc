import type { Registry } from 'prom-client';
import type { ContractState } from '../contract-state.ts';
import { gauge } from './metric-families.ts';

export function registerContract(registry: Registry, contract: () => ContractState): void {
  gauge(
    registry,
    {
      name: 'gatehouse_contract_info',
      help: '1, with the versions of the contract that is enforced and of the one that the app serves; empty: not stated.',
      labelNames: ['version', 'app_version'],
    },
    (metric) => {
      const { enforced, app } = contract();
      metric.set({ version: enforced ?? '', app_version: app ?? '' }, 1);
    },
  );
}
