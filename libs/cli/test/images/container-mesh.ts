import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority } from '@gatehouse/identity';
import { stringify } from 'yaml';
import { modelsDir } from '../../src/models-dir.ts';
import type { ContainerEngine } from './container-engine.ts';

/** The group that shares sockets and identities, as in the chart. */
export const GROUP = 64_000;
const SIDECAR_USER = '64001:64000';
export const SERVICE_USER = '64002:64000';
const HOUR_MS = 3_600_000;
const TRUST_DOMAIN = 'example.org';
const spiffe = (name: string): string => `spiffe://${TRUST_DOMAIN}/sa/${name}`;

/** One network for all, as of one pod: each sidecar has ports of its own. The first has those of the image. */
const PORTS = {
  inference: { mtls: 8443, telemetry: 9464 },
  embeddings: { mtls: 8444, telemetry: 9465 },
  orchestration: { mtls: 8445, telemetry: 9466 },
  caller: { mtls: 0, telemetry: 9467 },
} as const;
export type PodName = keyof typeof PORTS;
type ServiceName = Exclude<PodName, 'caller'>;
const SERVICES: readonly ServiceName[] = ['inference', 'embeddings', 'orchestration'];

const SERVICE_KEYS: Readonly<Record<ServiceName, object>> = {
  inference: {
    models: [
      {
        name: 'smollm2-135m-instruct',
        engine: 'llama.cpp',
        modelFile: '/models/smollm2-135m-instruct/model.gguf',
        contextTokensMax: 512,
        sequencesMax: 2,
        threadsMax: 2,
      },
    ],
  },
  embeddings: {
    models: [
      {
        name: 'all-minilm-l6-v2',
        modelFile: '/models/all-minilm-l6-v2/model.onnx',
        tokenizerFile: '/models/all-minilm-l6-v2/tokenizer.json',
      },
    ],
  },
  orchestration: {
    egress: 'unix:/run/gatehouse/egress.sock',
    upstreams: { inference: 'inference', embeddings: 'embeddings' },
  },
};

const MEMORY: Readonly<Record<ServiceName, string>> = {
  inference: '1g',
  embeddings: '640m',
  orchestration: '384m',
};

const POLICY = {
  version: 'containers-1',
  trustDomains: [TRUST_DOMAIN],
  rules: [
    {
      id: 'mesh-may-call-models',
      effect: 'ALLOW',
      identities: [spiffe('orchestration'), spiffe('caller')],
      permissions: ['inference.generate', 'inference.count', 'embeddings.embed', 'models.read'],
    },
    {
      id: 'caller-may-run-graphs',
      effect: 'ALLOW',
      identities: [spiffe('caller')],
      permissions: ['orchestration.execute'],
    },
  ],
};

/** Folders of the machine that containers have as volumes. */
export type Volumes = {
  readonly folder: string;
  /** Sockets of a pod. */
  sockets(pod: PodName): string;
  /** The file of a sidecar's configuration. */
  config(pod: PodName): string;
  remove(): Promise<void>;
};

