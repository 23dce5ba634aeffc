import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { ConnectionOptions, TLSSocket, TlsOptions } from 'node:tls';
import { connect, createServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Authority, Credentials } from './authority.ts';
import { createAuthority } from './authority.ts';
import type { Identity } from './identity.ts';
import { makeIdentity } from './identity.ts';
import { clientTlsOptions, serverTlsOptions } from './tls-options.ts';
import { parseTrustBundle } from './trust-bundle.ts';
import type { PeerExpectation, PeerResult } from './verify-peer.ts';
import { isStillTrusted, staleness, verifyPeer } from './verify-peer.ts';

const HOUR_MS = 3_600_000;
const TRUST_DOMAIN = 'gatehouse.local';
const SERVER_ID = 'spiffe://gatehouse.local/ns/local/sa/inference';
const CLIENT_ID = 'spiffe://gatehouse.local/ns/local/sa/orchestration';
const now = Date.now();
const clock = () => now;

let authority: Authority;
let server: Identity;
let client: Identity;
const sockets = new Set<TLSSocket>();

beforeAll(async () => {
  authority = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
  server = identityOf(await authority.issue({ spiffeId: SERVER_ID, validForMs: HOUR_MS }));
  client = identityOf(await authority.issue({ spiffeId: CLIENT_ID, validForMs: HOUR_MS }));
});

afterAll(() => {
  for (const socket of sockets) {
    socket.destroy();
  }
});

function identityOf(credentials: Credentials): Identity {
  const made = makeIdentity(
    { ...credentials, bundlePem: authority.bundlePem },
    { trustDomain: TRUST_DOMAIN, nowMs: now, generation: 1 },
  );
  if ('problem' in made) {
    throw new Error(made.problem.detail);
  }
  return made.identity;
}

function clientWith(credentials: Credentials): ConnectionOptions {
  const { secureContext: _, ...options } = clientTlsOptions(client);
  return { ...options, cert: credentials.certificatePem, key: credentials.keyPem, ca: authority.bundlePem };
}

/** One handshake; both ends give their verdict on the other. */
async function handshake(
  clientOptions: ConnectionOptions,
  expectation: Partial<PeerExpectation> = {},
  serving: Identity = server,
): Promise<{ ofClient: PeerResult; ofServer: PeerResult; clientSocket: TLSSocket }> {
  const expected = { trust: serving, nowMs: now, ...expectation };
  const listener = createServer(serverTlsOptions(serving));
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  try {
    const accepted = once(listener, 'secureConnection');
    const clientSocket = connect({
      ...clientOptions,
      host: '127.0.0.1',
      port: (listener.address() as AddressInfo).port,
    });
    sockets.add(clientSocket);
    await once(clientSocket, 'secureConnect');
    const [serverSocket] = (await accepted) as [TLSSocket];
    sockets.add(serverSocket);
    return {
      ofClient: verifyPeer(serverSocket, { ...expected, peerIs: 'client' }),
      ofServer: verifyPeer(clientSocket, { ...expected, peerIs: 'server' }),
      clientSocket,
    };
  } finally {
    listener.close();
  }
}

const reasonFor = async (options: ConnectionOptions, expectation?: Partial<PeerExpectation>) => {
  const { ofClient } = await handshake(options, expectation);
  return 'refusal' in ofClient ? ofClient.refusal.reason : `accepted ${ofClient.peer.spiffeId}`;
};

