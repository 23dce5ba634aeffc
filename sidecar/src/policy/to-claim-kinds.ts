import { ClaimType, type JwtIssuer } from '@gatehouse/contracts/policy';
import type { ClaimKind, ClaimKinds } from './claims.ts';

const KINDS: ReadonlyMap<ClaimType, ClaimKind> = new Map<ClaimType, ClaimKind>([
  [ClaimType.CLAIM_TYPE_STRING, 'string'],
  [ClaimType.CLAIM_TYPE_STRING_LIST, 'string-list'],
  [ClaimType.CLAIM_TYPE_INT, 'int'],
  [ClaimType.CLAIM_TYPE_BOOL, 'bool'],
]);

/** The types that a document declares for an issuer's claims; empty: it declares none. */
export function claimKindsOf(issuer: JwtIssuer): ClaimKinds {
  return new Map(
    Object.entries(issuer.claims).map(([name, type]): [string, ClaimKind] => [
      name,
      KINDS.get(type) ?? 'string',
    ]),
  );
}
