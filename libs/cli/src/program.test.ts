import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ROOT, runCli } from '../test/run-cli.ts';

const POLICY = join(ROOT, 'libs/local-mesh/policy.yaml');

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cli-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

describe('gatehouse', () => {
  it.each([
    ['an unknown command', ['strat'], 'start'],
    ['an unknown option', ['start', '--twice'], '--twice'],
    ['a port that is none', ['start', '--port-base', '99999'], 'expected a port from 0 to 65530'],
    [
      'a collector that is no URL',
      ['start', '--otlp', 'jaeger'],
      'expected a URL such as http://127.0.0.1:4317',
    ],
    ['an unknown method', ['call', 'InferenceService/Generat'], 'did you mean InferenceService/Generate?'],
    [
      'a method that several services have',
      ['call', 'Health/Check'],
      '--to is missing, expected one of inference',
    ],
    ['data that is not JSON', ['call', 'InferenceService/Generate', '--data', '{'], '--data is not JSON'],
    [
      'data of the wrong type',
      ['call', 'InferenceService/Generate', '--data', '{"model": 7}'],
      'GenerateRequest.model from JSON: expected string, got 7',
    ],
    [
      'a list for a method that takes one message',
      ['call', 'InferenceService/Generate', '--data', '[{}, {}]'],
      'expected one object',
    ],
    [
      'a file that is not there',
      ['call', 'InferenceService/Generate', '--data', '@none.json'],
      'none.json cannot be read (ENOENT)',
    ],
    [
      'an unknown caller',
      ['call', 'InferenceService/Generate', '--as', 'boss'],
      'expected one of developer, intern',
    ],
    ['a call without a mesh', ['call', 'InferenceService/Generate'], 'no local mesh is running'],
    ['circuits without a mesh', ['circuits'], 'no local mesh is running'],
    [
      'an identity that is none',
      ['policy', 'explain', '--from', 'bob', '--to', 'InferenceService/Generate'],
      '--from bob is no identity',
    ],
  ])(
    'answers %s with exit code 2 and a sentence that says what is expected',
    async (_what, args, sentence) => {
      const { exitCode, out, err } = await runCli(folder, ...args);
      expect(err).toContain(sentence);
      expect(exitCode).toBe(2);
      expect(out).toBe('');
    },
  );

  it('lists every method of the contracts, as text and as JSON', async () => {
    const text = await runCli(folder, 'methods');
    const json = await runCli(folder, 'methods', '--json');
    expect(JSON.parse(json.out)).toEqual(text.out.trim().split('\n'));
    expect(text.out).toContain('gatehouse.embeddings.v1.EmbeddingsService/StreamEmbed');
  });
});

describe('gatehouse policy explain --policy', () => {
  const ask = (from: string, ...more: string[]) =>
    runCli(
      folder,
      'policy',
      'explain',
      '--policy',
      POLICY,
      '--from',
      from,
      '--to',
      'InferenceService/Generate',
      ...more,
    );

  it('says which rule of the shipped policy allows the developer to generate', async () => {
    const { exitCode, out } = await ask('developer', '--model', 'smollm2-135m-instruct');
    expect(out).toContain('allowed by rule developer-may-call-everything');
    expect(exitCode).toBe(0);
  });

  it('says why the intern is refused, rule by rule, with exit code 1', async () => {
    const { exitCode, out } = await ask('intern', '--json');
    expect(exitCode).toBe(1);
    const explained = JSON.parse(out) as { allowed: boolean; rules: { ruleId: string; mismatch: string }[] };
    expect(explained.allowed).toBe(false);
    const looking = explained.rules.find(({ ruleId }) => ruleId === 'intern-may-look-at-models');
    expect(looking?.mismatch).toContain('does not name the method');
  });

  it('keeps orchestration to the models that ship with the mesh', async () => {
    expect((await ask('orchestration', '--model', 'smollm2-135m-instruct')).exitCode).toBe(0);
    expect((await ask('orchestration', '--model', 'another')).exitCode).toBe(1);
  });
});

describe('gatehouse policy test', () => {
  const GENERATE = 'to: gatehouse.inference.v1.InferenceService/Generate';
  const intern = 'from: spiffe://gatehouse.local/ns/local/sa/intern';

  it('passes when the policy decides as the file expects', async () => {
    const cases = await file('cases.yaml', `- { ${intern}, ${GENERATE}, expect: deny }\n`);
    const { exitCode, out } = await runCli(folder, 'policy', 'test', cases, '--policy', POLICY);
    expect(out).toContain('1 of 1 expectations hold');
    expect(exitCode).toBe(0);
  });

  it('names the line of an expectation that does not hold, with exit code 1', async () => {
    const cases = await file(
      'cases.yaml',
      `- { ${intern}, ${GENERATE}, expect: deny }\n- { ${intern}, ${GENERATE}, expect: allow }\n`,
    );
    const { exitCode, out } = await runCli(folder, 'policy', 'test', cases, '--policy', POLICY);
    expect(out).toContain(
      `${cases}:2: got refused (DENIED_BY_RULE) by rule intern-may-not-run-models, expected allow`,
    );
    expect(exitCode).toBe(1);
  });

  it('refuses a policy with a typo, naming the key and what was meant', async () => {
    const policy = await file(
      'policy.yaml',
      'version: v\ntrustDomains: [gatehouse.local]\nrules:\n  - { id: a, efect: ALLOW, identities: ["spiffe://gatehouse.local/a"], permissions: [models.reed] }\n',
    );
    const cases = await file('cases.yaml', `- { ${intern}, ${GENERATE}, expect: deny }\n`);
    const { exitCode, err } = await runCli(folder, 'policy', 'test', cases, '--policy', policy);
    expect(err).toContain('rules[0].efect');
    expect(err).toContain('did you mean models.read?');
    expect(exitCode).toBe(2);
  });
});

