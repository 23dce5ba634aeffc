import { generateKeyPairSync } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import {
  EMBEDDING_MODEL,
  LANGUAGE_MODEL,
  type MeshLayout,
  SERVICES,
  type ServiceName,
  spiffeIdOf,
  TRUST_DOMAIN,
} from './mesh-layout.ts';
import { writeFileAtomically } from './write-file-atomically.ts';

/** How long calls in flight may go on while the mesh stops. A service's sidecar waits a little longer than it. */
const SERVICE_DRAIN_MS_MAX = 3000;
const SIDECAR_DRAIN_MS_MAX = 4000;

/** Checkpoints come often, so that whoever tries `gatehouse audit verify` has one. */
const CHECKPOINT_MS = 2000;
const SEGMENTS_KEPT_MAX = 8;

export type MeshConfigsOptions = {
  readonly layout: MeshLayout;
  /** Holds one folder per model. */
  readonly modelsDir: string;
  readonly otlpEndpoint: string;
};

/** Configuration files of one service. */
export type ConfigFiles = { readonly service: string; readonly sidecar: string };

/** Writes every configuration file and the policy, and says where they are. */
export async function writeMeshConfigs(
  options: MeshConfigsOptions,
): Promise<Readonly<Record<ServiceName, ConfigFiles>>> {
  const { layout } = options;
  const policy = await readFile(new URL('../policy.yaml', import.meta.url), 'utf8');
  await writeFileAtomically(layout.policyFile, policy);
  await writeAuditKey(layout.auditKeyFile);
  const write = async (name: ServiceName): Promise<ConfigFiles> => {
    const files = {
      service: join(layout.configDir, `${name}.yaml`),
      sidecar: join(layout.configDir, `${name}-sidecar.yaml`),
    };
    await writeFileAtomically(files.service, stringify(serviceConfig(name, options)));
    await writeFileAtomically(files.sidecar, stringify(sidecarConfig(name, options)));
    return files;
  };
  const [inference, embeddings, orchestration] = await Promise.all([
    write('inference'),
    write('embeddings'),
    write('orchestration'),
  ]);
  return { inference, embeddings, orchestration };
}

/** Signs checkpoints; made once, so that those of earlier runs can still be verified. */
async function writeAuditKey(file: string): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  try {
    await writeFile(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw error;
  }
  await writeFile(`${file}.pub`, publicKey.export({ type: 'spki', format: 'pem' }));
}

function serviceConfig(name: ServiceName, options: MeshConfigsOptions): object {
  return {
    name,
    listen: options.layout.services[name].app,
    drainMsMax: SERVICE_DRAIN_MS_MAX,
    telemetry: {
      otlpEndpoint: options.otlpEndpoint,
      sampleRatio: 0,
      metricsListen: options.layout.services[name].metrics,
    },
    log: { level: 'info' },
    ...OWN_KEYS[name](options),
  };
}

const OWN_KEYS: Readonly<Record<ServiceName, (options: MeshConfigsOptions) => object>> = {
  inference: ({ modelsDir }) => ({
    models: [
      {
        name: LANGUAGE_MODEL,
        engine: 'llama.cpp',
        modelFile: join(modelsDir, LANGUAGE_MODEL, 'model.gguf'),
        contextTokensMax: 1024,
        sequencesMax: 8,
        queueDepthMax: 64,
        outputTokensDefault: 256,
      },
    ],
  }),
  embeddings: ({ modelsDir }) => ({
    models: [
      {
        name: EMBEDDING_MODEL,
        modelFile: join(modelsDir, EMBEDDING_MODEL, 'model.onnx'),
        tokenizerFile: join(modelsDir, EMBEDDING_MODEL, 'tokenizer.json'),
      },
    ],
  }),
  orchestration: ({ layout }) => ({
    egress: layout.services.orchestration.egress,
    upstreams: { inference: 'inference', embeddings: 'embeddings' },
  }),
};

function sidecarConfig(name: ServiceName, { layout, otlpEndpoint }: MeshConfigsOptions): object {
  const place = layout.services[name];
  return {
    name,
    identity: { ...layout.identities[name], bundleFile: layout.bundleFile, trustDomain: TRUST_DOMAIN },
    inbound: { listen: place.inbound, app: place.app },
    ...(name === 'orchestration' ? { egress: { listen: place.egress }, upstreams: upstreamsOf(layout) } : {}),
    policyFile: layout.policyFile,
    telemetry: { listen: place.telemetry, otlpEndpoint, sampleRatio: 1 },
    audit: {
      folder: layout.auditDirs[name],
      signingKeyFile: layout.auditKeyFile,
      checkpointEveryMs: CHECKPOINT_MS,
      segmentsKeptMax: SEGMENTS_KEPT_MAX,
    },
    admin: { listen: place.admin },
    limits: { drainMsMax: SIDECAR_DRAIN_MS_MAX },
    log: { level: 'info' },
  };
}

function upstreamsOf(layout: MeshLayout): object[] {
  return SERVICES.filter((name) => name !== 'orchestration').map((name) => ({
    name,
    identity: spiffeIdOf(name),
    endpoints: [layout.services[name].inbound],
  }));
}
