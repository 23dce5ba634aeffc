// What `helm test` runs, in a pod with a sidecar: mesh-test.mjs NAME=HOST:PORT …, for each service its name at the sidecar and its Service.
// A call through the mesh has to be answered, and one without an identity turned away before anybody answers. Exits with 1 when one of
// these is not so.
import { connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { connect as connectTls } from 'node:tls';

const EGRESS = '/run/gatehouse/egress.sock';
const CALL_MS_MAX = 10_000;
/** A pod that has just become ready may not be in the sidecar's endpoints yet. */
const TRIES_MAX = 6;
const BETWEEN_TRIES_MS = 1000;
const [OK, PERMISSION_DENIED, UNAVAILABLE] = [0, 7, 14];
const SERVING = Buffer.from([0, 0, 0, 0, 2, 8, 1]);

/** Asks for health over an HTTP/2 connection. @returns the gRPC status, its message and the body, or the error of the connection */
function checkHealth(authority, openConnection) {
  return new Promise((resolve) => {
    const session = connect(`http://${authority}`, { createConnection: openConnection });
    const end = (result) => {
      resolve(result);
      session.destroy();
    };
    session.on('error', (error) => end({ error: error.code ?? error.message }));
    session.on('close', () => end({ error: 'the connection was closed' }));
    const call = session.request({
      ':method': 'POST',
      ':authority': authority,
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      'grpc-timeout': `${CALL_MS_MAX}m`,
      te: 'trailers',
    });
    const chunks = [];
    let head = {};
    let trailers = {};
    call.setTimeout(CALL_MS_MAX, () => end({ error: `no answer within ${CALL_MS_MAX} ms` }));
    call.on('response', (headers) => {
      head = headers;
    });
    call.on('trailers', (headers) => {
      trailers = headers;
    });
    call.on('data', (chunk) => chunks.push(chunk));
    call.on('error', (error) => end({ error: error.code ?? error.message }));
    call.on('end', () => {
      const status = Number(trailers['grpc-status'] ?? head['grpc-status']);
      const message = decodeURIComponent(trailers['grpc-message'] ?? head['grpc-message'] ?? '');
      // A connection that is cut ends its streams without a status.
      end(Number.isNaN(status) ? { error: 'cut off' } : { status, message, body: Buffer.concat(chunks) });
    });
    call.end(Buffer.alloc(5));
  });
}

/** What is wrong with calls through the mesh; null: nothing. */
async function throughTheMesh(name) {
  for (let tries = 1; ; tries++) {
    const answer = await checkHealth(name, () => connectSocket(EGRESS));
    if (answer.status === OK && answer.body.equals(SERVING)) {
      console.log(`✓ ${name}: called through the mesh, and it serves`);
      return null;
    }
    const isTransient = answer.error !== undefined || answer.status === UNAVAILABLE;
    if (!isTransient || tries === TRIES_MAX)
      return `expected health through the mesh, and there was ${describe(answer)}${hint(answer)}`;
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_TRIES_MS));
  }
}

/** What is wrong with how a caller without an identity is treated; null: nothing. */
async function withoutAnIdentity(name, address) {
  const at = address.lastIndexOf(':');
  const [host, port] = [address.slice(0, at), Number(address.slice(at + 1))];
  // Who answers is not the question here: that nobody does is.
  const socket = connectTls({ host, port, ALPNProtocols: ['h2'], rejectUnauthorized: false });
  let reached = false;
  let problem = 'cut off';
  socket.on('connect', () => {
    reached = true;
  });
  socket.on('error', (error) => {
    problem = error.code ?? error.message;
  });
  const answer = await checkHealth(name, () => socket);
  if (answer.error === undefined)
    return `expected a call without an identity to be turned away, and there was ${describe(answer)}`;
  if (!reached)
    return `expected ${address} to turn a call without an identity away, and it cannot be reached: ${problem}`;
  console.log(`✓ ${name}: a call without an identity is turned away (${problem})`);
  return null;
}

function describe({ error, status, message }) {
  return error ?? `gRPC status ${status} ${message}`;
}

/** The chart's own policy allows it; one that is taken from elsewhere may not. */
function hint({ status }) {
  return status === PERMISSION_DENIED ? '; policy has to allow health.check to this identity' : '';
}

let failed = false;
for (const argument of process.argv.slice(2)) {
  const [name, address] = argument.split('=');
  for (const problem of [await throughTheMesh(name), await withoutAnIdentity(name, address)]) {
    if (problem === null) continue;
    failed = true;
    console.log(`✗ ${name}: ${problem}`);
  }
}
process.exitCode = failed ? 1 : 0;
