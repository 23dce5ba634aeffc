import { AuditEntry } from '@gatehouse/contracts/audit';

/** @returns null when the bytes are no entry, which a sidecar never writes */
export function decodeEntry(bytes: Buffer): AuditEntry | null {
  try {
    return AuditEntry.decode(bytes);
  } catch {
    return null;
  }
}
