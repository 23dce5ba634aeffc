/** Files of TLS towards a collector, PEM. They are read again when they have changed. */
type OtlpTls = {
  /** CA certificates of the collector. Default: those that Node knows. */
  readonly caFile?: string | undefined;
  /** Our certificate and its key, where the collector asks for one. */
  readonly certificateFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** What the collector's certificate names. Default: the host of the endpoint. */
  readonly serverName?: string | undefined;
};

/** A collector that takes OTLP over gRPC. */
export type OtlpTarget = {
  /** `http://host:port` in plaintext, `https://host:port` over TLS, where the host is a name. */
  readonly otlpEndpoint: string;
  readonly otlpTls?: OtlpTls | undefined;
  /** Holds headers of every export, `NAME: VALUE` a line. Read again when it has changed. */
  readonly otlpHeadersFile?: string | undefined;
};

/** Where telemetry goes. Without an endpoint nothing is loaded, and what is recorded is ignored. */
export type OtlpOptions = Omit<OtlpTarget, 'otlpEndpoint'> & {
  readonly otlpEndpoint?: string | undefined;
};
