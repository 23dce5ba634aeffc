/** One proxy under test. */
export type Ground = {
  /** Scratch folder for configuration files; sockets too. */
  readonly folder: string;
  readonly appPort: number;
  readonly otlpPort: number;
  /** PEM files: the proxy's own certificate and key, and the bundle that it trusts. */
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly bundleFile: string;
  readonly trustDomain: string;
  readonly callerSpiffeId: string;
  /** Our sidecar's program as its image has it. */
  readonly imageMain: string;
};

type Launch = {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
};

export type Candidate = {
  readonly name: string;
  /** Cores that it runs on, as `taskset` takes them. Default: the second alone. */
  readonly cores?: string;
  /** @returns the version, or null when the program is not there */
  version(): Promise<string | null>;
  /** Writes what it needs into the folder. It listens on 127.0.0.1:`port`, TLS 1.3 with client certificates. */
  prepare(ground: Ground, port: number): Promise<Launch>;
};
