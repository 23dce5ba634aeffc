import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** Of iproute2. */
const IP = 'ip';

/** A network of its own, with one wire to ours. */
export type NetworkNamespace = {
  /** Our end of the wire: what is there can be reached from inside. */
  readonly outerHost: string;
  /** What a command is to be started with to run inside. */
  readonly inside: readonly [command: string, ...args: string[]];
  /** Takes the wire away: packets are lost both ways, and nobody is told. */
  cut(): Promise<void>;
  remove(): Promise<void>;
};

/** Why there can be none on this machine; empty when there can. */
export function whyNoNamespace(): string {
  if (process.platform !== 'linux') return 'network namespaces are a thing of Linux';
  if (process.getuid?.() !== 0) return 'only root can make a network namespace';
  const probe = `gh-probe-${process.pid}`;
  try {
    execFileSync(IP, ['netns', 'add', probe], { stdio: 'pipe' });
    execFileSync(IP, ['netns', 'delete', probe], { stdio: 'pipe' });
    return '';
  } catch (error) {
    return `no network namespace can be made here: ${String(error).split('\n')[0]}`;
  }
}

/** @param octet tells wires of one machine apart, 0 to 255: they are in 198.18.0.0/15, kept for tests by RFC 2544 */
export async function makeNamespace(octet: number): Promise<NetworkNamespace> {
  const name = `gh-${process.pid}-${octet}`;
  // An interface's name has at most 15 characters.
  const [outer, inner] = [`gho${process.pid % 100_000}-${octet}`, `ghi${process.pid % 100_000}-${octet}`];
  const [outerHost, innerHost] = [`198.18.${octet}.1`, `198.18.${octet}.2`];
  const ip = (...args: string[]) => run(IP, args);
  const inside = [IP, 'netns', 'exec', name] as const;
  await ip('netns', 'add', name);
  try {
    await ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner, 'netns', name);
    await ip('address', 'add', `${outerHost}/30`, 'dev', outer);
    await ip('link', 'set', outer, 'up');
    await ip('-netns', name, 'address', 'add', `${innerHost}/30`, 'dev', inner);
    await ip('-netns', name, 'link', 'set', inner, 'up');
  } catch (error) {
    await ip('netns', 'delete', name);
    throw error;
  }
  return {
    outerHost,
    inside,
    cut: async () => {
      // Our end stays up: an interface that goes down would tell our own side.
      await ip('-netns', name, 'link', 'set', inner, 'down');
    },
    remove: async () => {
      await ip('netns', 'delete', name);
    },
  };
}
