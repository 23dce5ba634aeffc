// The echo service as a process of its own, for tests that kill it: main.ts ADDRESS NAME
import { rmSync } from 'node:fs';
import { startEchoServer } from './echo-server.ts';

const [address = '127.0.0.1:0', name = 'echo'] = process.argv.slice(2);
if (address.startsWith('unix:')) rmSync(address.slice('unix:'.length), { force: true });
const server = await startEchoServer({ address, name, exit: () => process.kill(process.pid, 'SIGKILL') });
process.stdout.write(`${server.address}\n`);
