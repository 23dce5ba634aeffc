import type { Container, Manifest, Pod } from './helm.ts';

/** What Pod Security "restricted" lets a pod mount. */
const VOLUMES = [
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
];

/** What in the pods of a release breaks Pod Security "restricted", or names what is not there; a line each. */
export function podProblems(manifests: readonly Manifest[], elsewhere: readonly string[]): string[] {
  const exists = new Set([
    ...elsewhere,
    ...manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`),
  ]);
  return manifests.flatMap(({ kind, metadata, spec }) => {
    const pod = kind === 'Pod' ? (spec as unknown as Pod) : spec?.template?.spec;
    if (pod === undefined) return [];
    const claims = (spec?.volumeClaimTemplates ?? []).map((claim) => claim.metadata.name);
    return [...security(pod), ...references(pod, exists, claims)].map(
      (problem) => `${metadata.name}: ${problem}`,
    );
  });
}

function containersOf(pod: Pod): readonly Container[] {
  return [...(pod.initContainers ?? []), ...pod.containers];
}

function security(pod: Pod): string[] {
  const problems: string[] = [];
  if (pod.hostNetwork || pod.hostPID || pod.hostIPC) problems.push("the pod shares what is the host's");
  if (pod.automountServiceAccountToken !== false) problems.push('the token is mounted');
  for (const { name, ...source } of pod.volumes ?? []) {
    const kinds = Object.keys(source);
    if (kinds.length !== 1 || !VOLUMES.includes(kinds[0] ?? ''))
      problems.push(`volume ${name} is ${kinds.join()}`);
  }
  for (const container of containersOf(pod)) {
    if (!isRestricted(container)) problems.push(`container ${container.name} is not restricted`);
    if (!container.resources?.requests?.memory)
      problems.push(`container ${container.name} requests no memory`);
  }
  return problems;
}

function isRestricted({ securityContext: context = {} }: Container): boolean {
  return (
    context.allowPrivilegeEscalation === false &&
    context.readOnlyRootFilesystem === true &&
    context.runAsNonRoot === true &&
    context.runAsUser !== 0 &&
    context.privileged !== true &&
    context.seccompProfile?.type === 'RuntimeDefault' &&
    JSON.stringify(context.capabilities) === '{"drop":["ALL"]}'
  );
}

function references(pod: Pod, exists: ReadonlySet<string>, claims: readonly string[]): string[] {
  const needed = [`ServiceAccount ${pod.serviceAccountName}`];
  for (const { configMap, projected } of pod.volumes ?? []) {
    for (const source of [{ configMap }, ...(projected?.sources ?? [])]) {
      if (source.configMap) needed.push(`ConfigMap ${source.configMap.name}`);
      if ('secret' in source && source.secret) needed.push(`Secret ${source.secret.name}`);
    }
  }
  const volumes = new Set([...claims, ...(pod.volumes ?? []).map(({ name }) => name)]);
  const mounted = new Set(
    containersOf(pod).flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name)),
  );
  return [
    ...needed.filter((each) => !exists.has(each)).map((each) => `${each} is not there`),
    ...[...mounted].filter((name) => !volumes.has(name)).map((name) => `volume ${name} is not there`),
    ...[...volumes].filter((name) => !mounted.has(name)).map((name) => `volume ${name} is not mounted`),
  ];
}
