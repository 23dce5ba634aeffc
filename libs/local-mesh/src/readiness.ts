import { setTimeout as wait } from 'node:timers/promises';

const READY_POLL_MS = 100;
const PROBE_MS_MAX = 2000;

/**
 * Waits until a sidecar says that it and the service behind it can answer.
 *
 * @param telemetry `host:port` of the sidecar's telemetry port
 * @param watch `signal` ends the waiting and its reason is thrown; `onNotReady` is told why it is not ready yet
 */
export async function waitUntilReady(
  telemetry: string,
  watch: { readonly signal: AbortSignal; readonly onNotReady: (why: string) => void },
): Promise<void> {
  for (;;) {
    const why = await notReadyBecause(telemetry, watch.signal);
    if (why === undefined) return;
    watch.onNotReady(why);
    await wait(READY_POLL_MS, undefined, { signal: watch.signal });
  }
}

async function notReadyBecause(telemetry: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const probe = AbortSignal.any([signal, AbortSignal.timeout(PROBE_MS_MAX)]);
    const response = await fetch(`http://${telemetry}/readyz`, { signal: probe });
    const said = await response.text();
    return response.ok ? undefined : said.trim().replaceAll('\n', ', ');
  } catch {
    signal.throwIfAborted();
    return `nothing answers on ${telemetry}`;
  }
}
