import { setTimeout as wait } from 'node:timers/promises';

const READY_POLL_MS = 100;
const PROBE_MS_MAX = 2000;

/**
 * Waits until a sidecar says that it and the service behind it can answer.
 *
 * @param telemetry `host:port` of the sidecar's telemetry port
 * @param signal ends the waiting; its reason is thrown
 */
export async function waitUntilReady(telemetry: string, signal: AbortSignal): Promise<void> {
  while (!(await isReady(telemetry, signal))) await wait(READY_POLL_MS, undefined, { signal });
}

async function isReady(telemetry: string, signal: AbortSignal): Promise<boolean> {
  try {
    const probe = AbortSignal.any([signal, AbortSignal.timeout(PROBE_MS_MAX)]);
    const response = await fetch(`http://${telemetry}/readyz`, { signal: probe });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}
