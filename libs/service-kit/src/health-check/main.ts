/**
 * The health command of a service's image: asks `grpc.health.v1.Health/Check` over the socket that its one argument names, and
 * exits with 0 when the service is SERVING. Without a gRPC library, so that it starts quickly.
 */
import { connect } from 'node:http2';
import { createConnection } from 'node:net';

const ANSWER_MS_MAX = 1500;
/** HealthCheckResponse with SERVING, framed. */
const SERVING = Buffer.from([0, 0, 0, 0, 2, 8, 1]);

const [, , socket = '/run/gatehouse/app.sock'] = process.argv;
setTimeout(() => process.exit(1), ANSWER_MS_MAX);
const session = connect('http://app', { createConnection: () => createConnection(socket) });
session.on('error', () => process.exit(1));
const call = session.request({
  ':method': 'POST',
  ':path': '/grpc.health.v1.Health/Check',
  'content-type': 'application/grpc',
  te: 'trailers',
});
const answer: Buffer[] = [];
call.on('error', () => process.exit(1));
call.on('data', (data: Buffer) => answer.push(data));
call.on('end', () => process.exit(Buffer.concat(answer).equals(SERVING) ? 0 : 1));
// An empty HealthCheckRequest: the service as a whole.
call.end(Buffer.alloc(5));