describe('verifyPeer', () => {
  it('takes the SPIFFE ID, the times and the thumbprint of a good peer, on both sides', async () => {
    const { ofClient, ofServer, clientSocket } = await handshake(clientTlsOptions(client));
    const leaf = new X509Certificate(client.certificatePem);
    expect(ofClient).toEqual({
      peer: {
        spiffeId: CLIENT_ID,
        trustDomain: TRUST_DOMAIN,
        notAfterMs: leaf.validToDate.getTime(),
        thumbprint: Buffer.from(leaf.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url'),
        serialNumber: leaf.serialNumber,
        issuerKeyId: client.bundle.anchors[0]?.keyId,
      },
    });
    expect(ofServer).toHaveProperty('peer.spiffeId', SERVER_ID);
    expect(clientSocket.getProtocol()).toBe('TLSv1.3');
    expect(clientSocket.alpnProtocol).toBe('h2');
  });

  it('accepts a chain over an intermediate CA', async () => {
    const parent = authority;
    const below = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS, parent });
    const issued = await below.issue({ spiffeId: CLIENT_ID, validForMs: HOUR_MS });
    expect(await reasonFor(clientWith(issued))).toBe(`accepted ${CLIENT_ID}`);
  });

  it('refuses a peer without a certificate', async () => {
    const { secureContext: _, ...options } = clientTlsOptions(client);
    expect(await reasonFor({ ...options, ca: authority.bundlePem })).toBe('NO_CERTIFICATE');
  });

  it('refuses a certificate of another CA of the same name', async () => {
    const impostor = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
    const issued = await impostor.issue({ spiffeId: CLIENT_ID, validForMs: HOUR_MS });
    expect(await reasonFor(clientWith(issued))).toBe('UNTRUSTED_ISSUER');
  });

  it('refuses a certificate of another CA of the same name that sends its root along', async () => {
    const impostor = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
    const issued = await impostor.issue({ spiffeId: CLIENT_ID, validForMs: HOUR_MS });
    const certificatePem = issued.certificatePem + impostor.bundlePem;
    expect(await reasonFor(clientWith({ ...issued, certificatePem }))).toBe('UNTRUSTED_ISSUER');
  });

  it('refuses an expired certificate', async () => {
    const issued = await authority.issue({ spiffeId: CLIENT_ID, validForMs: -30_000 });
    expect(await reasonFor(clientWith(issued))).toBe('EXPIRED');
  });

  it('refuses by the injected clock as well as by the clock of TLS', async () => {
    expect(await reasonFor(clientTlsOptions(client), { nowMs: now + HOUR_MS })).toBe('EXPIRED');
    expect(await reasonFor(clientTlsOptions(client), { nowMs: now - HOUR_MS })).toBe('NOT_YET_VALID');
  });

  it('refuses a certificate of the same CA for another trust domain', async () => {
    const issued = await authority.issueFlawed({
      uris: ['spiffe://evil.local/ns/a/sa/b'],
      validForMs: HOUR_MS,
    });
    expect(await reasonFor(clientWith(issued))).toBe('WRONG_TRUST_DOMAIN');
  });

  it.each([
    ['no names at all', [], [], 'NO_SPIFFE_ID'],
    ['a DNS name alone', [], ['inference'], 'NO_SPIFFE_ID'],
    ['a URI that is not SPIFFE', ['https://gatehouse.local/a'], [], 'NO_SPIFFE_ID'],
    ['two SPIFFE IDs', [CLIENT_ID, SERVER_ID], [], 'MULTIPLE_SPIFFE_IDS'],
    ['a SPIFFE ID and another URI', [CLIENT_ID, 'https://gatehouse.local/a'], [], 'MULTIPLE_SPIFFE_IDS'],
    ['the trust domain itself', ['spiffe://gatehouse.local'], [], 'INVALID_SPIFFE_ID'],
    ['a path that climbs', ['spiffe://gatehouse.local/ns/../sa/x'], [], 'INVALID_SPIFFE_ID'],
    ['a DNS name that poses as a URI', [], [`a, URI:${CLIENT_ID}`], 'NO_SPIFFE_ID'],
    ['a quoted URI that poses as two', [`https://a", URI:"${CLIENT_ID}`], [], 'NO_SPIFFE_ID'],
    ['an ID cut by a NUL', [`${CLIENT_ID}\0.evil`], [], 'INVALID_SPIFFE_ID'],
  ])('refuses %s', async (_, uris, dnsNames, reason) => {
    const issued = await authority.issueFlawed({ uris, dnsNames, validForMs: HOUR_MS });
    expect(await reasonFor(clientWith(issued))).toBe(reason);
  });

  it('accepts DNS names beside the one SPIFFE ID', async () => {
    const issued = await authority.issue({ spiffeId: CLIENT_ID, dnsNames: ['a.b'], validForMs: HOUR_MS });
    expect(await reasonFor(clientWith(issued))).toBe(`accepted ${CLIENT_ID}`);
  });

  it('refuses a leaf that is a CA', async () => {
    const issued = await authority.issueFlawed({ uris: [CLIENT_ID], ca: true, validForMs: HOUR_MS });
    expect(await reasonFor(clientWith(issued))).toBe('NOT_A_LEAF');
  });

  it('refuses a certificate for servers from a client', async () => {
    const issued = await authority.issueFlawed({
      uris: [CLIENT_ID],
      purposes: ['server'],
      validForMs: HOUR_MS,
    });
    expect(await reasonFor(clientWith(issued))).toBe('WRONG_KEY_USAGE');
  });

  it('refuses a server that is another workload than the one expected', async () => {
    const { ofServer } = await handshake(clientTlsOptions(client), { spiffeId: CLIENT_ID });
    expect(ofServer).toEqual({
      refusal: { reason: 'WRONG_SPIFFE_ID', detail: `the peer is ${SERVER_ID}, expected ${CLIENT_ID}` },
    });
  });

  it('makes a full handshake when a client tries to resume a session', async () => {
    expect(await resumes(serverTlsOptions(server))).toBe(false);
    const { secureContext: _, secureOptions: __, ...ticketing } = serverTlsOptions(server);
    expect(await resumes(ticketing), 'the control, with tickets').toBe(true);
  });
});

