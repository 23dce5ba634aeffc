/** Which values the chart takes, and what it says to others. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadContractFiles, policyJsonSchema, sidecarConfigJsonSchema } from '@gatehouse/sidecar';
import { describe, expect, test } from 'vitest';
import { embeddingsConfig } from '../../../services/embeddings/src/config.ts';
import { inferenceConfig } from '../../../services/inference/src/config.ts';
import { CHART, runHelm } from './chart/helm.ts';
import { REFUSED } from './chart/refused-values.ts';
import { helm, MINIMAL, template, tools } from './chart/render-chart.ts';
import { valuesPage } from './chart/values-page.ts';

describe.skipIf('missing' in tools)('helm template refuses with one sentence', () => {
  test.each(REFUSED)('%s', async (sentence, settings) => {
    const run = await template([MINIMAL], settings);
    expect(run).toMatchObject({ code: 1, out: '' });
    expect(run.err).toContain(sentence);
    // Helm's own first and last line are not ours; what its schema says begins with a dash.
    const said = run.err
      .split('\n')
      .filter((line) => line !== '' && !/^(Error:|Use --debug|gatehouse:)/.test(line));
    expect(said).toHaveLength(1);
  });

  test('everything that is missing at once', async () => {
    const run = await runHelm(helm, ['template', 'mesh', CHART]);
    expect(run.err.split('\n').filter((line) => / is missing: /.test(line))).toHaveLength(5);
  });
});

test('every value is documented, and VALUES.md says what values.yaml does', async () => {
  const { page, undocumented } = valuesPage(await readFile(join(CHART, 'values.yaml'), 'utf8'));
  expect(undocumented).toEqual([]);
  await expect(page).toMatchFileSnapshot(join(CHART, 'VALUES.md'));
});

/** Objects that a place of the schema describes and that take keys of any name, or of a kind that is Kubernetes' and not ours. */
const OPEN = [
  'global',
  'policy.signers.keys[]',
  'models.volume',
  'identity.workloadApi.volume',
  'tolerations[]',
  'orchestration.graphs.*',
  'networkPolicy.callers[]',
];

test('the schema of the values takes no key that it does not know, at any level', async () => {
  const schema = JSON.parse(await readFile(join(CHART, 'values.schema.json'), 'utf8')) as SchemaNode;
  const open = openObjects(schema, '');
  const unexpected = open.filter(
    (at) => !OPEN.some((known) => at.endsWith(known)) && !/egress\.\w+\[\]$/.test(at),
  );
  expect(unexpected).toEqual([]);
  const planted = { type: 'object', properties: { a: { items: { type: 'object' } } } };
  expect(openObjects(planted, '')).toEqual(['', 'a[]']);
});

test('the methods and permissions that Helm knows are the contract’s', async () => {
  const loaded = await loadContractFiles({ overlayFiles: [] });
  if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
  const methods = [...loaded.contract.methods];
  const permissions = new Set(methods.map(([, { permission }]) => permission));
  expect(JSON.parse(await readFile(join(CHART, 'files/contract.json'), 'utf8'))).toEqual({
    permissions: [...permissions].toSorted(),
    methods: methods.map(([path]) => path.slice(1)).toSorted(),
  });
});

test('the schema of the values repeats what the programs enforce', async () => {
  type Schema = { readonly properties: Readonly<Record<string, unknown>> };
  const { $defs: copies } = JSON.parse(await readFile(join(CHART, 'values.schema.json'), 'utf8')) as {
    readonly $defs: Readonly<Record<string, unknown>>;
  };
  const sidecar = sidecarConfigJsonSchema() as Schema;
  const policy = policyJsonSchema() as Schema;
  const originals: Readonly<Record<string, unknown>> = {
    sidecarLimits: sidecar.properties['limits'],
    policyRules: policy.properties['rules'],
    policyJwtIssuers: policy.properties['jwtIssuers'],
    policyLimits: policy.properties['limits'],
    policyDetectors: policy.properties['detectors'],
    policyProtections: policy.properties['protections'],
    policyAudit: policy.properties['audit'],
    upstreams: sidecar.properties['upstreams'],
    inferenceModels: inferenceConfig.shape.models.toJSONSchema({ io: 'input' }),
    embeddingsModels: embeddingsConfig.shape.models.toJSONSchema({ io: 'input' }),
  };
  for (const [name, original] of Object.entries(originals)) {
    const { $schema: _, ...plain } = JSON.parse(JSON.stringify(original)) as Record<string, unknown>;
    expect({ [name]: copies[name] }).toEqual({ [name]: plain });
  }
  // Files of the record are the chart's; its numbers are its user's.
  const { properties } = sidecar.properties['audit'] as Schema;
  const numbers = Object.fromEntries(
    Object.entries(properties).filter(
      ([, value]) => (value as { readonly type: unknown }).type === 'integer',
    ),
  );
  expect(copies['auditLimits']).toEqual({ type: 'object', properties: numbers, additionalProperties: false });
});

type SchemaNode = {
  readonly type?: unknown;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: boolean | SchemaNode;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
  readonly $defs?: Readonly<Record<string, SchemaNode>>;
};

/** The places below a schema that describe objects and take further keys, of which they say nothing. */
function openObjects(node: SchemaNode, at: string): string[] {
  const { properties = {}, additionalProperties: further, items, anyOf = [], $defs = {} } = node;
  const isOpen = node.type === 'object' && (further === undefined || further === true);
  const join = (key: string) => (at === '' ? key : `${at}.${key}`);
  return [
    ...(isOpen ? [at] : []),
    ...Object.entries({ ...properties, ...$defs }).flatMap(([key, each]) => openObjects(each, join(key))),
    ...(typeof further === 'object' ? openObjects(further, join('*')) : []),
    ...(items ? openObjects(items, `${at}[]`) : []),
    ...anyOf.flatMap((each) => openObjects(each, at)),
  ];
}
