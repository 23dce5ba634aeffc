import { AuditEntry, type AuditRecord } from '@gatehouse/contracts/audit';
import type { ChainPoint } from './chain-scan.ts';
import type { ChainEnd } from './recover-chain.ts';
import { SegmentWriter } from './segment-writer.ts';

export type AuditLogOptions = {
  readonly folder: string;
  readonly end: ChainEnd;
  readonly limits: AuditLogLimits;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Called when writing begins to fail, and when it works again. */
  readonly onFailing: (reason: string) => void;
  readonly onRecovered: (lost: { readonly records: number; readonly callsRefused: number }) => void;
  /** Called with each entry once it is on disk, in their order. */
  readonly onWritten: (entry: WrittenEntry) => void;
};

/** An entry that is on disk. */
export type WrittenEntry = ChainPoint & { readonly content: Exclude<AuditEntry['content'], undefined> };

export type AuditLogLimits = {
  /** A segment is closed before it grows larger. */
  readonly segmentBytesMax: number;
  /** Null: every segment is kept. */
  readonly segmentsKeptMax: number | null;
  /** Records that may wait for the disk. */
  readonly recordsWaitingMax: number;
  /** How long a record that nobody waits for may wait for others, so that one write takes them all. */
  readonly groupMsMax: number;
  /** A write that takes longer counts as one that fails, until it ends. */
  readonly writeMsMax: number;
  /** Between two tries to write while writing fails. */
  readonly retryMs: number;
};

/** Totals since the start. */
export type AuditTotals = {
  written: number;
  lost: number;
  callsRefused: number;
  /** Writes, each with one flush to disk. */
  groups: number;
};

type Waiter = { readonly appended: number; readonly resolve: (isDurable: boolean) => void };

/** Entries of one write. With at most 64 KiB each it is bounded in bytes as well. */
const GROUP_ENTRIES_MAX = 1024;

/**
 * The audit records of one sidecar on their way to disk. Appending never waits: records gather, and one write with one
 * flush takes all that came meanwhile. While the disk refuses them they wait, up to a limit, and are tried again.
 */
export class AuditLog {
  readonly totals: AuditTotals = { written: 0, lost: 0, callsRefused: 0, groups: 0 };
  readonly #options: AuditLogOptions;
  readonly #writer: SegmentWriter;
  readonly #waiting: AuditEntry[] = [];
  readonly #waiters: Waiter[] = [];
  /** Entries taken so far, and those of them that are on disk. */
  #appended = 0;
  #durable = 0;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #writing: Promise<void> | undefined;
  #failing: { readonly sinceMs: number; readonly reason: string } | null = null;
  /** What to say of the gap once writing works. */
  #lostSinceMs: number | null = null;
  #lost = 0;
  #callsRefused = 0;
  #closed = false;
  #closing = false;

  constructor(options: AuditLogOptions) {
    this.#options = options;
    this.#writer = new SegmentWriter(options.folder, options.limits.segmentBytesMax, options.end);
  }

  /** Why records can't be written at the moment; null when they can. */
  get failing(): string | null {
    return this.#failing?.reason ?? null;
  }

