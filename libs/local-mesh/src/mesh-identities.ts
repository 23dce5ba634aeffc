import { createAuthority } from '@gatehouse/identity';
import { CALLERS, type MeshLayout, SERVICES, spiffeIdOf, TRUST_DOMAIN } from './mesh-layout.ts';
import { writeFileAtomically } from './write-file-atomically.ts';

/** The CA outlives any session at a desk; its key never leaves the process. */
const AUTHORITY_VALID_MS = 7 * 24 * 3600 * 1000;
const LEAF_VALID_MS_DEFAULT = 3600 * 1000;

export type MeshIdentitiesOptions = {
  readonly layout: MeshLayout;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** How long a certificate is good for; it is replaced at half of that. Default one hour. */
  readonly validForMs?: number;
  /** Called when the files cannot be replaced; the certificates in use stay good until they end. */
  readonly onError: (error: Error) => void;
};

export type MeshIdentities = {
  /** Ends the renewal; resolves when nothing is being written any more. */
  close(): Promise<void>;
};

/**
 * Makes a development CA, gives every service and caller a certificate, and replaces the certificates while the mesh
 * runs. A key is written just before its certificate; who reads between the two finds a pair that does not match and
 * reads again.
 */
export async function startMeshIdentities(options: MeshIdentitiesOptions): Promise<MeshIdentities> {
  const { layout, clock, validForMs = LEAF_VALID_MS_DEFAULT } = options;
  const authority = await createAuthority({
    trustDomain: TRUST_DOMAIN,
    clock,
    validForMs: AUTHORITY_VALID_MS,
  });
  await writeFileAtomically(layout.bundleFile, authority.bundlePem);
  const issueAll = async (): Promise<void> => {
    for (const name of [...SERVICES, ...CALLERS]) {
      const credentials = await authority.issue({
        spiffeId: spiffeIdOf(name),
        validForMs,
        // For tools that check a host name, such as grpcurl; the mesh itself goes by the SPIFFE ID.
        dnsNames: ['localhost'],
      });
      await writeFileAtomically(layout.identities[name].keyFile, credentials.keyPem);
      await writeFileAtomically(layout.identities[name].certificateFile, credentials.certificatePem);
    }
  };
  await issueAll();
  let renewing: Promise<void> = Promise.resolve();
  const renewal = setInterval(() => {
    renewing = renewing.then(issueAll).catch((error: unknown) => options.onError(error as Error));
  }, validForMs / 2);
  renewal.unref();
  return {
    close: () => {
      clearInterval(renewal);
      return renewing;
    },
  };
}