describe('gatehouse policy diff and sign', () => {
  const document = (version: string, models: string): string =>
    `version: ${version}
trustDomains: [gatehouse.local]
includes: [team.yaml]
rules:
  - { id: a, effect: ALLOW, identities: ["spiffe://gatehouse.local/dev"], permissions: [inference.generate], models: [${models}] }
`;
  const team =
    'rules: [{ id: b, effect: ALLOW, identities: ["spiffe://gatehouse.local/web"], permissions: [models.read] }]\n';

  it('say in words who gains and who loses what, with exit code 1 where there is a difference', async () => {
    await file('team.yaml', team);
    const [before, after] = [
      await file('a.yaml', document('v1', 'm')),
      await file('b.yaml', document('v2', 'n')),
    ];
    const { exitCode, out } = await runCli(folder, 'policy', 'diff', before, after);
    expect(out).toContain('gains InferenceService/Generate, InferenceService/StreamGenerate: model n');
    expect(out).toContain('loses InferenceService/Generate, InferenceService/StreamGenerate: model m');
    expect(exitCode).toBe(1);
    const same = await runCli(folder, 'policy', 'diff', before, before);
    expect(same.out).toContain('nobody gains or loses anything');
    expect(same.exitCode).toBe(0);
  });

  it('write a signature beside the document that a sidecar takes, and none without a private key', async () => {
    await file('team.yaml', team);
    const policy = await file('p.yaml', document('v1', 'm'));
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const key = await file('key.jwk', JSON.stringify(privateKey.export({ format: 'jwk' })));
    const open = publicKey.export({ format: 'jwk' });
    const signers = await file('signers.json', JSON.stringify({ keys: [open] }));
    const signed = await runCli(folder, 'policy', 'sign', policy, '--key', key);
    expect(signed.out).toContain('and what it includes: 1');
    const check = async (): Promise<string> => {
      const config = await file(
        'sidecar.yaml',
        `name: relay
identity: { certificateFile: /no/c.pem, keyFile: /no/k.pem, bundleFile: /no/b.pem, trustDomain: gatehouse.local }
inbound: { listen: "127.0.0.1:0", app: "unix:/tmp/app.sock" }
policyFile: ${policy}
policySigners: ${signers}
telemetry: { listen: "127.0.0.1:0" }
admin: { listen: "unix:/tmp/admin.sock" }
`,
      );
      return (await runCli(folder, 'sidecar', 'check', config)).out;
    };
    expect(await check()).not.toContain('policy');
    await file('team.yaml', team.replace('web', 'wep'));
    expect(await check()).toContain('p.yaml.jws: the signature does not hold');
    const none = await runCli(
      folder,
      'policy',
      'sign',
      policy,
      '--key',
      await file('open.jwk', JSON.stringify(open)),
    );
    expect(none.err).toContain('expected a private key as JWK');
    expect(none.exitCode).toBe(2);
  });
});

describe('gatehouse sidecar check', () => {
  it('reports every problem of a configuration at once, with exit code 1', async () => {
    const config = await file('sidecar.yaml', 'name: Relay\nidentity: {}\ntelemetry: { listen: nowhere }\n');
    const { exitCode, out } = await runCli(folder, 'sidecar', 'check', config, '--json');
    const { valid, problems } = JSON.parse(out) as { valid: boolean; problems: string[] };
    expect(valid).toBe(false);
    expect(problems.join('\n')).toMatch(/name: .*Relay/);
    expect(problems.join('\n')).toContain('identity.certificateFile: ');
    expect(problems.join('\n')).toContain('telemetry.listen');
    expect(exitCode).toBe(1);
  });

  it('looks into the files that a configuration names', async () => {
    const config = await file(
      'sidecar.yaml',
      `name: relay
identity: { certificateFile: /no/c.pem, keyFile: /no/k.pem, bundleFile: /no/b.pem, trustDomain: gatehouse.local }
inbound: { listen: "127.0.0.1:0", app: "unix:/tmp/app.sock" }
policyFile: /no/policy.yaml
telemetry: { listen: "127.0.0.1:0" }
admin: { listen: "unix:/tmp/admin.sock" }
`,
    );
    const { exitCode, out } = await runCli(folder, 'sidecar', 'check', config);
    expect(out).toContain('identity.keyFile: /no/k.pem cannot be read (ENOENT)');
    expect(out).toContain('policyFile: /no/policy.yaml cannot be read (ENOENT)');
    expect(exitCode).toBe(1);
  });
});
