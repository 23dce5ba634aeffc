/**
 * A well-behaved caller in a place of its own: main.ts HOST PORT FOLDER NAME. It begins a download over mTLS as NAME, whose
 * certificate is in FOLDER, reads all of it, and says `streaming` when the first bytes are there.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { join } from 'node:path';
import { echoMessage } from '../../support/raw-caller.ts';

const [host = '', port = '', folder = '', name = ''] = process.argv.slice(2);
const file = (end: string): Buffer => readFileSync(join(folder, end));

const session = connect(`https://${host}:${port}`, {
  ca: file('bundle.pem'),
  cert: file(`${name}.pem`),
  key: file(`${name}.key`),
  checkServerIdentity: () => undefined,
});
session.on('error', () => process.exit(1));
const stream = session.request({
  ':method': 'POST',
  ':path': '/testing.echo.v1.EchoService/ServerStream',
  'content-type': 'application/grpc',
  te: 'trailers',
});
stream.on('error', () => process.exit(1));
stream.once('data', () => process.stdout.write('streaming\n'));
stream.resume();
stream.end(echoMessage({ count: 100_000, delayMs: 20 }));
