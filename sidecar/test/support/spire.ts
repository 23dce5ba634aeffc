/** A real SPIRE server and an agent of it, for one trust domain, as processes of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { finished } from '../conformance/support/external-tool.ts';
import { freePort } from '../conformance/support/free-port.ts';

const WAIT = { timeout: 30_000, interval: 100 };

export type Spire = {
  readonly trustDomain: string;
  /** The agent's Workload API. */
  readonly address: string;
  /** Registers this user's processes under an identity. */
  register(path: string, options: { ttlSeconds: number; federatesWith?: Spire }): Promise<void>;
  bundle(): Promise<string>;
  /** Trusts another trust domain's bundle, as it is now. */
  trust(other: Spire): Promise<void>;
  /** Makes a new CA and signs with it from then on; the old one stays in the bundle. */
  rotateAuthority(): Promise<void>;
  killAgent(): Promise<void>;
  startAgent(): Promise<void>;
  stop(): Promise<void>;
};

export async function startSpire(tools: string, folder: string, trustDomain: string): Promise<Spire> {
  const home = join(folder, trustDomain);
  await mkdir(join(home, 'agent'), { recursive: true });
  const at = (name: string): string => join(home, name);
  const port = await freePort();
  await writeFile(at('server.conf'), serverConfig(home, trustDomain, port));
  await writeFile(at('agent.conf'), agentConfig(home, trustDomain, port));
  const server = spawn(join(tools, 'spire-server'), ['run', '-config', at('server.conf')], {
    stdio: 'ignore',
  });
  const ask = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await finished(join(tools, 'spire-server'), [
      ...args,
      '-socketPath',
      at('server.sock'),
    ]);
    if (code !== 0) throw new Error(`spire-server ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
  await vi.waitFor(() => ask('healthcheck'), WAIT);
  const agentId = `spiffe://${trustDomain}/agent`;
  const token = /Token: (\S+)/.exec(await ask('token', 'generate', '-spiffeID', agentId))?.[1] ?? '';

  let agent: ChildProcess | null = null;
  const startAgent = async (): Promise<void> => {
    const args = ['run', '-config', at('agent.conf'), '-joinToken', token];
    agent = spawn(join(tools, 'spire-agent'), args, { stdio: 'ignore' });
    const check = ['healthcheck', '-socketPath', at('agent.sock')];
    await vi.waitFor(async () => {
      expect((await finished(join(tools, 'spire-agent'), check)).code).toBe(0);
    }, WAIT);
  };
  const killAgent = async (): Promise<void> => {
    if (agent !== null) await ended(agent);
    agent = null;
  };
  await startAgent();
  const bundle = () => ask('bundle', 'show', '-format', 'spiffe');
  return {
    trustDomain,
    address: `unix:${at('agent.sock')}`,
    register: async (path, { ttlSeconds, federatesWith }) => {
      const args = ['-parentID', agentId, '-spiffeID', `spiffe://${trustDomain}/${path}`];
      args.push('-selector', `unix:uid:${process.getuid?.()}`, '-x509SVIDTTL', String(ttlSeconds));
      if (federatesWith) args.push('-federatesWith', `spiffe://${federatesWith.trustDomain}`);
      await ask('entry', 'create', ...args);
    },
    bundle,
    trust: async (other) => {
      const file = at('other-bundle.json');
      await writeFile(file, await other.bundle());
      await ask('bundle', 'set', '-format', 'spiffe', '-id', `spiffe://${other.trustDomain}`, '-path', file);
    },
    rotateAuthority: async () => {
      const prepared = await ask('localauthority', 'x509', 'prepare', '-output', 'json');
      const { prepared_authority: next } = JSON.parse(prepared) as {
        prepared_authority: { authority_id: string };
      };
      await ask('localauthority', 'x509', 'activate', '-authorityID', next.authority_id);
    },
    killAgent,
    startAgent,
    stop: async () => {
      await killAgent();
      await ended(server);
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

function serverConfig(home: string, trustDomain: string, port: number): string {
  return `server {
    bind_address = "127.0.0.1"
    bind_port = "${port}"
    socket_path = "${home}/server.sock"
    trust_domain = "${trustDomain}"
    data_dir = "${home}"
    log_level = "ERROR"
    ca_ttl = "24h"
  }
  plugins {
    DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "${home}/data.sqlite3" } }
    NodeAttestor "join_token" { plugin_data {} }
    KeyManager "memory" { plugin_data {} }
  }`;
}

function agentConfig(home: string, trustDomain: string, port: number): string {
  return `agent {
    data_dir = "${home}/agent"
    server_address = "127.0.0.1"
    server_port = "${port}"
    socket_path = "${home}/agent.sock"
    insecure_bootstrap = true
    trust_domain = "${trustDomain}"
    log_level = "ERROR"
    experimental { sync_interval = "1s" }
  }
  plugins {
    NodeAttestor "join_token" { plugin_data {} }
    KeyManager "disk" { plugin_data { directory = "${home}/agent" } }
    WorkloadAttestor "unix" { plugin_data {} }
  }`;
}
