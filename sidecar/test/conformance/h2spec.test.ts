/** h2spec whole, with its strict cases, against the HTTP/2 library and against both listeners of real sidecars. */
import { describe, expect, test } from 'vitest';
import { defaultSettings } from '../../src/http2/index.ts';
import { startBodyServer } from './support/body-server.ts';
import { startConformanceMesh } from './support/conformance-mesh.ts';
import { type ExternalTool, externalTool } from './support/external-tool.ts';
import { freePort } from './support/free-port.ts';
import { startGrpcJsServer } from './support/grpc-js-server.ts';
import { casesOf, type H2specCase, runH2spec } from './support/h2spec.ts';
import { startMtlsShim } from './support/mtls-shim.ts';

/** Cases in the pinned version: 145, and one more in strict mode. */
const CASES = 146;
/** Takes any number of messages, none too, and answers with one when the request has ended. */
const METHOD = '/grpc.testing.TestService/StreamingInputCall';

type Run = { readonly target: string; readonly cases: readonly H2specCase[] };

/** h2spec as it is, against a server that answers everything. */
async function againstLibrary(tool: ExternalTool): Promise<Run[]> {
  if ('missing' in tool) return [];
  // The settings that both listeners have by default.
  const library = await startBodyServer(defaultSettings);
  try {
    return [{ target: 'the HTTP/2 library', cases: await runH2spec(tool.folder, library.port, '/') }];
  } finally {
    library.close();
  }
}

/**
 * A listener for gRPC answers a GET with 405 at its head, and no body: flow control and what comes late could not be
 * seen. So here h2spec's requests are gRPC calls, which go through to an app and are answered by it.
 */
async function againstListeners(tool: ExternalTool): Promise<Run[]> {
  if ('missing' in tool) return [];
  const app = await startGrpcJsServer();
  // h2spec says the address that it dials as :authority, so that is what the upstream is called.
  const port = await freePort();
  const mesh = await startConformanceMesh(app.address, `127.0.0.1:${port}`, `127.0.0.1:${port}`);
  const shim = await startMtlsShim(mesh.inbound.inboundAddress ?? '', mesh.callerTls);
  try {
    return [
      { target: 'the egress listener', cases: await runH2spec(tool.folder, port, METHOD) },
      { target: 'the inbound listener, over mTLS', cases: await runH2spec(tool.folder, shim.port, METHOD) },
    ];
  } finally {
    shim.close();
    await mesh.stop();
    app.stop();
  }
}

const plain = await externalTool('h2spec');
const ofCalls = await externalTool('h2spec-grpc');
const runs = [...(await againstLibrary(plain)), ...(await againstListeners(ofCalls))];

test('h2spec runs', (context) => {
  for (const tool of [plain, ofCalls]) if ('missing' in tool) context.skip(tool.missing);
  expect(runs).toHaveLength(3);
});

describe.each(runs)('h2spec against $target', ({ cases }) => {
  test(`has ${CASES} cases`, () => {
    expect(cases).toHaveLength(CASES);
  });

  test.each(cases)('$name', ({ outcome, detail }) => {
    expect({ outcome, detail }).toMatchObject({ outcome: 'passed' });
  });
});

test('the report of h2spec is read with outcomes, details and titles that come twice', () => {
  const xml = `<testsuite><testcase package="http2/5.1" classname="A &lt;b&gt;" time="0.1"></testcase>
    <testcase package="http2/5.1" classname="A &lt;b&gt;" time="0.1"><failure>want&#xA;got &amp;c</failure></testcase>
    <testcase package="hpack/2" classname="C" time="0"><skipped></skipped></testcase>
    <testcase package="hpack/2" classname="D" time="0"><error>no</error></testcase></testsuite>`;
  expect(casesOf(xml)).toEqual([
    { name: 'http2/5.1 A <b>', outcome: 'passed', detail: '' },
    { name: 'http2/5.1 A <b> (2)', outcome: 'failed', detail: 'want\ngot &c' },
    { name: 'hpack/2 C', outcome: 'skipped', detail: '' },
    { name: 'hpack/2 D', outcome: 'failed', detail: 'no' },
  ]);
});
