/** A connection's time-outs, checked by the ticker: coarse, and free of cost between ticks. */
import type { ViolationKind } from './abuse-guard.ts';
import { ErrorCode } from './error-code.ts';
import type { HeaderBlock } from './header-block.ts';
import type { OutputBuffer } from './output-buffer.ts';
import type { ConnectionSettings } from './settings.ts';
import type { Ticked } from './ticker.ts';

/** What the watchdog looks at and acts on. */
export interface Watched {
  readonly settings: ConnectionSettings;
  readonly activeStreams: number;
  readonly closed: boolean;
  readonly draining: boolean;
  /** The peer's first SETTINGS have come. */
  readonly settingsReceived: boolean;
  readonly settingsAcknowledged: boolean;
  shutdown(): void;
  fail(kind: ViolationKind, code: number, detail: string): void;
  sendKeepalive(): void;
  endDrainWait(): void;
  resetStalled(nowMs: number): void;
  sendPostponed(nowMs: number): void;
  destroySocket(): void;
}

export class Watchdog implements Ticked {
  /** Something came in since the last tick. */
  sawInput = false;
  private readonly watched: Watched;
  private readonly output: OutputBuffer;
  private readonly block: HeaderBlock;
  private readonly startedAtMs: number;
  private lastInputMs: number;
  private idleSinceMs: number;
  private pingedAtMs = -1;
  private drainingSinceMs = -1;
  private closedSinceMs = -1;
  private writeSinceMs: number;
  private writesSeen = 0;
  private blockSinceMs: number;
  private blockSeen = 0;

  constructor(watched: Watched, output: OutputBuffer, block: HeaderBlock, nowMs: number) {
    this.watched = watched;
    this.output = output;
    this.block = block;
    this.startedAtMs = nowMs;
    this.lastInputMs = nowMs;
    this.idleSinceMs = nowMs;
    this.writeSinceMs = nowMs;
    this.blockSinceMs = nowMs;
  }

  onTick(nowMs: number): void {
    const { watched } = this;
    if (watched.closed) return this.linger(nowMs);
    this.checkStart(nowMs);
    this.checkInput(nowMs);
    this.checkWrite(nowMs);
    this.checkHeaderBlock(nowMs);
    this.checkIdle(nowMs);
    this.checkDrain(nowMs);
    if (!watched.closed) watched.sendPostponed(nowMs);
    if (watched.settings.streamStallTimeoutMs > 0 && !watched.closed) watched.resetStalled(nowMs);
  }

  private linger(nowMs: number): void {
    if (this.closedSinceMs < 0) this.closedSinceMs = nowMs;
    if (nowMs - this.closedSinceMs >= this.watched.settings.lingerMs) this.watched.destroySocket();
  }

  private checkStart(nowMs: number): void {
    const { watched } = this;
    const { prefaceTimeoutMs, settingsAckTimeoutMs } = watched.settings;
    const elapsedMs = nowMs - this.startedAtMs;
    if (!watched.settingsReceived) {
      if (elapsedMs >= prefaceTimeoutMs) {
        watched.fail('preface-timeout', ErrorCode.SETTINGS_TIMEOUT, 'no SETTINGS in time');
      }
    } else if (!watched.settingsAcknowledged && elapsedMs >= settingsAckTimeoutMs) {
      watched.fail('settings-timeout', ErrorCode.SETTINGS_TIMEOUT, 'SETTINGS not acknowledged in time');
    }
  }

  private checkInput(nowMs: number): void {
    const { keepaliveIntervalMs, keepaliveTimeoutMs } = this.watched.settings;
    if (this.sawInput) {
      this.sawInput = false;
      this.lastInputMs = nowMs;
      this.pingedAtMs = -1;
    } else if (keepaliveIntervalMs === 0) {
      return;
    } else if (this.pingedAtMs >= 0) {
      if (nowMs - this.pingedAtMs >= keepaliveTimeoutMs) {
        this.watched.fail('keepalive-timeout', ErrorCode.INTERNAL_ERROR, 'keepalive PING not answered');
      }
    } else if (nowMs - this.lastInputMs >= keepaliveIntervalMs) {
      this.pingedAtMs = nowMs;
      this.watched.sendKeepalive();
    }
  }

  private checkWrite(nowMs: number): void {
    const { outputBufferedBytesMax, writeTimeoutMs } = this.watched.settings;
    const { output } = this;
    if (output.bufferedBytes > outputBufferedBytesMax) {
      this.watched.fail('slow-reader', ErrorCode.ENHANCE_YOUR_CALM, 'too much output unread');
    }
    if (output.inFlightBytes === 0 || output.writesDone !== this.writesSeen) {
      this.writesSeen = output.writesDone;
      this.writeSinceMs = nowMs;
    } else if (writeTimeoutMs > 0 && nowMs - this.writeSinceMs >= writeTimeoutMs) {
      this.watched.fail('slow-reader', ErrorCode.ENHANCE_YOUR_CALM, 'write not finished in time');
    }
  }

  private checkHeaderBlock(nowMs: number): void {
    const { block } = this;
    if (block.streamId === 0 || block.begun !== this.blockSeen) {
      this.blockSeen = block.begun;
      this.blockSinceMs = nowMs;
    } else if (nowMs - this.blockSinceMs >= this.watched.settings.headerBlockTimeoutMs) {
      this.watched.fail(
        'slow-header-block',
        ErrorCode.ENHANCE_YOUR_CALM,
        'header block not finished in time',
      );
    }
  }

  private checkIdle(nowMs: number): void {
    const { idleTimeoutMs } = this.watched.settings;
    if (this.watched.activeStreams > 0) this.idleSinceMs = nowMs;
    else if (idleTimeoutMs > 0 && nowMs - this.idleSinceMs >= idleTimeoutMs) this.watched.shutdown();
  }

  private checkDrain(nowMs: number): void {
    if (!this.watched.draining) return;
    if (this.drainingSinceMs < 0) this.drainingSinceMs = nowMs;
    if (nowMs - this.drainingSinceMs >= this.watched.settings.shutdownPingTimeoutMs)
      this.watched.endDrainWait();
  }
}
