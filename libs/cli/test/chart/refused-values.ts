const RULE = {
  id: 'x',
  effect: 'ALLOW',
  identities: ['spiffe://example.org/a'],
  permissions: ['models.read'],
};
const LIMIT = { id: 'daily', per: ['identity'], tokensPerDay: 5, store: 'SHARED' };
const PSEUDONYMS = { id: 'mails', detectors: ['EMAIL'], action: 'PSEUDONYMISE', key: 'mail' };
const DOCUMENT = 'version: "1"\ntrustDomains: [example.org]\nrules: []\n';
const SIGNERS = { keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'abc' }] };
const scaled = (more: object) => ({ inference: { autoscaling: { enabled: true, ...more } } });

/** Values that are refused, with the sentence that says why. */
export const REFUSED: readonly (readonly [sentence: string, settings: object])[] = [
  [
    'telemetry.tls.clientCertificate is true and telemetry.tls.secret is missing: set it to the Secret',
    { telemetry: { tls: { clientCertificate: true } } },
  ],
  [
    'telemetry.otlpEndpoint is http://c:4317 and telemetry.tls or telemetry.headers is given: set it to an https URL.',
    { telemetry: { otlpEndpoint: 'http://c:4317', headers: { secret: 'tenant' } } },
  ],
  [
    'collector.image is missing: set it to an image of the OpenTelemetry collector',
    { telemetry: { sampleRatio: 1 }, collector: { enabled: true, endpoint: 'jaeger:4317' } },
  ],
  [
    'collector.endpoint is missing: set it to where kept traces go',
    { telemetry: { sampleRatio: 1 }, collector: { enabled: true, image: 'otel' } },
  ],
  [
    'collector.enabled is true and telemetry.sampleRatio is 0.01: set it to 1',
    { collector: { enabled: true, image: 'otel', endpoint: 'jaeger:4317' } },
  ],
  [
    'collector.enabled is true and telemetry.otlpEndpoint is given: leave it empty',
    {
      telemetry: { sampleRatio: 1, otlpEndpoint: 'http://c:4317' },
      collector: { enabled: true, image: 'otel', endpoint: 'jaeger:4317' },
    },
  ],
  ['images.registry is missing: set it to the registry', { images: { registry: '' } }],
  ["images.tag is missing: set it to the images' tag, or set each of", { images: { tag: '' } }],
  ['trustDomain is missing: set it to the SPIFFE trust domain', { trustDomain: '' }],
  ['identity.source is missing: set it to secret', { identity: { source: '' } }],
  [
    "at '/identity/source': value must be one of '', 'secret', 'cert-manager', 'cert-manager-csi', 'workload-api'",
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
    'policy.existingConfigMap is mine, so policy.trustDomains would not be used: leave them out, or the whole policy.',
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
  [
    "identity.source is workload-api and identity.workloadApi.volume is missing: set it to the volume with the agent's socket",
    { identity: { source: 'workload-api', workloadApi: { volume: { csi: null } } } },
  ],
  [
    'networkPolicy.egress.enabled is true and networkPolicy.enabled is false: nothing would be restricted',
    { networkPolicy: { enabled: false, egress: { enabled: true } } },
  ],
  // Scaling
  [
    'inference.replicas is 9 and inference.autoscaling.enabled is true, from 2 to 6 pods: leave replicas out',
    { inference: { replicas: 9, autoscaling: { enabled: true } } },
  ],
  [
    'inference.autoscaling.enabled is true and each of its targets is 0: set one of them.',
    scaled({ targetCpuPercent: 0 }),
  ],
  [
    'inference.autoscaling.by is keda and keda.prometheusAddress is missing: set it, because targetQueueDepth is asked',
    scaled({ by: 'keda', targetQueueDepth: 4 }),
  ],
  ["at '/inference/autoscaling/by': value must be one of 'hpa', 'keda'", scaled({ by: ['hpa', 'keda'] })],
  [
    "at '/orchestration/autoscaling': additional properties 'targetQueueDepth' not allowed",
    { orchestration: { autoscaling: { targetQueueDepth: 4 } } },
  ],
  // The record of decisions
  [
    'audit.storage.size is 1Gi, less than what audit.limits keep: segmentsKeptMax and one more of segmentBytesMax need 1600Mi.',
    { audit: { enabled: true, storage: { size: '1Gi' } } },
  ],
  [
    'audit.storage.kind is claim and audit.storage.claim is missing',
    { audit: { enabled: true, storage: { kind: 'claim' } } },
  ],
  [
    'audit.storage.kind is hostPath and audit.storage.path is missing',
    { audit: { enabled: true, storage: { kind: 'hostPath' } } },
  ],
  [
    'policy.audit is given and audit.enabled is false: sidecars would refuse every call',
    { policy: { audit: { answerWaits: true } } },
  ],
  // The store of shared limits
  [
    'sharedLimits.redis.address is missing: limit daily of policy.limits is counted in the shared store',
    { policy: { limits: [LIMIT] } },
  ],
  [
    'sharedLimits.redis.address is missing and password.secret of it is given',
    { sharedLimits: { redis: { password: { secret: 'redis' } } } },
  ],
  [
    'sharedLimits.redis.username is mesh and sharedLimits.redis.password.secret is missing',
    { sharedLimits: { redis: { address: 'redis:6379', username: 'mesh' } } },
  ],
  [
    'sharedLimits.redis.tls.clientCertificate is true and sharedLimits.redis.tls.secret is missing',
    { sharedLimits: { redis: { address: 'redis:6379', tls: { clientCertificate: true } } } },
  ],
  [
    "additional properties 'passwordText' not allowed",
    { sharedLimits: { redis: { passwordText: 'hunter2' } } },
  ],
  // A policy that would not load
  [
    'policy.rules: x names the permission inference.generat, which no method has: expected one of admin.drain,',
    { policy: { rules: [{ ...RULE, permissions: ['inference.generat'] }] } },
  ],
  [
    'policy.rules: x names the method gatehouse.inference.v1.InferenceService/Genrate, which the contract does not have',
    {
      policy: {
        rules: [
          {
            ...RULE,
            methods: [
              'gatehouse.inference.v1.InferenceService/Genrate',
              'gatehouse.inference.v1.ModelService/*',
            ],
          },
        ],
      },
    },
  ],
  ['policy.rules has two entries with the id x: give each its own.', { policy: { rules: [RULE, RULE] } }],
  [
    'policy: rule x names spiffe://other.example/a, whose trust domain is neither trustDomain nor one of',
    { policy: { rules: [{ ...RULE, identities: ['spiffe://other.example/a'] }] } },
  ],
  [
    'policy.rules: rule x asks for a token of staff, which is not the name of one of policy.jwtIssuers.',
    { policy: { rules: [{ ...RULE, token: { issuer: 'staff' } }] } },
  ],
  [
    'policy.protections: protection mails makes pseudonyms with the key mail, which is not the name of one of protection.keys.',
    { policy: { protections: [PSEUDONYMS] } },
  ],
  [
    'policy.document does not load: rule is unknown, expected one of version, trustDomains,',
    { policy: { document: `${DOCUMENT}rule: []\n` } },
  ],
  ['policy.document does not load: version is missing.', { policy: { document: DOCUMENT.slice(13) } }],
  ['policy.document is not YAML: ', { policy: { document: 'version: [' } }],
  [
    'policy.document includes other files, which values cannot hold',
    { policy: { document: `${DOCUMENT}includes: [more.yaml]\n` } },
  ],
  [
    'policy.document is given, so policy.rules would not be used: leave them out, or the whole policy.',
    { policy: { document: DOCUMENT, rules: [RULE] } },
  ],
  [
    'policy.document and policy.existingConfigMap are both given',
    { policy: { document: DOCUMENT, existingConfigMap: 'mine' } },
  ],
  [
    'policy.shadow.document and policy.shadow.existingConfigMap are both given',
    { policy: { shadow: { document: DOCUMENT, existingConfigMap: 'mine' } } },
  ],
  [
    'policy.signature is missing: policy.signers ask for one',
    { policy: { document: DOCUMENT, signers: SIGNERS } },
  ],
  [
    'policy.shadow.signature is missing: policy.signers ask for one',
    { policy: { existingConfigMap: 'mine', signers: SIGNERS, shadow: { document: DOCUMENT } } },
  ],
  [
    'policy.signers is given and nobody has signed a policy that is made from values',
    { policy: { signers: SIGNERS } },
  ],
  [
    'policy.signature is given and policy.signers is missing: set it to the JWKS of those who may sign',
    { policy: { document: DOCUMENT, signature: 'abc..def' } },
  ],
  [
    "at '/policy/signers/keys/0/d': 'not' failed",
    {
      policy: {
        document: DOCUMENT,
        signature: 'abc..def',
        signers: { keys: [{ ...SIGNERS.keys[0], d: 'secret' }] },
      },
    },
  ],
  ["additional properties 'answersWait' not allowed", { policy: { audit: { answersWait: true } } }],
];