  /** Why a new call's record might not be kept; null when there is room for it. */
  get unavailableBecause(): string | null {
    if (this.#failing !== null) return this.#failing.reason;
    return this.#waiting.length >= this.#options.limits.recordsWaitingMax
      ? `${this.#waiting.length} records wait for the disk`
      : null;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get point(): ChainPoint | null {
    return this.#writer.point;
  }

  /**
   * Takes a record. Never waits, never throws. While it waits it may still be changed.
   * @param mayBeLost whether it is dropped, and counted, when there is no room; else it is taken all the same, because
   * whoever calls so admits no further call before there is room
   */
  append(record: AuditRecord, mayBeLost = false): void {
    const full = this.#waiting.length >= this.#options.limits.recordsWaitingMax;
    if (this.#closed || (full && mayBeLost)) {
      this.totals.lost += 1;
      this.#lost += 1;
      this.#lostSinceMs ??= this.#options.clock();
      return;
    }
    this.#push({ content: { $case: 'record', value: record } });
  }

  /** Notes an entry about the chain itself. */
  appendNote(content: Exclude<AuditEntry['content'], undefined>): void {
    this.#push({ content });
  }

  /** A call was refused because its record could not have been kept. */
  callRefused(): void {
    this.totals.callsRefused += 1;
    this.#callsRefused += 1;
    this.#lostSinceMs ??= this.#options.clock();
  }

  /**
   * Writes at once what waits.
   * @returns whether all that was appended so far is on disk; false as soon as writing fails
   */
  async durable(): Promise<boolean> {
    if (this.#durable === this.#appended) return true;
    if (this.#failing !== null || this.#closed) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#waiters.push({ appended: this.#appended, resolve });
    this.#writeSoon(0);
    return promise;
  }

  /** Writes what waits, if the disk takes it, and closes the segment. Records appended later are lost. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.durable();
    this.#closed = true;
    clearTimeout(this.#timer);
    this.totals.lost += this.#waiting.length;
    // A write that hangs is not waited for.
    if (this.#failing !== null) return this.#abandonFile();
    await this.#writing;
    await this.#writer.close();
  }

  #push(entry: AuditEntry): void {
    this.#waiting.push(entry);
    this.#appended += 1;
    this.#writeSoon(this.#options.limits.groupMsMax);
  }

  #writeSoon(withinMs: number): void {
    if (this.#writing !== undefined || this.#failing !== null) return;
    if (withinMs > 0 && this.#waiting.length < GROUP_ENTRIES_MAX) {
      this.#timer ??= setTimeout(() => this.#begin(), withinMs).unref();
      return;
    }
    // After the present turn, so that a group takes all that it brings.
    this.#immediate ??= setImmediate(() => this.#begin());
  }

  #begin(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#timer = undefined;
    this.#immediate = undefined;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
      if (this.#waiting.length === 0 || this.#closed) return;
      this.#writeSoon(this.#waiters.length > 0 ? 0 : this.#options.limits.groupMsMax);
    });
  }

  async #writeAll(): Promise<void> {
    do {
      const group = this.#waiting.slice(0, GROUP_ENTRIES_MAX);
      if (group.length === 0) return;
      const { writeMsMax } = this.#options.limits;
      const late = setTimeout(() => this.#fail(`a write takes more than ${writeMsMax} ms`), writeMsMax);
      let points: readonly ChainPoint[];
      try {
        points = await this.#writer.write(group.map((entry) => AuditEntry.encode(entry).finish()));
      } catch (error) {
        this.#fail((error as Error).message);
        this.#tryAgain();
        return;
      } finally {
        clearTimeout(late);
      }
      this.#wrote(group, points);
      await this.#retain();
      // One group after another while somebody waits; what nobody waits for gathers again.
    } while (this.#waiters.length > 0 && this.#failing === null);
  }

  #wrote(group: readonly AuditEntry[], points: readonly ChainPoint[]): void {
    this.#waiting.splice(0, group.length);
    this.#durable += group.length;
    this.totals.groups += 1;
    this.#recover();
    const waiters = this.#waiters;
    while (waiters[0] !== undefined && waiters[0].appended <= this.#durable) waiters.shift()?.resolve(true);
    for (const [at, { content }] of group.entries()) {
      if (content === undefined) continue;
      if (content.$case === 'record') this.totals.written += 1;
      this.#options.onWritten({ ...(points[at] as ChainPoint), content });
    }
  }

  #fail(reason: string): void {
    if (this.#failing === null) {
      this.#failing = { sinceMs: this.#options.clock(), reason };
      this.#options.onFailing(reason);
    }
    for (const { resolve } of this.#waiters.splice(0)) resolve(false);
  }

  /** Closes the file whenever that can be done; what it says no longer matters. */
  #abandonFile(): void {
    this.#writer.close().catch(() => {});
  }

  #tryAgain(): void {
    if (this.#closing) return this.#abandonFile();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#begin(), this.#options.limits.retryMs).unref();
  }

  /** Writing works: says in the chain what it lacks. */
  #recover(): void {
    const failed = this.#failing;
    this.#failing = null;
    const [records, callsRefused] = [this.#lost, this.#callsRefused];
    if (failed !== null) this.#options.onRecovered({ records, callsRefused });
    if (records + callsRefused === 0) return;
    const until = this.#options.clock();
    const since = this.#lostSinceMs ?? until;
    this.#lost = 0;
    this.#callsRefused = 0;
    this.#lostSinceMs = null;
    this.#push({
      content: {
        $case: 'lost',
        value: {
          since: new Date(since),
          until: new Date(until),
          records: BigInt(records),
          callsRefused: BigInt(callsRefused),
          reason: failed?.reason ?? 'too many records waited for the disk',
        },
      },
    });
  }

  /** Removes the oldest segments, after an entry that says so is on disk. */
  async #retain(): Promise<void> {
    const { segmentsKeptMax } = this.#options.limits;
    if (segmentsKeptMax === null) return;
    try {
      const through = await this.#writer.removalDownTo(segmentsKeptMax);
      if (through === null) return;
      const value = {
        time: new Date(this.#options.clock()),
        throughSequence: BigInt(through.sequence),
        throughHash: through.hash,
      };
      const note: AuditEntry = { content: { $case: 'removed', value } };
      await this.#writer.write([AuditEntry.encode(note).finish()]);
      await this.#writer.removeThrough(through.sequence);
    } catch (error) {
      this.#fail((error as Error).message);
      this.#tryAgain();
    }
  }
}
