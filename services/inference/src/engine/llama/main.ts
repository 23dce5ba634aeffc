/**
 * The engine process: computes for the service that started it, over the messages of protocol.ts. It is a process of
 * its own because llama.cpp ends the process it runs in when it fails an assertion.
 */
import { availableParallelism } from 'node:os';
import { generateText } from './generation.ts';
import { InputRefused, OpenModel } from './llama-model.ts';
import type { FromEngine, Outcome, ToEngine } from './protocol.ts';

let open: OpenModel | undefined;
const running = new Map<number, AbortController>();

process.on('message', (message) => void handle(message as ToEngine));
process.on('disconnect', () => process.exit(0)); // The service is gone.
process.on('SIGINT', () => undefined); // Ctrl-C reaches the whole terminal group; the service ends this process.
process.on('SIGTERM', () => undefined);

async function handle(message: ToEngine): Promise<void> {
  switch (message.kind) {
    case 'open':
      return await openModel(message);
    case 'cancel':
      return running.get(message.id)?.abort();
    case 'generate':
      return await generate(message);
    case 'count':
      return count(message);
    case 'stats':
      return send({ kind: 'stats', id: message.id, stats: opened().stats() });
  }
}

async function openModel({ options }: Extract<ToEngine, { kind: 'open' }>): Promise<void> {
  try {
    open = await OpenModel.open(
      options,
      options.threadsMax ?? Math.max(1, Math.floor(availableParallelism() / 2)),
    );
    send({ kind: 'opened' });
  } catch (error) {
    send({ kind: 'openFailed', sentence: error instanceof Error ? error.message : String(error) });
  }
}

async function generate({ id, request }: Extract<ToEngine, { kind: 'generate' }>): Promise<void> {
  const abort = new AbortController();
  running.set(id, abort);
  let outcome: Outcome;
  try {
    const events = {
      started: (inputTokens: number) => send({ kind: 'started', id, inputTokens }),
      delta: (text: string, outputTokens: number) => send({ kind: 'delta', id, text, outputTokens }),
    };
    outcome = await generateText(opened(), request, events, abort.signal);
  } catch (error) {
    outcome = error instanceof InputRefused ? { kind: 'refused', refusal: error.refusal } : failed(error);
  }
  running.delete(id);
  send({ kind: 'ended', id, outcome });
}

function count({ id, input }: Extract<ToEngine, { kind: 'count' }>): void {
  try {
    send({ kind: 'counted', id, tokens: opened().tokenize(input).length });
  } catch (error) {
    if (!(error instanceof InputRefused)) throw error;
    send({ kind: 'refused', id, refusal: error.refusal });
  }
}

function opened(): OpenModel {
  if (!open) throw new Error('no model is open');
  return open;
}

/** The message is left out: llama.cpp's and the bindings' can quote their input. */
function failed(error: unknown): Outcome {
  const frames =
    error instanceof Error ? error.stack?.split('\n').filter((line) => /^\s+at /.test(line)) : [];
  return {
    kind: 'failed',
    cause: `${error instanceof Error ? error.name : typeof error}\n${frames?.join('\n')}`,
  };
}

function send(message: FromEngine): void {
  if (process.connected) process.send?.(message);
}
