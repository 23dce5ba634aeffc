/** The request field in which stubs say the version they were made from, and health answers the one that an app serves. */
export const CONTRACT_HEADER = 'gatehouse-contract';

/** `1.4.0`; no range, no pre-release. */
export const CONTRACT_VERSION_PATTERN = /^(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})$/;

/**
 * What becomes of something that was written for one version of a contract where another one is served.
 * - `fits`: the same major version, and not a newer minor one
 * - `newer`: the same major version and a newer minor one, which may hold what the served one lacks
 * - `other`: another major version; in 0.x another minor version is that already (semver.org, 4)
 */
export type ContractFit = 'fits' | 'newer' | 'other';

/** @throws TypeError for what is no version: it is checked where it comes in */
export function contractFit(written: string, served: string): ContractFit {
  const [writtenMajor, writtenMinor] = parts(written);
  const [servedMajor, servedMinor] = parts(served);
  if (writtenMajor !== servedMajor) return 'other';
  if (writtenMinor <= servedMinor) return writtenMajor === 0 && writtenMinor < servedMinor ? 'other' : 'fits';
  return writtenMajor === 0 ? 'other' : 'newer';
}

function parts(version: string): readonly [number, number] {
  const [, major, minor] = CONTRACT_VERSION_PATTERN.exec(version) ?? [];
  if (major === undefined) throw new TypeError(`not a version of a contract: ${version}`);
  return [Number(major), Number(minor)];
}
