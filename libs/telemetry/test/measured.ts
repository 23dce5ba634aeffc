/** A service process in small: `node measured.ts [ADDRESS]`. Keeps metrics, records one value, and prints what can be read. */
import { metrics } from '@opentelemetry/api';
import { startMetrics } from '../src/index.ts';

const kept = await startMetrics({ serviceName: 'measured', listen: process.argv[2] });
metrics
  .getMeter('test')
  .createHistogram('gen_ai.server.time_to_first_token', {
    unit: 's',
    advice: { explicitBucketBoundaries: [0.1, 1] },
  })
  .record(0.5, { 'gen_ai.request.model': 'm' });
if (kept.address !== null) {
  const read = async (path: string) => fetch(`http://${kept.address}${path}`);
  console.log(await (await read('/metrics')).text());
  console.log((await read('/other')).status);
}
console.log(process.memoryUsage.rss());
await kept.shutdown();
