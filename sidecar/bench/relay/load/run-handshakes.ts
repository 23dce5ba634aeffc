import { type ConnectionOptions, connect } from 'node:tls';
import type { HandshakeCell, HandshakeResult } from './cell.ts';
import { PREFACE, settings } from './frames.ts';
import { cpuMicros, processTree } from './process-tree.ts';

const HELLO = Buffer.concat([PREFACE, settings([])]);

/** Connects, waits for the proxy's first frame (only then has it judged the certificate), hangs up, and again. */
export async function runHandshakes(cell: HandshakeCell, tls: ConnectionOptions): Promise<HandshakeResult> {
  const pids = processTree(cell.pid);
  const counts = { handshakes: 0, resumed: 0, failed: 0 };
  const from = { cpu: cpuMicros(pids), atMs: performance.now() };
  const untilMs = from.atMs + cell.measureMs;
  const lanes = Array.from({ length: cell.concurrency }, async () => {
    let session: Buffer | undefined;
    while (performance.now() < untilMs) {
      const made = await connectOnce({
        ...tls,
        host: '127.0.0.1',
        port: cell.port,
        ...(session && { session }),
      });
      if (made === null) counts.failed += 1;
      else {
        counts.handshakes += 1;
        if (made.resumed) counts.resumed += 1;
        if (cell.resume) session = made.session;
      }
    }
  });
  await Promise.all(lanes);
  return {
    ...counts,
    seconds: (performance.now() - from.atMs) / 1000,
    cpuMicros: cpuMicros(pids) - from.cpu,
  };
}

type Made = { readonly resumed: boolean; readonly session: Buffer | undefined };

function connectOnce(options: ConnectionOptions): Promise<Made | null> {
  return new Promise((resolve) => {
    const socket = connect(options);
    let session: Buffer | undefined;
    socket.on('session', (given) => (session = given));
    socket.on('secureConnect', () => socket.write(HELLO));
    socket.once('data', () => {
      resolve({ resumed: socket.isSessionReused(), session });
      socket.destroy();
    });
    socket.on('error', () => resolve(null));
    socket.on('close', () => resolve(null));
  });
}
