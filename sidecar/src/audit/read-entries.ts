import type { AuditEntry } from '@gatehouse/contracts/audit';
import { decodeEntry } from './decode-entry.ts';
import { findFrame, readFrame } from './frame.ts';
import { listSegments, readSegment } from './segments.ts';

/** An entry and where it stands. */
export type StoredEntry = {
  readonly sequence: number;
  readonly segment: string;
  readonly offset: number;
  readonly content: Exclude<AuditEntry['content'], undefined>;
};

/** The entries of a folder in their order. Bytes that are no entry are passed over: what they are, `verifyChain` says. */
export async function* readEntries(folder: string): AsyncGenerator<StoredEntry> {
  for (const segment of await listSegments(folder)) {
    const data = await readSegment(folder, segment);
    for (let offset = 0; offset >= 0 && offset < data.length; ) {
      const frame = readFrame(data, offset);
      if (typeof frame === 'string') {
        offset = findFrame(data, offset + 1);
        continue;
      }
      const content = decodeEntry(frame.entry)?.content;
      if (content !== undefined) yield { sequence: frame.sequence, segment, offset, content };
      offset += frame.bytes;
    }
  }
}
