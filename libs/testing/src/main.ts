// The echo service as a process of its own, for tests that kill it: main.ts ADDRESS NAME
import { startEchoServer } from './echo-server.ts';

const [address = '127.0.0.1:0', name = 'echo'] = process.argv.slice(2);
const server = await startEchoServer({ address, name, exit: () => process.kill(process.pid, 'SIGKILL') });
process.stdout.write(`${server.address}\n`);
