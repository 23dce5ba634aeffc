/**
 * A service process in small: `node traced-echo.ts OTLP_ENDPOINT`. Starts tracing, then imports a grpc-js server and
 * client, makes calls, and ends.
 */
import { createLogger, startTelemetry } from '../src/index.ts';

const telemetry = await startTelemetry({
  serviceName: 'echo',
  otlpEndpoint: process.argv[2],
  sampleRatio: 1,
  // Exports begin inside the calls, where they could be taken for a part of them.
  batchSpansMax: 1,
});
const { callEcho } = await import('./echo.ts');
await callEcho(createLogger({ name: 'echo', level: 'info' }));
await telemetry.shutdown();
