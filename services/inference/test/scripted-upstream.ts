import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface ScriptedUpstream {
  /** Ends in /v1. */
  readonly baseUrl: string;
  /** Paths and bodies that came, in order. */
  readonly requests: { readonly path: string; readonly body: Record<string, unknown> }[];
  /** Connections that the client closed before the answer was whole. */
  hungUp: number;
}

/** A server that answers as the test says; closed with the test. */
export async function startUpstream(
  answer: (response: ServerResponse, request: IncomingMessage) => void,
): Promise<ScriptedUpstream> {
  const upstream = { baseUrl: '', requests: [] as ScriptedUpstream['requests'], hungUp: 0 };
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      upstream.requests.push({ path: request.url ?? '', body: JSON.parse(body) as Record<string, unknown> });
      answer(response, request);
    });
    response.on('close', () => {
      if (!response.writableFinished) upstream.hungUp += 1;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  upstream.baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  return upstream;
}

/** Begins an event stream. */
export function stream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
}

/** One server-sent event with a chunk of OpenAI's chat API. */
export function chunk(content: string, more: object = {}): string {
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: null, ...more }] })}\n\n`;
}

export const finish = chunk('', { delta: {}, finish_reason: 'stop' });
export const usage = `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 11, completion_tokens: 5 } })}\n\n`;
export const done = 'data: [DONE]\n\n';
