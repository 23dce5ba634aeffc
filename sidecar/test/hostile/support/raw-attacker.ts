import { connect as connectTls, type TLSSocket } from 'node:tls';
import { FrameType, PREFACE } from '../../../src/http2/frame-types.ts';
import { type Frame, SETTINGS, SETTINGS_ACK } from '../../../src/http2/raw-peer.ts';
import { FrameSplitter } from './frame-splitter.ts';
import type { Target } from './hostile-mesh.ts';

/** Single frames over TLS with a valid client certificate, as many and as wrong as one likes. */
export class RawAttacker {
  /** Error code of the GOAWAY that the sidecar sent, null before. */
  goawayCode: number | null = null;
  /** Streams that the sidecar has reset, by error code. */
  readonly resets = new Map<number, number>();
  /** Cut off with an error, or closed. */
  over = false;
  readonly ended: Promise<void>;
  readonly socket: TLSSocket;
  private readonly splitter = new FrameSplitter();
  private end: () => void = () => {};

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    this.ended = new Promise((resolve) => {
      this.end = () => {
        this.over = true;
        resolve();
      };
    });
    socket.on('data', (chunk: Buffer) => this.read(chunk));
    socket.on('close', this.end);
  }

  /** @returns null when the sidecar does not let it in */
  static connect({ host, port, certificatePem, keyPem, bundlePem }: Target): Promise<RawAttacker | null> {
    const socket = connectTls({
      host,
      port,
      cert: certificatePem,
      key: keyPem,
      ca: bundlePem,
      checkServerIdentity: () => undefined,
      ALPNProtocols: ['h2'],
    });
    socket.setNoDelay(true);
    return new Promise((resolve) => {
      socket.on('error', () => resolve(null));
      socket.once('close', () => resolve(null));
      socket.once('secureConnect', () => resolve(new RawAttacker(socket)));
    });
  }

  /** The preface, SETTINGS and the acknowledgement of the sidecar's, before they have come. */
  begin(settings: Buffer = SETTINGS): Promise<void> {
    return this.write(PREFACE, settings, SETTINGS_ACK);
  }

  /** Resolves when the system has taken the bytes, or when it is all over. */
  write(...pieces: Buffer[]): Promise<void> {
    if (this.over) return Promise.resolve();
    const written = new Promise<void>((resolve) => {
      this.socket.write(Buffer.concat(pieces), () => resolve());
    });
    return Promise.race([written, this.ended]);
  }

  destroy(): void {
    this.end();
    this.socket.destroy();
  }

  private read(chunk: Buffer): void {
    for (const frame of this.splitter.push(chunk)) this.take(frame);
  }

  private take(frame: Frame): void {
    if (frame.type === FrameType.RST_STREAM) {
      const code = frame.payload.readUInt32BE(0);
      this.resets.set(code, (this.resets.get(code) ?? 0) + 1);
    } else if (frame.type === FrameType.GOAWAY) {
      this.goawayCode = frame.payload.readUInt32BE(4);
      if (this.goawayCode !== 0) this.end();
    }
  }
}
