import { formatProblem } from '@gatehouse/documents';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { parseConfig } from './parse.ts';

const GOOD = {
  name: 'inference',
  identity: {
    certificateFile: '/run/id/tls.crt',
    keyFile: '/run/id/tls.key',
    bundleFile: '/run/id/bundle.pem',
    trustDomain: 'gatehouse.local',
  },
  inbound: { listen: '0.0.0.0:8443', app: 'unix:/run/app.sock' },
  egress: { listen: 'unix:/run/egress.sock' },
  upstreams: [
    { name: 'embeddings', identity: 'spiffe://gatehouse.local/sa/embeddings', endpoints: ['10.0.0.7:8443'] },
  ],
  policyFile: '/etc/gatehouse/policy.yaml',
  telemetry: { listen: '0.0.0.0:9464' },
  admin: { listen: 'unix:/run/admin.sock' },
};

function problemsOf(config: unknown): string[] {
  const parsed = parseConfig(stringify(config), 'sidecar.yaml');
  return 'problems' in parsed ? parsed.problems.map(formatProblem) : [];
}

/** A good configuration with one value, at a path as `upstreams.0.name`, that is not; undefined leaves the key out. */
function withValue(path: string, value: unknown): unknown {
  const config = structuredClone(GOOD) as unknown as Record<string, unknown>;
  const keys = path.split('.');
  const last = keys.pop() as string;
  let at = config;
  for (const key of keys) at = (at[key] ??= {}) as Record<string, unknown>;
  if (value === undefined) delete at[last];
  else at[last] = value;
  return config;
}

test('a configuration of the required keys alone is complete: every limit has its default', () => {
  const parsed = parseConfig(stringify(GOOD), 'sidecar.yaml');
  expect(parsed).toMatchObject({
    config: {
      telemetry: { sampleRatio: 0.01 },
      contract: { overlayFiles: [] },
      log: { level: 'info' },
      limits: { callsActiveMax: 10_000, heldBytesMax: 67_108_864, attemptsMax: 3, drainMsMax: 25_000 },
    },
  });
});

test('what was read is frozen to its depth', () => {
  const parsed = parseConfig(stringify(GOOD), 'sidecar.yaml');
  if ('problems' in parsed) throw new Error('expected no problems');
  for (const part of [
    parsed.config,
    parsed.config.limits,
    parsed.config.upstreams,
    parsed.config.upstreams[0],
  ])
    expect(Object.isFrozen(part)).toBe(true);
});

/** Each bad value, with what its line must say besides the key: what was found and what is expected. */
const BAD: readonly (readonly [path: string, value: unknown, found: string, expected: string])[] = [
  ['name', 'Inference!', '"Inference!"', 'lower case letters, digits and hyphens'],
  ['name', undefined, 'missing', 'text'],
  ['identity.trustDomain', 'Gatehouse Local', '"Gatehouse Local"', 'a trust domain like example.org'],
  ['identity.keyFile', '', '""', 'a path'],
  ['identity.bundleFile', undefined, 'got nothing', 'a path, or workloadApi'],
  ['identity.spiffeId', 'spiffe://gatehouse.local/sa/a', 'got "spiffe', 'only with workloadApi'],
  ['inbound.listen', '8443', '"8443"', 'an address like'],
  ['inbound.listen', '127.0.0.1:70000', '"127.0.0.1:70000"', 'a port up to 65535'],
  ['inbound.listen', 8443, '8443', 'text'],
  ['inbound.app', 'unix:relative.sock', '"unix:relative.sock"', 'an address like unix:/run/app.sock'],
  ['inbound.app', `unix:/${'x'.repeat(120)}`, '"unix:/xxx', 'at most 100 bytes of path'],
  ['inbound.app', `unix:/${'ü'.repeat(60)}`, '"unix:/üüü', 'at most 100 bytes of path'],
  ['egress.listen', '0.0.0.0:8080', '"0.0.0.0:8080"', 'a Unix socket or a loopback address'],
  ['egress.listen', '127.example.org:8080', '"127.example.org:8080"', 'a Unix socket or a loopback address'],
  ['upstreams.0.name', 'Embeddings', '"Embeddings"', 'a name like inference'],
  ['upstreams.0.identity', 'embeddings', '"embeddings"', 'a SPIFFE ID like'],
  ['upstreams.0.endpoints', [], '[]', 'at least one endpoint'],
  ['upstreams.0.endpoints.0', 'https://10.0.0.7', '"https://10.0.0.7"', 'an address like'],
  [
    'upstreams.0',
    { name: 'a', identity: 'spiffe://gatehouse.local/sa/a' },
    'got nothing',
    'one of endpoints, dns and service',
  ],
  ['upstreams.0.port', 8443, 'got nothing', 'service and port together'],
  ['kubernetes.apiServer', 'http://10.0.0.1', 'got', 'a URL like https://'],
  ['policyFile', undefined, 'got nothing', 'a policy file'],
  ['contract.overlayFiles', 'overlay.yaml', '"overlay.yaml"', 'a list'],
  ['telemetry.otlpEndpoint', '127.0.0.1:4317', '"127.0.0.1:4317"', 'a URL like http://127.0.0.1:4317'],
  ['telemetry.sampleRatio', 2, 'got 2', '0 to 1'],
  ['admin.listen', '0.0.0.0:9000', '"0.0.0.0:9000"', 'the admin port has no authentication'],
  ['limits.callsActiveMax', 0, 'got 0', 'a whole number from 1 to 1000000'],
  ['limits.attemptsMax', 2.5, 'got 2.5', 'a whole number from 1 to 10'],
  ['limits.drainMsMax', '25s', '"25s"', 'a whole number from 0 to 3600000'],
  ['limits.heldBytesMax', 1024, 'got 1024', 'a whole number from 65536 to 1073741824'],
  ['log.level', 'loud', '"loud"', '"debug"|"info"|"warn"|"error"'],
];

