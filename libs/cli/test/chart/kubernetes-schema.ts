import { readFile } from 'node:fs/promises';
import type { Manifest } from './helm.ts';

/** What Kubernetes' OpenAPI 2.0 document uses of JSON Schema. */
type Schema = {
  readonly $ref?: string;
  readonly type?: string;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly 'x-kubernetes-group-version-kind'?: readonly {
    readonly group: string;
    readonly version: string;
    readonly kind: string;
  }[];
};

export type KubernetesSchemas = {
  /** What is wrong with an object, a line each: keys that the kind does not have, required ones that lack, wrong types. */
  problems(manifest: Manifest): string[];
};

const QUANTITY = '#/definitions/io.k8s.apimachinery.pkg.api.resource.Quantity';

/** Reads the document of the API server, and checks objects as strictly as it does. */
export async function readKubernetesSchemas(file: string): Promise<KubernetesSchemas> {
  const { definitions } = JSON.parse(await readFile(file, 'utf8')) as {
    readonly definitions: Readonly<Record<string, Schema>>;
  };
  const kinds = new Map<string, Schema>();
  for (const schema of Object.values(definitions)) {
    for (const { group, version, kind } of schema['x-kubernetes-group-version-kind'] ?? []) {
      kinds.set(`${group === '' ? '' : `${group}/`}${version} ${kind}`, schema);
    }
  }
  const check = (schema: Schema, value: unknown, at: string): string[] => {
    if (schema.$ref !== undefined) {
      if (schema.$ref === QUANTITY && typeof value === 'number') return [];
      const target = definitions[schema.$ref.slice('#/definitions/'.length)];
      return target === undefined ? [`${at}: no schema ${schema.$ref}`] : check(target, value, at);
    }
    const wrong = typeProblem(schema, value);
    if (wrong !== null) return [`${at}: ${wrong}`];
    if (Array.isArray(value)) {
      return value.flatMap((item, index) => check(schema.items ?? {}, item, `${at}[${index}]`));
    }
    return typeof value === 'object' ? checkKeys(schema, value as Record<string, unknown>, at) : [];
  };
  const checkKeys = (schema: Schema, value: Record<string, unknown>, at: string): string[] => {
    // An object without properties (metadata of anything, a raw extension) takes any key.
    if (schema.properties === undefined && schema.additionalProperties === undefined) return [];
    const lacking = (schema.required ?? []).filter((key) => value[key] === undefined);
    return [
      ...lacking.map((key) => `${at}.${key}: required`),
      ...Object.entries(value).flatMap(([key, each]) => {
        const known = schema.properties?.[key] ?? schema.additionalProperties;
        return known === undefined ? [`${at}.${key}: unknown key`] : check(known, each, `${at}.${key}`);
      }),
    ];
  };
  return {
    problems: (manifest) => {
      const of = `${manifest.apiVersion} ${manifest.kind}`;
      const schema = kinds.get(of);
      return schema === undefined
        ? [`${of}: no such kind`]
        : check(schema, manifest, `${manifest.kind} ${manifest.metadata.name}`);
    },
  };
}

function typeProblem({ type, format }: Schema, value: unknown): string | null {
  const found = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
  if (found === 'null') return 'is null';
  if (type === undefined || found === type) return null;
  if (format === 'int-or-string' && Number.isInteger(value)) return null;
  if (type === 'integer' && Number.isInteger(value)) return null;
  return `is ${found}, expected ${type}`;
}
