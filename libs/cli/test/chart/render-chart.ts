import { join } from 'node:path';
import { stringify } from 'yaml';
import { CHART, chartTools, type HelmRun, type Manifest, manifestsOf, type Pod, runHelm } from './helm.ts';

const VALUES = join(CHART, 'tests/values');
export const MINIMAL = join(VALUES, 'minimal.yaml');
export const CERT_MANAGER = join(VALUES, 'cert-manager.yaml');
export const WORKLOAD_API = join(VALUES, 'workload-api.yaml');
export const REMOTE_MODELS = join(VALUES, 'remote-models.yaml');
export const RECORDED = join(VALUES, 'recorded.yaml');
export const COLLECTED = join(VALUES, 'collected.yaml');

/** Values that the chart has to render. */
export const MATRIX: readonly { readonly name: string; readonly files: readonly string[] }[] = [
  { name: 'minimal', files: [MINIMAL] },
  { name: 'high availability', files: [MINIMAL, join(CHART, 'values-ha.yaml')] },
  { name: 'cert-manager', files: [CERT_MANAGER] },
  { name: 'remote models', files: [REMOTE_MODELS] },
  { name: 'workload API', files: [WORKLOAD_API] },
  { name: 'recorded', files: [RECORDED] },
  { name: 'collected', files: [MINIMAL, COLLECTED] },
  { name: 'policy elsewhere', files: [join(VALUES, 'policy-elsewhere.yaml')] },
];

/** Objects that these values name and the chart does not make. */
export const ELSEWHERE: readonly string[] = [
  ...['inference', 'embeddings', 'orchestration'].flatMap((name) => [
    `Secret ${name}-identity`,
    `Secret gatehouse-${name}-identity`,
  ]),
  'Secret gatehouse-mesh-test-identity',
  'ConfigMap trust-bundle',
  'ConfigMap mesh-policy',
  'ConfigMap next-policy',
  ...['audit-signing', 'redis-password', 'redis-tls', 'pseudonym-keys', 'otlp-tls', 'otlp-headers'].map(
    (name) => `Secret ${name}`,
  ),
  // Kubernetes puts it into every namespace.
  'ConfigMap kube-root-ca.crt',
];

export const tools = await chartTools();
/** The path of Helm; empty where it is missing. */
export const helm = 'helm' in tools ? tools.helm : '';

/** `helm template mesh` in the namespace `models`. @param settings values over those of the files */
export function template(valueFiles: readonly string[], settings: object = {}): Promise<HelmRun> {
  const files = valueFiles.flatMap((file) => ['--values', file]);
  const args = ['template', 'mesh', CHART, '--namespace', 'models', ...files, '--values', '-'];
  return runHelm(helm, args, stringify(settings));
}

const rendered = new Map<string, Promise<HelmRun>>();

/** The objects; what one test has rendered serves the others. @throws what Helm complained of */
export async function render(valueFiles: readonly string[], settings: object = {}): Promise<Manifest[]> {
  const key = JSON.stringify([valueFiles, settings]);
  const running = rendered.get(key) ?? template(valueFiles, settings);
  rendered.set(key, running);
  const { err, out } = await running;
  if (err !== '') throw new Error(err);
  return manifestsOf(out);
}

/** @throws when there is none */
export function find(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.find((each) => each.kind === kind && each.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
}

/** The text of one key of a ConfigMap. @throws when there is none */
export function textOf(manifests: readonly Manifest[], name: string, key: string): string {
  const text = find(manifests, 'ConfigMap', name).data?.[key];
  if (text === undefined) throw new Error(`no ${key} in ConfigMap ${name}`);
  return text;
}

/** The pods of a Deployment or Job. @throws when there are none */
export function podOf(manifests: readonly Manifest[], kind: string, name: string): Pod {
  const pod = find(manifests, kind, name).spec?.template?.spec;
  if (pod === undefined) throw new Error(`no pods in ${kind} ${name}`);
  return pod;
}
