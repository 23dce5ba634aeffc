import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { ensureHelm } from '../../../tooling/src/external-tools/ensure-helm.ts';
import {
  ensureCustomResources,
  ensureKubernetesSchemas,
} from '../../../tooling/src/external-tools/ensure-kubernetes-schemas.ts';
import {
  type EnsureToolOptions,
  findTool,
  ToolUnavailable,
} from '../../../tooling/src/external-tools/ensure-tool.ts';
import { ROOT } from '../run-cli.ts';

export const CHART = join(ROOT, 'charts/gatehouse');

export type Container = {
  readonly name: string;
  readonly restartPolicy?: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly lifecycle?: {
    readonly preStop: {
      readonly exec?: { readonly command: readonly string[] };
      readonly httpGet?: { readonly path: string; readonly port: number };
    };
  };
  readonly resources?: { readonly requests?: { readonly memory?: string } };
  readonly securityContext?: {
    readonly allowPrivilegeEscalation?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly privileged?: boolean;
    readonly seccompProfile?: { readonly type: string };
    readonly capabilities?: unknown;
  };
  readonly volumeMounts?: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly readOnly?: boolean;
    readonly subPathExpr?: string;
  }[];
};

type Named = { readonly name: string };

export type Pod = {
  readonly serviceAccountName?: string;
  readonly automountServiceAccountToken?: boolean;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly securityContext?: { readonly fsGroup?: number };
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes?: readonly (Named & {
    readonly configMap?: Named;
    readonly projected?: {
      readonly sources: readonly { readonly secret?: Named; readonly configMap?: Named }[];
    };
  })[];
};

/** A Kubernetes object, as far as tests look into it: all of it is checked against the schemas of Kubernetes. */
export type Manifest = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Named;
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly template?: {
      readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
      readonly spec: Pod;
    };
    readonly ingress?: readonly unknown[];
    readonly uris?: readonly string[];
    readonly volumeClaimTemplates?: readonly { readonly metadata: Named }[];
  };
};

type Missing = { readonly missing: string };

export type Tools = { readonly helm: string; readonly kubectl: string; readonly schemas: string } | Missing;

/** Helm, kubectl and the schemas of Kubernetes, downloaded the first time. */
export function chartTools(): Promise<Tools> {
  return unlessMissing(async (options) => ({
    ...(await ensureHelm(options)),
    schemas: await ensureKubernetesSchemas(options),
  }));
}

export type ClusterTools = {
  readonly helm: string;
  readonly kubectl: string;
  /** The folder with `kube-apiserver` and `etcd`. */
  readonly kubernetes: string;
  /** The folder with the custom resources that the chart uses. */
  readonly customResources: string;
};

/** What a real API server needs. Its programs are not built within a test: that takes too long. */
export function clusterTools(): Promise<ClusterTools | Missing> {
  return unlessMissing(async (options) => ({
    ...(await ensureHelm(options)),
    kubernetes: await findTool('kubernetes', options),
    customResources: await ensureCustomResources(options),
  }));
}

/**
 * Where tools can't be had tests are skipped with the reason; on a machine that sets CI, where that would go unseen, it is an
 * error.
 */
async function unlessMissing<Found>(
  have: (options: EnsureToolOptions) => Promise<Found>,
): Promise<Found | Missing> {
  try {
    return await have({
      env: process.env,
      onProgress: (line) => process.stderr.write(`  ${line}\n`),
    });
  } catch (error) {
    if (!(error instanceof ToolUnavailable) || process.env['CI']) throw error;
    process.stderr.write(`not run: ${error.message}\n`);
    return { missing: error.message };
  }
}

export type HelmRun = { readonly code: number; readonly out: string; readonly err: string };

/** Runs Helm, or kubectl, without the settings of whoever runs the tests. @param input for `--values -` */
export function runHelm(helm: string, args: readonly string[], input = ''): Promise<HelmRun> {
  return new Promise((resolve) => {
    const env = { PATH: process.env['PATH'], HOME: '/nonexistent' };
    const child = execFile(helm, args, { env, maxBuffer: 1 << 25 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : 1, out, err }),
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/** The objects of a stream of YAML documents. @throws for text that is not YAML */
export function manifestsOf(stream: string): Manifest[] {
  return parseAllDocuments(stream).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    const value = document.toJS();
    return value === null ? [] : [value as Manifest];
  });
}
