import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ECHO_OVERLAY_FILE, echoDescriptorSet } from '@gatehouse/testing';
import { stringify } from 'yaml';
import startOptions from '../../../start-options.json' with { type: 'json' };
import type { Candidate, Ground } from './candidate.ts';

export type SidecarVariant = {
  readonly name: string;
  /** Options of Node itself. Default: those of the image. */
  readonly nodeFlags?: readonly string[];
  /** On top of that of the image. */
  readonly env?: Readonly<Record<string, string>>;
  /** What runs: the program of the image, or the sources, whose types Node strips. Default: image. */
  readonly from?: 'image' | 'sources';
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

const SOURCES_MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
const SEVERAL = fileURLToPath(new URL('./several-sidecars.ts', import.meta.url));

/** Our sidecar's inbound side with everything on: identity, policy, admission, metrics, traces at 1 %. */
export function sidecar(variant: SidecarVariant): Candidate {
  const { name, nodeFlags = startOptions.flags, from = 'image', processes = 1 } = variant;
  // An image has no compile cache.
  const env = {
    ...startOptions.env,
    ...(from === 'image' && { NODE_DISABLE_COMPILE_CACHE: '1' }),
    ...variant.env,
  };
  const variables = Object.entries(startOptions.env).map((entry) => entry.join('='));
  return {
    name,
    ...(processes > 1 && { cores: '0,1' }),
    version: async () =>
      `(as its image has it: one bundled program, Node ${process.version} ${[...nodeFlags, ...variables].join(' ')})`,
    prepare: async (ground, port) => {
      const folder = join(ground.folder, name);
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'echo.binpb'), echoDescriptorSet());
      await writeFile(join(folder, 'policy.yaml'), stringify(policy(ground, variant)));
      const app = variant.appAddress ?? `127.0.0.1:${ground.appPort}`;
      await writeFile(
        join(folder, 'sidecar.yaml'),
        stringify(config(ground, folder, { port, app, processes })),
      );
      const main = from === 'image' ? ground.imageMain : SOURCES_MAIN;
      const program = processes === 1 ? [main] : [SEVERAL, main, String(processes)];
      return {
        command: process.execPath,
        args: [...nodeFlags, ...program, '--config', join(folder, 'sidecar.yaml')],
        env,
      };
    },
  };
}

function config(
  ground: Ground,
  folder: string,
  { port, app, processes }: { port: number; app: string; processes: number },
): object {
  const { certificateFile, keyFile, bundleFile, trustDomain, otlpPort } = ground;
  return {
    name: 'bench',
    identity: { certificateFile, keyFile, bundleFile, trustDomain },
    inbound: { listen: `127.0.0.1:${port}`, app },
    policyFile: join(folder, 'policy.yaml'),
    contract: { descriptorSetFile: join(folder, 'echo.binpb'), overlayFiles: [ECHO_OVERLAY_FILE] },
    telemetry: { listen: '127.0.0.1:0', otlpEndpoint: `http://127.0.0.1:${otlpPort}`, sampleRatio: 0.01 },
    // A socket file belongs to one process; a port can be shared as the listener's is.
    admin: { listen: processes === 1 ? `unix:${join(folder, 'admin.sock')}` : '127.0.0.1:0' },
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
