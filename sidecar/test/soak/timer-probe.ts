/** Loaded into a sidecar before its main.ts: counts its timers, those that hold no process open too, and tells when asked. */
import { createHook } from 'node:async_hooks';

const timers = new Set<number>();
createHook({
  init: (id, type) => {
    if (type === 'Timeout') timers.add(id);
  },
  destroy: (id) => timers.delete(id),
}).enable();
process.on('message', () => process.send?.(timers.size));
// The channel alone keeps no sidecar running.
process.channel?.unref();