describe('a bad value is refused alone, with its key, what was found and what is expected', () => {
  test.each(BAD)('%s: %j', (path, value, found, expected) => {
    const problems = problemsOf(withValue(path, value));
    expect(problems).toHaveLength(1);
    const key = path.replace(/\.(\d+)/g, '[$1]');
    expect(problems[0]).toMatch(/^sidecar\.yaml:\d+:\d+: /);
    expect(problems[0]).toContain(`: ${key}: `);
    expect(problems[0]).toContain(found);
    expect(problems[0]).toContain(expected);
  });
});

test('all problems are reported at once, those between keys included', () => {
  const config = withValue('name', '') as Record<string, unknown>;
  const [upstream] = GOOD.upstreams;
  Object.assign(config, {
    policyFile: undefined,
    upstreams: [upstream, upstream],
    admin: { listen: '0.0.0.0:1' },
    limits: { callsActiveMax: -1, callsActivMax: 3 },
    retries: 3,
  });
  const keys = problemsOf(config).map((line) => line.split(': ')[1]);
  expect(new Set(keys)).toEqual(
    new Set([
      'admin.listen',
      'limits.callsActivMax',
      'limits.callsActiveMax',
      'name',
      'policyFile',
      'retries',
      'upstreams[1].name',
    ]),
  );
});

test('a sidecar with neither direction is refused', () => {
  const { inbound: _inbound, egress: _egress, ...neither } = GOOD;
  expect(problemsOf(neither)).toEqual(['sidecar.yaml:1:1: got nothing, expected inbound, egress or both']);
});

test.each(['telemetry', 'audit'])(
  'secrets towards the collector of %s need TLS, and a certificate its key',
  (part) => {
    const of = (keys: object) => {
      const given = { ...GOOD.telemetry, folder: '/var/audit', ...keys };
      const { listen, folder, ...rest } = given;
      return problemsOf({ ...GOOD, [part]: part === 'audit' ? { folder, ...rest } : { listen, ...rest } });
    };
    const tls = { caFile: '/run/ca.pem', certificateFile: '/run/tls.crt', keyFile: '/run/tls.key' };
    const secure = { otlpEndpoint: 'https://collector:4317', otlpTls: tls, otlpHeadersFile: '/run/headers' };
    expect(of(secure)).toEqual([]);
    for (const endpoint of [undefined, 4317, 'http://collector:4317']) {
      const problems = of({ ...secure, otlpEndpoint: endpoint });
      expect(problems.at(-1)).toContain(`${part}.otlpEndpoint: got`);
      expect(problems.at(-1)).toContain('expected an https URL: certificates and headers need TLS');
    }
    const [half] = of({ ...secure, otlpTls: { ...tls, keyFile: undefined } });
    expect(half).toContain(`${part}.otlpTls: got`);
    expect(half).toContain('expected certificateFile and keyFile together');
    for (const host of ['127.0.0.1', '[::1]']) {
      const [address] = of({ ...secure, otlpEndpoint: `https://${host}:4317` });
      expect(address).toContain('expected a host name');
    }
  },
);

test('a document that is no mapping, or empty, or no YAML is refused with what is wrong', () => {
  expect(problemsOf('text')[0]).toContain('expected a mapping');
  expect(problemsOf(null).length).toBeGreaterThan(3);
  expect(problemsOf({ ...GOOD, upstreams: [null, 5] })).toHaveLength(2);
  expect(parseConfig('name: [', 'sidecar.yaml')).toMatchObject({
    problems: [{ line: 1, message: expect.stringContaining('not YAML') }],
  });
});
