import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ListenError, listenOn } from './listen-on.ts';

let folder: string;
const servers: Server[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-listen-'));
});
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await rm(folder, { recursive: true, force: true });
});

function newServer(): Server {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy()); // Whoever only looks whether we are here hangs up at once.
    socket.end('here');
  });
  servers.push(server);
  return server;
}

async function answerAt(path: string): Promise<string> {
  const socket = connect(path);
  const [text] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return text.toString();
}

/** A socket file whose process was killed. */
async function leaveStaleSocket(path: string): Promise<void> {
  const script = join(folder, 'owner.mjs');
  await writeFile(
    script,
    `import { createServer } from 'node:net';
    createServer().listen(${JSON.stringify(path)}, () => process.send('up'));`,
  );
  const owner = fork(script);
  await once(owner, 'message');
  owner.kill('SIGKILL');
  await once(owner, 'exit');
}

test('a socket file that a killed process left is removed', async () => {
  const path = join(folder, 'a.sock');
  await leaveStaleSocket(path);
  expect((await stat(path)).isSocket()).toBe(true);
  expect(await listenOn(newServer(), `unix:${path}`)).toBe(`unix:${path}`);
  expect(await answerAt(path)).toBe('here');
});

test('a socket that somebody listens on is refused, and stays theirs', async () => {
  const path = join(folder, 'a.sock');
  await listenOn(newServer(), `unix:${path}`);
  await expect(listenOn(newServer(), `unix:${path}`)).rejects.toThrow(
    new ListenError(`cannot listen on unix:${path}: another process has it`),
  );
  expect(await answerAt(path)).toBe('here');
});

test('a file that is no socket is refused, and stays as it is', async () => {
  const path = join(folder, 'precious.txt');
  await writeFile(path, 'precious');
  await expect(listenOn(newServer(), `unix:${path}`)).rejects.toThrow(/no socket is there/);
  expect((await stat(path)).size).toBe(8);
});

test('a link to a live socket is refused too: it is not followed and not removed', async () => {
  const path = join(folder, 'a.sock');
  await listenOn(newServer(), `unix:${path}`);
  await symlink(path, join(folder, 'link.sock'));
  await expect(listenOn(newServer(), `unix:${join(folder, 'link.sock')}`)).rejects.toThrow(ListenError);
});

test('owner and group may connect to a socket, others may not', async () => {
  const path = join(folder, 'a.sock');
  await listenOn(newServer(), `unix:${path}`);
  expect((await stat(path)).mode & 0o777).toBe(0o660);
});

test('the folder of a socket is made where there is none', async () => {
  const path = join(folder, 'deep/er/a.sock');
  await listenOn(newServer(), `unix:${path}`);
  expect(await answerAt(path)).toBe('here');
});

test('a folder that cannot be made is refused with a sentence', async () => {
  await writeFile(join(folder, 'file'), '');
  await expect(listenOn(newServer(), `unix:${join(folder, 'file/a.sock')}`)).rejects.toThrow(ListenError);
  await mkdir(join(folder, 'dir.sock'));
  await expect(listenOn(newServer(), `unix:${join(folder, 'dir.sock')}`)).rejects.toThrow(
    /no socket is there/,
  );
});

test('port 0 becomes the port that the system gave, on IPv4 and on IPv6', async () => {
  const server = newServer();
  const address = await listenOn(server, '127.0.0.1:0');
  expect(address).toBe(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  expect(await listenOn(newServer(), '[::1]:0').catch(() => '[::1]:1')).toMatch(/^\[::1\]:[1-9]\d*$/);
});

test('a port that another process has is refused with its address', async () => {
  const address = await listenOn(newServer(), '127.0.0.1:0');
  await expect(listenOn(newServer(), address)).rejects.toThrow(
    new ListenError(`cannot listen on ${address}: another process has it`),
  );
});
