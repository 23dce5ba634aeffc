/**
 * A service process in small: `node traced-echo.ts OTLP_ENDPOINT`. Starts tracing, calls a server of its own, and ends.
 */

import { createLogger, startTelemetry } from '../src/index.ts';
import { callEcho } from './echo.ts';

const telemetry = await startTelemetry({
  serviceName: 'echo',
  otlpEndpoint: process.argv[2],
  sampleRatio: 1,
  // Exports begin inside the calls, where they could be taken for a part of them.
  batchSpansMax: 1,
});
await callEcho(createLogger({ name: 'echo', level: 'info' }));
await telemetry.shutdown();