/** Whether a second connection, offering the session of the first, gets round a full handshake. */
async function resumes(options: TlsOptions): Promise<boolean> {
  const listener = createServer(options, (socket) => socket.end('x'));
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const at = {
    ...clientTlsOptions(client),
    host: '127.0.0.1',
    port: (listener.address() as AddressInfo).port,
  };
  try {
    let session: Buffer | undefined;
    const first = connect(at).resume();
    first.on('session', (ticket: Buffer) => {
      session = ticket;
    });
    await once(first, 'close');
    const second = connect(session === undefined ? at : { ...at, session }).resume();
    await once(second, 'secureConnect');
    const reused = second.isSessionReused();
    await once(second, 'close');
    return reused;
  } finally {
    listener.close();
  }
}

describe('a peer on a live connection', () => {
  it('is no longer trusted once its certificate has expired or its CA has left the bundle', async () => {
    const { ofClient } = await handshake(clientTlsOptions(client));
    const peer = 'peer' in ofClient ? ofClient.peer : null;
    const other = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
    const without = parseTrustBundle(other.bundlePem);
    const both = parseTrustBundle(other.bundlePem + authority.bundlePem);
    if (peer === null || 'problem' in without || 'problem' in both) {
      throw new Error('unreachable: the certificates above are good');
    }
    const withAnchor = { ...server, bundle: both.bundle };
    expect(isStillTrusted(peer, withAnchor, now)).toBe(true);
    expect(staleness(peer, withAnchor, peer.notAfterMs)).toBe('EXPIRED');
    expect(staleness(peer, { ...server, bundle: without.bundle }, now)).toBe('UNTRUSTED_ISSUER');
  });
});

describe('a peer of a foreign trust domain', () => {
  const FOREIGN = 'partner.example';
  const FOREIGN_ID = 'spiffe://partner.example/sa/billing';
  const reasonOf = (result: PeerResult) => ('refusal' in result ? result.refusal.reason : null);
  let foreign: Authority;
  let third: Authority;
  let federated: Identity;

  beforeAll(async () => {
    foreign = await createAuthority({ trustDomain: FOREIGN, clock, validForMs: HOUR_MS });
    third = await createAuthority({ trustDomain: 'third.example', clock, validForMs: HOUR_MS });
    const issued = await authority.issue({ spiffeId: SERVER_ID, validForMs: HOUR_MS });
    const made = makeIdentity(
      {
        ...issued,
        bundlePem: authority.bundlePem,
        federatedPem: new Map([
          [FOREIGN, foreign.bundlePem],
          ['third.example', third.bundlePem],
        ]),
      },
      { trustDomain: TRUST_DOMAIN, nowMs: now, generation: 1 },
    );
    if ('problem' in made) throw new Error(made.problem.detail);
    federated = made.identity;
  });

  /** What a server that federates says of a client with these credentials. */
  const judged = async (credentials: Credentials): Promise<PeerResult> =>
    (await handshake(clientWith(credentials), {}, federated)).ofClient;

  it('is accepted when the CA of its own trust domain vouches for it', async () => {
    const result = await judged(await foreign.issue({ spiffeId: FOREIGN_ID, validForMs: HOUR_MS }));
    expect(result).toMatchObject({ peer: { spiffeId: FOREIGN_ID, trustDomain: FOREIGN } });
  });

  it('is refused where its trust domain is not federated', async () => {
    const issued = await foreign.issue({ spiffeId: FOREIGN_ID, validForMs: HOUR_MS });
    expect(reasonOf((await handshake(clientWith(issued))).ofClient)).toBe('UNTRUSTED_ISSUER');
  });

  it.each([
    ['a foreign CA', 'an identity of ours', () => foreign, CLIENT_ID],
    ['our CA', 'a foreign identity', () => authority, FOREIGN_ID],
    ['a foreign CA', 'an identity of another foreign trust domain', () => third, FOREIGN_ID],
  ])('is refused where %s has signed %s', async (_, __, signer, spiffeId) => {
    const flawed = await signer().issueFlawed({ uris: [spiffeId], validForMs: HOUR_MS });
    expect(reasonOf(await judged(flawed))).toBe('UNTRUSTED_ISSUER');
  });

  it('goes when its trust domain is federated no longer, or its CA has left the foreign bundle', async () => {
    const result = await judged(await foreign.issue({ spiffeId: FOREIGN_ID, validForMs: HOUR_MS }));
    if ('refusal' in result) throw new Error(result.refusal.detail);
    expect(staleness(result.peer, federated, now)).toBeNull();
    expect(staleness(result.peer, server, now)).toBe('UNTRUSTED_ISSUER');
    const moved = new Map([[FOREIGN, federated.federated.get('third.example') ?? server.bundle]]);
    expect(staleness(result.peer, { ...server, federated: moved }, now)).toBe('UNTRUSTED_ISSUER');
  });
});
