import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ECHO_OVERLAY_FILE, echoDescriptorSet } from '@gatehouse/testing';
import { stringify } from 'yaml';
import type { Candidate, Ground } from './candidate.ts';

export type SidecarVariant = {
  readonly name: string;
  /** Options of Node itself. Default: those that the local mesh uses. */
  readonly nodeFlags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Rules in the policy document, from 1: all but one name callers and methods of their own. */
  readonly rules?: number;
  /** The JWKS file of an issuer whose token the rule then asks for. */
  readonly issuer?: { readonly name: string; readonly audience: string; readonly jwksFile: string };
  /** A CEL expression that must be true as well. */
  readonly condition?: string;
  /** Processes behind one port, each on a core of its own from the second on, and the first core then. Default 1. */
  readonly processes?: number;
  readonly appAddress?: string;
};

/** A small young generation: what calls leave behind dies at once, and the default would be 20 to 60 MB more. */
const NODE_FLAGS = ['--max-semi-space-size=4'];
const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
const SEVERAL = fileURLToPath(new URL('./several-sidecars.ts', import.meta.url));

/** Our sidecar's inbound side with everything on: identity, policy, admission, metrics, traces at 1 %. */
export function sidecar(variant: SidecarVariant): Candidate {
  const { name, nodeFlags = NODE_FLAGS, env = {}, processes = 1 } = variant;
  const program = processes === 1 ? [MAIN] : [SEVERAL, MAIN, String(processes)];
  return {
    name,
    ...(processes > 1 && { cores: '0,1' }),
    version: async () => `(Node ${process.version} ${nodeFlags.join(' ')})`,
    prepare: async (ground, port) => {
      const folder = join(ground.folder, name);
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'echo.binpb'), echoDescriptorSet());
      await writeFile(join(folder, 'policy.yaml'), stringify(policy(ground, variant)));
      const app = variant.appAddress ?? `127.0.0.1:${ground.appPort}`;
      await writeFile(join(folder, 'sidecar.yaml'), stringify(config(ground, folder, { port, app })));
      return {
        command: process.execPath,
        args: [...nodeFlags, ...program, '--config', join(folder, 'sidecar.yaml')],
        env,
      };
    },
  };
}

function config(ground: Ground, folder: string, { port, app }: { port: number; app: string }): object {
  const { certificateFile, keyFile, bundleFile, trustDomain, otlpPort } = ground;
  return {
    name: 'bench',
    identity: { certificateFile, keyFile, bundleFile, trustDomain },
    inbound: { listen: `127.0.0.1:${port}`, app },
    policyFile: join(folder, 'policy.yaml'),
    contract: { descriptorSetFile: join(folder, 'echo.binpb'), overlayFiles: [ECHO_OVERLAY_FILE] },
    telemetry: { listen: '127.0.0.1:0', otlpEndpoint: `http://127.0.0.1:${otlpPort}`, sampleRatio: 0.01 },
    admin: { listen: `unix:${join(folder, 'admin.sock')}` },
  };
}

function policy(ground: Ground, { rules = 1, issuer, condition }: SidecarVariant): object {
  const others = Array.from({ length: rules - 1 }, (_, index) => ({
    id: `other-${index}`,
    effect: 'ALLOW',
    identities: [`spiffe://${ground.trustDomain}/sa/other-${index}`],
    permissions: ['echo.call'],
  }));
  const own = {
    id: 'caller-may-echo',
    effect: 'ALLOW',
    identities: [ground.callerSpiffeId],
    permissions: ['echo.call'],
    ...(issuer && { token: { issuer: issuer.name } }),
    ...(condition && { condition }),
  };
  const { name = '', audience = '', jwksFile = '' } = issuer ?? {};
  const issuers = [
    { name, issuer: `https://${name}`, audiences: [audience], algorithms: ['ES256'], jwksFile },
  ];
  return {
    version: 'bench',
    trustDomains: [ground.trustDomain],
    ...(issuer && { jwtIssuers: issuers }),
    rules: [...others, own],
  };
}