/** Writes identities, policy and configurations of three services with a sidecar each, and of a caller's sidecar. */
export async function writeVolumes(): Promise<Volumes> {
  const folder = await mkdtemp(join(tmpdir(), 'gh-pods-'));
  await chmod(folder, 0o755);
  const authority = await createAuthority({
    trustDomain: TRUST_DOMAIN,
    clock: Date.now,
    validForMs: HOUR_MS,
  });
  for (const pod of Object.keys(PORTS) as PodName[]) {
    const { certificatePem, keyPem } = await authority.issue({
      spiffeId: spiffe(pod),
      validForMs: HOUR_MS,
    });
    const at = (...path: string[]): string => join(folder, pod, ...path);
    for (const name of ['sockets', 'admin', 'config', 'identity', 'service'])
      await mkdir(at(name), { recursive: true });
    // As fsGroup does for the chart's volumes: the group may write, and what is made belongs to it.
    for (const name of ['sockets', 'admin']) {
      await chown(at(name), 0, GROUP);
      await chmod(at(name), 0o2770);
    }
    await writeFile(at('identity/tls.crt'), certificatePem);
    await writeFile(at('identity/tls.key'), keyPem, { mode: 0o440 });
    await chown(at('identity/tls.key'), 0, GROUP);
    await writeFile(at('identity/ca.crt'), authority.bundlePem);
    await writeFile(at('config/policy.yaml'), stringify(POLICY));
    await writeFile(at('config/sidecar.yaml'), stringify(sidecarConfig(pod)));
    if (pod !== 'caller') await writeFile(at('service/service.yaml'), stringify(serviceConfig(pod)));
  }
  return {
    folder,
    sockets: (pod) => join(folder, pod, 'sockets'),
    config: (pod) => join(folder, pod, 'config/sidecar.yaml'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

function serviceConfig(name: ServiceName): object {
  return { name, listen: 'unix:/run/gatehouse/app.sock', ...SERVICE_KEYS[name] };
}

function sidecarConfig(pod: PodName): object {
  const upstream = (name: ServiceName): object => ({
    name,
    identity: spiffe(name),
    endpoints: [`127.0.0.1:${PORTS[name].mtls}`],
  });
  const egress = { egress: { listen: 'unix:/run/gatehouse/egress.sock' }, upstreams: SERVICES.map(upstream) };
  const { mtls, telemetry } = PORTS[pod];
  const inbound = {
    inbound: { listen: `127.0.0.1:${mtls}`, app: 'unix:/run/gatehouse/app.sock' },
    policyFile: '/etc/gatehouse/config/policy.yaml',
  };
  const file = (name: string): string => `/etc/gatehouse/identity/${name}`;
  return {
    name: pod,
    identity: {
      certificateFile: file('tls.crt'),
      keyFile: file('tls.key'),
      bundleFile: file('ca.crt'),
      trustDomain: TRUST_DOMAIN,
    },
    ...(pod === 'caller' ? {} : inbound),
    ...(pod === 'caller' || pod === 'orchestration' ? egress : {}),
    telemetry: { listen: `127.0.0.1:${telemetry}` },
    admin: { listen: 'unix:/run/gatehouse-admin/admin.sock' },
  };
}

/** Health commands are run by the tests, not by timers, which systemd would have. */
const NO_TIMER = '--health-interval=disable';
const mount = (from: string, to: string, mode = 'rw'): string[] => ['--volume', `${from}:${to}:${mode}`];

/** Options to run a pod's sidecar with. */
export function sidecarOptions({ folder }: Volumes, pod: PodName): string[] {
  return [
    '--user',
    SIDECAR_USER,
    '--memory=256m',
    NO_TIMER,
    ...mount(join(folder, pod, 'sockets'), '/run/gatehouse'),
    ...mount(join(folder, pod, 'admin'), '/run/gatehouse-admin'),
    ...mount(join(folder, pod, 'config'), '/etc/gatehouse/config', 'ro'),
    ...mount(join(folder, pod, 'identity'), '/etc/gatehouse/identity', 'ro'),
  ];
}

/** Options to run a service with. */
function serviceOptions({ folder }: Volumes, name: ServiceName): string[] {
  return [
    '--user',
    SERVICE_USER,
    `--memory=${MEMORY[name]}`,
    NO_TIMER,
    ...mount(join(folder, name, 'sockets'), '/run/gatehouse'),
    ...mount(join(folder, name, 'service'), '/etc/gatehouse/service', 'ro'),
    ...mount(modelsDir(process.env), '/models', 'ro'),
    '--tmpfs=/tmp:rw,size=64m,mode=1777',
  ];
}

export type ContainerMesh = {
  readonly volumes: Volumes;
  /** Whether every sidecar answers its probe. */
  isReady(): Promise<boolean>;
  /** The container of a service, or of a sidecar: `inference`, `inference-sidecar`, …, `caller-sidecar`. */
  container(name: string): string;
  remove(): Promise<void>;
};

/**
 * Starts seven containers on one network without a way out: three services, their sidecars, and the sidecar of a caller.
 * @param images references by name
 */
export async function startContainerMesh(
  engine: ContainerEngine,
  images: Readonly<Record<ServiceName | 'sidecar', string>>,
): Promise<ContainerMesh> {
  const volumes = await writeVolumes();
  const prefix = volumes.folder.split('/').at(-1) ?? '';
  const container = (name: string): string => `${prefix}-${name}`;
  const names: string[] = [];
  const start = async (name: string, options: string[], image: string): Promise<void> => {
    names.push(container(name));
    const { code, err } = await engine.podman(
      ...engine.runArguments(['--detach', '--name', container(name), ...options], image),
    );
    if (code !== 0) throw new Error(`${name} does not start: ${err}`);
  };
  const remove = async (): Promise<void> => {
    // Those on another's network first.
    for (const name of [...names].reverse())
      await engine.podman('rm', '--force', '--time=0', '--ignore', name);
    await volumes.remove();
  };
  const isReady = async (): Promise<boolean> => {
    for (const [pod, { telemetry }] of Object.entries(PORTS)) {
      const ask = `process.exit((await fetch('http://127.0.0.1:${telemetry}/readyz')).ok ? 0 : 1)`;
      const command = ['node', '--input-type=module', '-e', ask];
      if ((await engine.podman('exec', container(`${pod}-sidecar`), ...command)).code !== 0) return false;
    }
    return true;
  };
  try {
    const network = ['--network', `container:${container('inference')}`];
    await start('inference', ['--network=none', ...serviceOptions(volumes, 'inference')], images.inference);
    const others = SERVICES.filter((name) => name !== 'inference').map((name) =>
      start(name, [...network, ...serviceOptions(volumes, name)], images[name]),
    );
    const sidecars = (Object.keys(PORTS) as PodName[]).map((pod) =>
      start(`${pod}-sidecar`, [...network, ...sidecarOptions(volumes, pod)], images.sidecar),
    );
    const started = await Promise.allSettled([...others, ...sidecars]);
    for (const each of started) if (each.status === 'rejected') throw each.reason;
    return { volumes, isReady, container, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
