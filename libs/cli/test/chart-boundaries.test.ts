/** What each container has in its hands, and who may reach whom. */
import { parseConfig } from '@gatehouse/sidecar';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Container } from './chart/helm.ts';
import { type KubernetesSchemas, readKubernetesSchemas } from './chart/kubernetes-schema.ts';
import { podProblems } from './chart/pod-problems.ts';
import {
  CERT_MANAGER,
  ELSEWHERE,
  find,
  MINIMAL,
  podOf,
  RECORDED,
  REMOTE_MODELS,
  render,
  textOf,
  tools,
  WORKLOAD_API,
} from './chart/render-chart.ts';

let schemas: KubernetesSchemas;

beforeAll(async () => {
  if ('schemas' in tools) schemas = await readKubernetesSchemas(tools.schemas);
});

const EGRESS = {
  networkPolicy: {
    enabled: true,
    egress: {
      enabled: true,
      models: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'models' } } }],
    },
  },
};

describe.skipIf('missing' in tools)('the chart', () => {
  test('gives identity and policy to the sidecar alone, and both containers the sockets', async () => {
    const pod = podOf(await render([MINIMAL]), 'Deployment', 'mesh-gatehouse-inference');
    const mounts = (container?: Container) => container?.volumeMounts?.map(({ name }) => name);
    expect(mounts(pod.initContainers?.[0])).toEqual(
      expect.arrayContaining([
        'gatehouse-identity',
        'gatehouse-policy',
        'gatehouse-admin',
        'gatehouse-sockets',
      ]),
    );
    expect(mounts(pod.containers[0])).toEqual(['service-config', 'tmp', 'models', 'gatehouse-sockets']);
    expect(pod.securityContext?.fsGroup).toBe(64000);
  });

  test('mounts keys, passwords and records into the sidecar alone, read-only, and puts none of them into a text', async () => {
    const manifests = await render([RECORDED]);
    const pod = podOf(manifests, 'Deployment', 'mesh-gatehouse-inference');
    const mounted = (container?: Container) =>
      (container?.volumeMounts ?? []).filter(({ name }) => /secrets|audit|shadow|bundle|identity/.test(name));
    expect(mounted(pod.initContainers?.[0])).toEqual([
      { name: 'gatehouse-identity', mountPath: '/etc/gatehouse/identity', readOnly: true },
      { name: 'gatehouse-bundle', mountPath: '/etc/gatehouse/bundle', readOnly: true },
      { name: 'gatehouse-shadow-policy', mountPath: '/etc/gatehouse/shadow', readOnly: true },
      { name: 'gatehouse-secrets', mountPath: '/etc/gatehouse/secrets', readOnly: true },
      // Pods share the claim: each has a folder of its own.
      { name: 'gatehouse-audit', mountPath: '/var/lib/gatehouse', subPathExpr: '$(POD_NAME)' },
    ]);
    expect(pod.containers.flatMap(mounted)).toEqual([]);
    expect(pod.initContainers?.[0]?.env).toContainEqual({
      name: 'POD_NAME',
      valueFrom: { fieldRef: { fieldPath: 'metadata.name' } },
    });
    const signers = textOf(manifests, 'mesh-gatehouse-inference-sidecar', 'signers.json');
    expect(JSON.parse(signers)).toMatchObject({ keys: [{ kid: 'release' }] });
  });

  test.each([
    ['emptyDir', {}, { emptyDir: { sizeLimit: '2Gi' } }],
    ['hostPath', { path: '/data' }, { hostPath: { path: '/data', type: 'Directory' } }],
    [
      'ephemeral',
      { storageClass: 'fast' },
      {
        ephemeral: {
          volumeClaimTemplate: {
            spec: {
              accessModes: ['ReadWriteOnce'],
              storageClassName: 'fast',
              resources: { requests: { storage: '2Gi' } },
            },
          },
        },
      },
    ],
  ])('keeps records in a volume of the kind %s', async (kind, more, volume) => {
    const manifests = await render([MINIMAL], { audit: { enabled: true, storage: { kind, ...more } } });
    const pod = podOf(manifests, 'Deployment', 'mesh-gatehouse-inference');
    expect(pod.volumes?.find(({ name }) => name === 'gatehouse-audit')).toEqual({
      name: 'gatehouse-audit',
      ...volume,
    });
    const deployment = find(manifests, 'Deployment', 'mesh-gatehouse-inference');
    expect(schemas.problems(deployment)).toEqual([]);
    const restricted = podProblems(
      [deployment],
      [...ELSEWHERE, ...manifests.map((each) => `${each.kind} ${each.metadata.name}`)],
    );
    expect(restricted).toEqual(
      kind === 'hostPath' ? ['mesh-gatehouse-inference: volume gatehouse-audit is hostPath'] : [],
    );
  });

  test('leaves the mTLS port reachable, and telemetry for the namespaces that are named', async () => {
    const ports = async (files: readonly string[], name: string) =>
      find(await render(files), 'NetworkPolicy', name).spec?.ingress;
    expect(await ports([MINIMAL], 'mesh-gatehouse-inference')).toEqual([
      { ports: [{ protocol: 'TCP', port: 8443 }] },
    ]);
    const labels = (key: string) => ({ matchLabels: { 'kubernetes.io/metadata.name': key } });
    expect(await ports([CERT_MANAGER], 'gatehouse-inference')).toEqual([
      {
        ports: [{ protocol: 'TCP', port: 8443 }],
        // The pod of `helm test` calls as well.
        from: [
          { namespaceSelector: labels('apps') },
          {
            podSelector: {
              matchLabels: { 'gatehouse.dev/release': 'mesh', 'gatehouse.dev/workload': 'mesh-test' },
            },
          },
        ],
      },
      {
        ports: [
          { protocol: 'TCP', port: 9464 },
          { protocol: 'TCP', port: 9465 },
        ],
        from: [{ namespaceSelector: labels('observability') }],
      },
    ]);
  });

  test('lets pods call only whom their values name, where that is asked for', async () => {
    const { egress } = find(
      await render([REMOTE_MODELS], EGRESS),
      'NetworkPolicy',
      'mesh-gatehouse-inference',
    ).spec as unknown as { egress: unknown };
    const port = (number: number, protocol = 'TCP') => ({ port: number, protocol });
    const peers = (name: string) => [
      { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } } },
    ];
    expect(egress).toEqual([
      { ports: [port(53, 'UDP'), port(53)], to: peers('kube-system') },
      // The keys of policy.jwtIssuers, by https; the model's server.
      { ports: [port(443)] },
      { ports: [port(8000)], to: peers('models') },
    ]);
    const others = find(
      await render([REMOTE_MODELS], EGRESS),
      'NetworkPolicy',
      'mesh-gatehouse-orchestration',
    );
    expect(others.spec).toMatchObject({
      egress: expect.arrayContaining([
        // Embeddings are another cluster's, inference is this release's.
        { ports: [port(8443)] },
        {
          ports: [port(8443)],
          to: [
            {
              podSelector: {
                matchLabels: expect.objectContaining({ 'app.kubernetes.io/component': 'inference' }),
              },
            },
          ],
        },
      ]),
    });
  });

  test('gives a sidecar that watches EndpointSlices a token of its own, the right to do that, and nothing to the app', async () => {
    const manifests = await render([WORKLOAD_API]);
    const name = 'mesh-gatehouse-orchestration';
    expect(find(manifests, 'Role', `${name}-endpoints`)).toMatchObject({
      rules: [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] }],
    });
    const pod = podOf(manifests, 'Deployment', name);
    const holders = [...(pod.initContainers ?? []), ...pod.containers]
      .filter(({ volumeMounts = [] }) =>
        volumeMounts.some((each) => each.name === 'gatehouse-kubernetes-api'),
      )
      .map((container) => container.name);
    expect(holders).toEqual(['gatehouse-sidecar']);
    const { config } = parseConfig(textOf(manifests, `${name}-sidecar`, 'sidecar.yaml'), '') as {
      config: object;
    };
    expect(config).toMatchObject({
      identity: {
        workloadApi: 'unix:/run/gatehouse-workload-api/spire-agent.sock',
        spiffeId: `spiffe://example.org/ns/models/sa/${name}`,
      },
      upstreams: [{ service: 'models/mesh-gatehouse-inference', port: 8443 }, { name: 'embeddings' }],
      kubernetes: { tokenFile: '/etc/gatehouse/kubernetes-api/token' },
    });
    const others = await render([MINIMAL]);
    expect(others.some(({ kind }) => kind === 'Role')).toBe(false);
    const text = textOf(others, 'mesh-gatehouse-orchestration-sidecar', 'sidecar.yaml');
    expect(text).toContain('dns: mesh-gatehouse-inference-pods.models.svc:8443');
  });
});
