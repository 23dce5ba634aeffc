/** Which values the chart takes, and what it says to others. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { policyJsonSchema, sidecarConfigJsonSchema } from '@gatehouse/sidecar';
import { describe, expect, test } from 'vitest';
import { embeddingsConfig } from '../../../services/embeddings/src/config.ts';
import { inferenceConfig } from '../../../services/inference/src/config.ts';
import { CHART, runHelm } from './chart/helm.ts';
import { helm, MINIMAL, template, tools } from './chart/render-chart.ts';
import { valuesPage } from './chart/values-page.ts';

/** Values that are refused, with the sentence that says why. */
const REFUSED: readonly (readonly [sentence: string, settings: object])[] = [
  ['images.registry is missing: set it to the registry', { images: { registry: '' } }],
  ["images.tag is missing: set it to the images' tag, or set each of", { images: { tag: '' } }],
  ['trustDomain is missing: set it to the SPIFFE trust domain', { trustDomain: '' }],
  ['identity.source is missing: set it to secret', { identity: { source: '' } }],
  [
    "at '/identity/source': value must be one of '', 'secret', 'cert-manager'",
    { identity: { source: 'spire' } },
  ],
  [
    'identity.source is secret and identity.secrets.embeddings is missing: set it to the Secret with tls.crt, tls.key ' +
      'and ca.crt of spiffe://example.org/ns/models/sa/mesh-gatehouse-embeddings.',
    { identity: { secrets: { embeddings: '' } } },
  ],
  [
    'identity.source is cert-manager and identity.certManager.issuerRef.name is missing: set it to an issuer',
    { identity: { source: 'cert-manager' } },
  ],
  ['models.source is missing: inference and embeddings read model files', { models: { source: '' } }],
  ['models.source is none and inference and embeddings read model files', { models: { source: 'none' } }],
  [
    'models.source is volume and models.volume is missing',
    { models: { volume: { persistentVolumeClaim: null } } },
  ],
  [
    'inference.terminationGracePeriodSeconds is 30, too short for the drain: sidecar.limits.drainNoticeMs, ' +
      'sidecar.limits.drainMsMax, a second to notice and inference.drainMsMax need 36.',
    { inference: { terminationGracePeriodSeconds: 30 } },
  ],
  [
    'embeddings.podDisruptionBudget.minAvailable is 2 and embeddings.replicas is 2: no node could ever be emptied',
    { embeddings: { replicas: 2, podDisruptionBudget: { enabled: true, minAvailable: 2 } } },
  ],
  [
    'inference.podDisruptionBudget.minAvailable is 2 and inference.autoscaling.minReplicas is 2',
    {
      inference: {
        replicas: 9,
        autoscaling: { enabled: true },
        podDisruptionBudget: { enabled: true, minAvailable: 2 },
      },
    },
  ],
  [
    'inference.autoscaling.minReplicas is 7, more than its maxReplicas, 6.',
    { inference: { autoscaling: { enabled: true, minReplicas: 7 } } },
  ],
  [
    'orchestration.upstreams.embeddings is missing: embeddings is not installed here',
    { embeddings: { enabled: false } },
  ],
  ['sidecar.ports.telemetry is 8443, as sidecar.ports.mtls', { sidecar: { ports: { telemetry: 8443 } } }],
  [
    'policy.existingConfigMap is mine, so policy.rules, policy.jwtIssuers and policy.trustDomains would not be used',
    { policy: { existingConfigMap: 'mine', trustDomains: ['partner.example'] } },
  ],
  ["additional properties 'replica' not allowed", { replica: 3 }],
  ["at '/inference': additional properties 'replica' not allowed", { inference: { replica: 3 } }],
  [
    "at '/sidecar/limits/attemptsMax': maximum: got 11, want 10",
    { sidecar: { limits: { attemptsMax: 11 } } },
  ],
  ["at '/sidecar/limits': missing property 'drainMsMax'", { sidecar: { limits: { drainMsMax: null } } }],
  [
    "at '/policy/rules/0': additional properties 'methdos' not allowed",
    {
      policy: { rules: [{ id: 'x', effect: 'ALLOW', identities: ['spiffe://example.org/a'], methdos: [] }] },
    },
  ],
  [
    "additional properties 'dimensions' not allowed",
    { embeddings: { models: [{ name: 'a', modelFile: '/a', tokenizerFile: '/b', dimensions: 3 }] } },
  ],
];

describe.skipIf('missing' in tools)('helm template refuses with one sentence', () => {
  test.each(REFUSED)('%s', async (sentence, settings) => {
    const run = await template([MINIMAL], settings);
    expect(run).toMatchObject({ code: 1, out: '' });
    expect(run.err).toContain(sentence);
    const said = run.err.split('\n').filter((line) => /^- at|^[a-zA-Z.]+ is /.test(line));
    expect(said.length).toBeLessThanOrEqual(sentence.startsWith('at ') ? 2 : 1);
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
    inferenceModels: inferenceConfig.shape.models.toJSONSchema({ io: 'input' }),
    embeddingsModels: embeddingsConfig.shape.models.toJSONSchema({ io: 'input' }),
  };
  for (const [name, original] of Object.entries(originals)) {
    const { $schema: _, ...plain } = JSON.parse(JSON.stringify(original)) as Record<string, unknown>;
    expect({ [name]: copies[name] }).toEqual({ [name]: plain });
  }
});
