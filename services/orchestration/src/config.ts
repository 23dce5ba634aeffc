import { fileURLToPath } from 'node:url';
import { commonConfig, listenAddress } from '@gatehouse/service-kit/main';
import { z } from 'zod';

const shippedGraphsDir = fileURLToPath(new URL('../graphs', import.meta.url));

/** The configuration of the orchestration service. */
export const orchestrationConfig = commonConfig.extend({
  /** The egress listener of the own sidecar: all calls leave through it. */
  egress: listenAddress,
  /** What the sidecar calls the upstreams (`:authority`). */
  upstreams: z.strictObject({ inference: z.string().min(1), embeddings: z.string().min(1) }),
  /** The folder of the graphs to offer, one YAML file each. Default: those that come with the service. */
  graphsDir: z.string().min(1).default(shippedGraphsDir),
});

export type OrchestrationConfig = z.infer<typeof orchestrationConfig>;
