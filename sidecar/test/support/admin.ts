import {
  AdminServiceClient,
  type DecisionRecord,
  type ExplainRequest,
  type ExplainResponse,
  type GetConfigResponse,
  type ListCircuitsResponse,
} from '@gatehouse/contracts/admin';
import { credentials, type ServiceError } from '@grpc/grpc-js';
import type { Sidecar } from '../../src/sidecar.ts';

type Reply<T> = (error: ServiceError | null, response: T) => void;

function ask<T>(
  sidecar: Sidecar,
  call: (client: AdminServiceClient, reply: Reply<T>) => unknown,
): Promise<T> {
  const client = new AdminServiceClient(sidecar.adminAddress, credentials.createInsecure());
  return new Promise<T>((resolve, reject) => {
    call(client, (error, response) => (error ? reject(error) : resolve(response)));
  }).finally(() => client.close());
}

export const getConfig = (sidecar: Sidecar): Promise<GetConfigResponse> =>
  ask(sidecar, (client, reply: Reply<GetConfigResponse>) => client.getConfig({}, reply));

export const listCircuits = (sidecar: Sidecar): Promise<ListCircuitsResponse> =>
  ask(sidecar, (client, reply: Reply<ListCircuitsResponse>) => client.listCircuits({}, reply));

export const explain = (sidecar: Sidecar, request: Partial<ExplainRequest>): Promise<ExplainResponse> =>
  ask(sidecar, (client, reply: Reply<ExplainResponse>) =>
    client.explain(
      {
        identity: '',
        method: '',
        model: '',
        tokenIssuer: '',
        tokenClaims: {},
        tokenClaimsJson: '',
        decisionId: '',
        ...request,
      },
      reply,
    ),
  );

export async function listDecisions(
  sidecar: Sidecar,
  request: { readonly limit?: number; readonly refusedOnly?: boolean } = {},
): Promise<DecisionRecord[]> {
  const { decisions } = await ask(sidecar, (client, reply: Reply<{ decisions: DecisionRecord[] }>) =>
    client.listDecisions({ limit: 0, refusedOnly: false, ...request }, reply),
  );
  return decisions;
}
