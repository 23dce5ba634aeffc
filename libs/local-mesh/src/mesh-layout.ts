import { join } from 'node:path';

/** The trust domain of every local mesh; its CA lives as long as the mesh runs. */
export const TRUST_DOMAIN = 'gatehouse.local';

export const SERVICES = ['inference', 'embeddings', 'orchestration'] as const;
export type ServiceName = (typeof SERVICES)[number];

/** Identities that call from outside: one that may call everything, one that may only look, one with a small quota. */
export const CALLERS = ['developer', 'intern', 'trial'] as const;
export type CallerName = (typeof CALLERS)[number];

/** The models that the mesh serves, under the names that its policy knows. */
export const LANGUAGE_MODEL = 'smollm2-135m-instruct';
export const EMBEDDING_MODEL = 'all-minilm-l6-v2';

export function spiffeIdOf(name: ServiceName | CallerName): string {
  return `spiffe://${TRUST_DOMAIN}/ns/local/sa/${name}`;
}

/** Where a service and its sidecar are reached. */
export type ServicePlace = {
  /** `host:port`, mTLS. */
  readonly inbound: string;
  /** `host:port`, probes and metrics. */
  readonly telemetry: string;
  /** `unix:/path`, the sidecar's AdminService. */
  readonly admin: string;
  /** `unix:/path`, the service itself; its sidecar alone dials it. */
  readonly app: string;
  /** `unix:/path`, the service's own metrics over HTTP. */
  readonly metrics: string;
  /** `unix:/path`, where the service reaches others. */
  readonly egress: string;
};

/** Files of an identity, all PEM. */
type IdentityFiles = { readonly certificateFile: string; readonly keyFile: string };

/** Every place that a mesh uses, decided before anything starts. */
export type MeshLayout = {
  readonly dataDir: string;
  readonly socketsDir: string;
  readonly services: Readonly<Record<ServiceName, ServicePlace>>;
  readonly identities: Readonly<Record<ServiceName | CallerName, IdentityFiles>>;
  readonly bundleFile: string;
  readonly policyFile: string;
  readonly configDir: string;
  readonly logsDir: string;
  /** Where each sidecar keeps its record of decisions. */
  readonly auditDirs: Readonly<Record<ServiceName, string>>;
  /** Signs their checkpoints; the public key stands beside it, in `.pub`. */
  readonly auditKeyFile: string;
};

/** Ports of one service. */
export type ServicePorts = { readonly inbound: number; readonly telemetry: number };

export function layOut(
  dataDir: string,
  socketsDir: string,
  ports: Readonly<Record<ServiceName, ServicePorts>>,
): MeshLayout {
  const place = (name: ServiceName): ServicePlace => ({
    inbound: `127.0.0.1:${ports[name].inbound}`,
    telemetry: `127.0.0.1:${ports[name].telemetry}`,
    admin: `unix:${join(socketsDir, `${name}-admin.sock`)}`,
    app: `unix:${join(socketsDir, `${name}-app.sock`)}`,
    metrics: `unix:${join(socketsDir, `${name}-metrics.sock`)}`,
    egress: `unix:${join(socketsDir, `${name}-egress.sock`)}`,
  });
  const identity = (name: ServiceName | CallerName): IdentityFiles => ({
    certificateFile: join(dataDir, 'identities', name, 'certificate.pem'),
    keyFile: join(dataDir, 'identities', name, 'key.pem'),
  });
  return {
    dataDir,
    socketsDir,
    services: {
      inference: place('inference'),
      embeddings: place('embeddings'),
      orchestration: place('orchestration'),
    },
    identities: {
      inference: identity('inference'),
      embeddings: identity('embeddings'),
      orchestration: identity('orchestration'),
      developer: identity('developer'),
      intern: identity('intern'),
      trial: identity('trial'),
    },
    bundleFile: join(dataDir, 'identities', 'bundle.pem'),
    policyFile: join(dataDir, 'policy.yaml'),
    configDir: join(dataDir, 'config'),
    logsDir: join(dataDir, 'logs'),
    auditDirs: {
      inference: join(dataDir, 'audit', 'inference'),
      embeddings: join(dataDir, 'audit', 'embeddings'),
      orchestration: join(dataDir, 'audit', 'orchestration'),
    },
    auditKeyFile: join(dataDir, 'audit', 'signing.key'),
  };
}
