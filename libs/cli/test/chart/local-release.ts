/** A release of the chart in the namespace `models`, whose pods run as processes of this machine. */
import { join } from 'node:path';
import { type Authority, createAuthority } from '@gatehouse/identity';
import { freePort } from '../../../../sidecar/test/conformance/support/free-port.ts';
import { ROOT } from '../run-cli.ts';
import type { Manifest, Pod } from './helm.ts';
import { LocalPod, type LocalPodOptions } from './local-pod.ts';
import { find, podOf } from './render-chart.ts';

export const ORCHESTRATION = 'mesh-gatehouse-orchestration';
const MESH_TEST = 'mesh-gatehouse-mesh-test';

/** What the images run. */
const PROGRAMS = {
  'gatehouse-sidecar': [process.execPath, join(ROOT, 'sidecar/src/main.ts')],
  orchestration: [process.execPath, join(ROOT, 'services/orchestration/src/main.ts')],
  'mesh-test': [process.execPath],
};

/** Values of a release that is orchestration alone, so that no model is needed. */
export const ORCHESTRATION_ALONE = {
  inference: { enabled: false },
  embeddings: { enabled: false },
  orchestration: {
    upstreams: Object.fromEntries(
      ['inference', 'embeddings'].map((name) => [
        name,
        { identity: `spiffe://example.org/sa/${name}`, endpoints: ['127.0.0.1:9'] },
      ]),
    ),
  },
  identity: { secrets: { test: 'test-identity' } },
};

export type Ports = { readonly mtls: number; readonly telemetry: number; readonly service: number };

export async function freePorts(): Promise<Ports> {
  return { mtls: await freePort(), telemetry: await freePort(), service: await freePort() };
}

/** Values of sidecars that listen on loopback, at these ports. */
export function listening({ mtls, telemetry, service }: Ports, drainNoticeMs = 0): object {
  return {
    telemetry: { servicePort: service },
    sidecar: {
      listenAddress: '127.0.0.1',
      ports: { mtls, telemetry },
      limits: { drainNoticeMs, drainMsMax: 5000 },
    },
  };
}

export class LocalRelease {
  readonly authority: Authority;
  readonly #pods: LocalPod[] = [];

  private constructor(authority: Authority) {
    this.authority = authority;
  }

  static async create(): Promise<LocalRelease> {
    const hour = { trustDomain: 'example.org', clock: Date.now, validForMs: 3_600_000 };
    return new LocalRelease(await createAuthority(hour));
  }

  async orchestration(
    manifests: readonly Manifest[],
    elsewhere: LocalPodOptions['elsewhere'] = {},
  ): Promise<LocalPod> {
    const pod = podOf(manifests, 'Deployment', ORCHESTRATION);
    const identity = { 'Secret orchestration-identity': await this.identityOf(ORCHESTRATION) };
    return this.pod({ pod, manifests, elsewhere: { ...identity, ...elsewhere } });
  }

  /** The pod that `helm test` starts; Services of the release are on loopback. */
  async meshTest(manifests: readonly Manifest[]): Promise<LocalPod> {
    const pod = find(manifests, 'Pod', MESH_TEST).spec as unknown as Pod;
    const services = manifests.filter(({ kind }) => kind === 'Service');
    const addresses = services.map(({ metadata }) => [`${metadata.name}.models.svc`, '127.0.0.1']);
    return this.pod({
      pod,
      manifests,
      elsewhere: { 'Secret test-identity': await this.identityOf(MESH_TEST) },
      addresses: Object.fromEntries(addresses),
    });
  }

  async pod(options: Omit<LocalPodOptions, 'programs'> & Partial<LocalPodOptions>): Promise<LocalPod> {
    const pod = await LocalPod.create({ programs: PROGRAMS, ...options });
    this.#pods.push(pod);
    return pod;
  }

  /** The Secret of a workload's identity. */
  async identityOf(serviceAccount: string, namespace = 'models'): Promise<Record<string, string>> {
    const issued = await this.authority.issue({
      spiffeId: `spiffe://example.org/ns/${namespace}/sa/${serviceAccount}`,
      dnsNames: ['localhost'],
      validForMs: 600_000,
    });
    return {
      'tls.crt': issued.certificatePem,
      'tls.key': issued.keyPem,
      'ca.crt': this.authority.bundlePem,
    };
  }

  async remove(): Promise<void> {
    for (const pod of this.#pods.splice(0)) await pod.remove();
  }
}
