import { checkOtlp, otlpKeys } from '@gatehouse/telemetry/otlp-config';
import { z } from 'zod';

const KIB = 1024;
const MIB = 1024 * KIB;

const ADDRESS = /^(unix:\/.+|(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):\d{1,5})$/;
const ADDRESS_FORM = 'expected an address like unix:/run/app.sock or 127.0.0.1:8443';
/** `sun_path` takes 107 bytes. */
const SOCKET_PATH_BYTES_MAX = 100;
const PORT_MAX = 65_535;

/** `unix:/abs/path.sock` or `host:port`; port 0 asks the system for a free one. */
const address = z
  .string()
  .regex(ADDRESS, { error: ADDRESS_FORM, abort: true })
  .refine(isInRange, `expected at most ${SOCKET_PATH_BYTES_MAX} bytes of path, or a port up to ${PORT_MAX}`);

/** Checks between keys run although a key has a problem of its own, so that all problems show at once. */
const ALWAYS = { when: ({ value }: { value: unknown }) => typeof value === 'object' && value !== null };

const spiffeId = z
  .string()
  .regex(
    /^spiffe:\/\/[a-z0-9._-]+\/[A-Za-z0-9._/-]+$/,
    'expected a SPIFFE ID like spiffe://example.org/ns/prod/sa/inference',
  );

const file = z.string().min(1, 'expected a path');

function bounded(min: number, max: number, byDefault: number) {
  const form = `expected a whole number from ${min} to ${max}`;
  return z.int(form).min(min, form).max(max, form).default(byDefault);
}

/** The own identity: from three files, or from an agent of the SPIFFE Workload API. */
const identity = z
  .strictObject({
    /** PEM: the workload's certificate and any intermediates. */
    certificateFile: file.optional(),
    /** PEM: its private key. */
    keyFile: file.optional(),
    /** PEM: the CA certificates of the own trust domain. */
    bundleFile: file.optional(),
    /** Where the agent listens. */
    workloadApi: localAddress('an agent knows a workload by its process').optional(),
    /** Which identity to take, where an agent gives several. Default: its default one. */
    spiffeId: spiffeId.optional(),
    trustDomain: z.string().regex(/^[a-z0-9._-]{1,255}$/, 'expected a trust domain like example.org'),
  })
  .superRefine((given, context) => {
    const report = (key: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [key], input: given[key as keyof typeof given], message });
    for (const key of ['certificateFile', 'keyFile', 'bundleFile'] as const) {
      if (given.workloadApi === undefined && given[key] === undefined)
        report(key, 'expected a path, or workloadApi instead of files');
      if (given.workloadApi !== undefined && given[key] !== undefined)
        report(key, 'expected no file beside workloadApi');
    }
    if (given.workloadApi === undefined && given.spiffeId !== undefined)
      report('spiffeId', 'expected only with workloadApi');
  }, ALWAYS);

const upstream = z
  .strictObject({
    /** What apps dial as `:authority`. */
    name: z
      .string()
      .regex(
        /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?$/,
        'expected a name like inference or inference.prod:443',
      ),
    /** The SPIFFE ID that its certificate must show. */
    identity: spiffeId,
    /** Where it is, in one of three ways: a list, */
    endpoints: z
      .array(address)
      .min(1, 'expected at least one endpoint')
      .max(1024, 'expected at most 1024 endpoints')
      .optional(),
    /** a name whose every address is an endpoint, as that of a headless Service, asked for again and again, */
    dns: z
      .string()
      .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?:[1-9]\d{0,4}$/, {
        error: 'expected a name and a port like embeddings-pods.prod.svc:8443',
        abort: true,
      })
      .refine(isInRange, `expected a port up to ${PORT_MAX}`)
      .optional(),
    /** or a Service of Kubernetes, whose EndpointSlices are watched, with the port of its pods. */
    service: z
      .string()
      .regex(
        /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
        'expected namespace/name',
      )
      .optional(),
    port: z
      .union(
        [z.int().min(1).max(PORT_MAX), z.string().regex(/^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/)],
        `expected a port up to ${PORT_MAX}, or the name of a port of the Service`,
      )
      .optional(),
  })
  .superRefine((given, context) => {
    const ways = (['endpoints', 'dns', 'service'] as const).filter((key) => given[key] !== undefined);
    const report = (path: string[], message: string): void =>
      context.addIssue({ code: 'custom', path, input: undefined, message });
    if (ways.length !== 1) report([], 'expected one of endpoints, dns and service');
    if ((given.service === undefined) !== (given.port === undefined))
      report(['port'], 'expected service and port together');
  }, ALWAYS);

/** The API server, as a pod with a service account finds it. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const kubernetes = z.strictObject({
  apiServer: z
    .url({ protocol: /^https$/, error: 'expected a URL like https://kubernetes.default.svc' })
    .default('https://kubernetes.default.svc'),
  /** PEM: its CA. */
  caFile: file.default(`${SERVICE_ACCOUNT}/ca.crt`),
  /** Read anew for every request, because it is renewed in place. */
  tokenFile: file.default(`${SERVICE_ACCOUNT}/token`),
});

const telemetry = z
  .strictObject({
    /** Probes and Prometheus metrics; nothing else. */
    listen: address,
    /** Takes spans. Without it none leaves. */
    ...otlpKeys,
    /** The share of traces begun here that are sampled. */
    sampleRatio: z.number().min(0, 'expected 0 to 1').max(1, 'expected 0 to 1').default(0.01),
  })
  .superRefine(checkOtlp, ALWAYS);

const adaptive = z
  .strictObject({
    /** Whether calls are turned away when the app gets slow. Inbound alone; callers who would rather wait want it off. */
    enabled: z.boolean('expected true or false').default(false),
    /** Calls of one method in flight below which none is turned away: what the app computes at once, or less. */
    callsMin: bounded(1, 10_000, 8),
    /** How long a call may wait at the app for its first response message, beyond what it takes when little is going on. */
    waitMsMax: bounded(1, 60_000, 500),
    /** The part of the adaptive limit that calls of low priority may fill. */
    lowSharePercent: bounded(1, 100, 50),
    /** The part that calls of low and normal priority may fill together; the rest is kept for high priority. */
    normalSharePercent: bounded(1, 100, 75),
  })
  .superRefine((shares, context) => {
    if (shares.lowSharePercent <= shares.normalSharePercent) return;
    context.addIssue({
      code: 'custom',
      path: ['lowSharePercent'],
      input: shares.lowSharePercent,
      message: `expected at most normalSharePercent, ${shares.normalSharePercent}`,
    });
  });

/** Keys for pseudonyms, by the names that the policy's protections use. */
const protection = z.strictObject({
  keys: z
    .array(
      z.strictObject({
        name: z
          .string()
          .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'expected letters, digits, `.`, `_` and `-`'),
        /** 32 bytes or more in base64, as `openssl rand -base64 32` writes them. */
        file,
      }),
    )
    .max(64, 'expected at most 64 keys')
    .refine((keys) => new Set(keys.map(({ name }) => name)).size === keys.length, 'expected each name once')
    .default([]),
});

/** Where decisions are recorded; what is recorded, and what happens when that fails, policy says. */
const audit = z
  .strictObject({
    /** Holds the segments; of this sidecar alone. It is made where it is missing. */
    folder: file,
    /** A segment is closed before it grows larger. */
    segmentBytesMax: bounded(64 * KIB, 1024 * MIB, 64 * MIB),
    /** Segments that are kept; older ones are removed, which the chain says. Default: all. */
    segmentsKeptMax: z
      .int('expected a whole number from 2 up')
      .min(2, 'expected a whole number from 2 up')
      .optional(),
    /** Records that may wait for the disk; calls beyond are refused, or go on unrecorded, as policy says. */
    recordsWaitingMax: bounded(1, 1_000_000, 20_000),
    /** How long records may wait for others, so that one write takes them all. No answer waits for it. */
    groupMsMax: bounded(0, 1000, 20),
    /** A write that takes longer counts as one that fails. */
    writeMsMax: bounded(10, 600_000, 5000),
    /** Between two tries while writing fails. */
    retryMs: bounded(10, 60_000, 1000),
    /** An Ed25519 private key in PEM that signs checkpoints (`gatehouse audit keygen`). Default: nothing is signed. */
    signingKeyFile: file.optional(),
    /** A checkpoint is signed after so many entries, or so long after the last, and at the end. */
    checkpointEveryEntries: bounded(1, 10_000_000, 10_000),
    checkpointEveryMs: bounded(100, 86_400_000, 60_000),
    /** Takes entries and checkpoints, as logs, once they are on disk. */
    ...otlpKeys,
  })
  .superRefine(checkOtlp, ALWAYS);

/** The store of limits that replicas share. */
const sharedLimits = z.strictObject({
  /** A Redis (6.2 or later) or Valkey server. It must not evict keys: `maxmemory-policy noeviction`. */
  redis: z
    .strictObject({
      address,
      tls: z
        .strictObject({
          /** PEM: CA certificates of the server. */
          caFile: file,
          /** PEM: our certificate and its key, where the server asks for one. */
          certificateFile: file.optional(),
          keyFile: file.optional(),
          /** What the server's certificate names. Default: the host of the address. */
          serverName: z.string().min(1).max(255).optional(),
        })
        .optional(),
      username: z.string().min(1).max(256).optional(),
      /** Holds the password and nothing else. */
      passwordFile: file.optional(),
      database: bounded(0, 1023, 0),
    })
    .superRefine(({ address: at, tls }, context) => {
      const report = (path: string[], message: string): void =>
        context.addIssue({ code: 'custom', path, input: tls, message });
      if (typeof at === 'string' && at.startsWith('unix:') && tls !== undefined)
        report(['tls'], 'expected none with a Unix socket');
      if ((tls?.certificateFile === undefined) !== (tls?.keyFile === undefined))
        report(['tls'], 'expected certificateFile and keyFile together');
    }, ALWAYS),
  /** Before every key. Sidecars that share accounts have the same. */
  keyPrefix: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'expected up to 64 letters, digits, `.`, `_` and `-`')
    .default('gatehouse'),
  /** How long a call waits for the store at most. */
  answerMsMax: bounded(1, 10_000, 100),
  /** How long what a call has reserved is kept when nothing is heard of its sidecar any more. */
  leaseMs: bounded(1000, 600_000, 10_000),
});

const limits = z.strictObject({
  /** Calls in progress in each direction; one more is refused with RESOURCE_EXHAUSTED. */
  callsActiveMax: bounded(1, 1_000_000, 10_000),
  /** Inbound connections; one more is closed before its handshake. */
  connectionsMax: bounded(1, 100_000, 4096),
  /** Streams a peer may open on one connection (RFC 9113 §5.1.2). */
  streamsPerConnectionMax: bounded(1, 100_000, 1024),
  /** From accept to a finished TLS handshake. */
  handshakeMsMax: bounded(100, 60_000, 5000),
  /** How long a call waits for its first message where policy has to read it. */
  firstMessageMsMax: bounded(10, 60_000, 5000),
  /** Request bytes held for policy or for another try, over all calls. */
  heldBytesMax: bounded(64 * KIB, 1024 * MIB, 64 * MIB),
  /** How long a stream's data may wait for a reader that takes none of it, or next to none. */
  slowReaderMsMax: bounded(100, 3_600_000, 300_000),
  /** Silence on a connection of the network after which the peer has to answer a PING, and how long it may take. */
  keepaliveMs: bounded(100, 3_600_000, 30_000),
  keepaliveAnswerMsMax: bounded(100, 600_000, 10_000),
  /** Response bytes held for callers who read slowly, over all calls; whoever holds too much of it is let go. */
  unreadBytesMax: bounded(256 * KIB, 1024 * MIB, 32 * MIB),
  /** Request bytes kept of one call so that it can be tried again. */
  retryBytesPerCallMax: bounded(0, 16 * MIB, 64 * KIB),
  /** Tries of one call, the first included. */
  attemptsMax: bounded(1, 10, 3),
  /** How often upstreams with `dns` are looked up. */
  endpointsRefreshMs: bounded(100, 300_000, 5000),
  /** How long a call waits for a connection to its upstream. */
  connectMsMax: bounded(10, 60_000, 2000),
  /** Connections to the app that callers are spread over. */
  appConnectionsMax: bounded(1, 256, 4),
  /** From SIGTERM to the end: calls in flight may finish within it. */
  drainMsMax: bounded(0, 3_600_000, 25_000),
  /** How long the sidecar stays up and not ready before it sends GOAWAY. */
  drainNoticeMs: bounded(0, 600_000, 0),
  /** Load shedding: how many calls of a method may be at the app at once, by how long they take. */
  adaptive: adaptive.prefault({}),
  /** Accounts of the policy's limits that are kept in memory, of all limits together. */
  quotaAccountsMax: bounded(1, 1_000_000, 20_000),
  /** Output tokens reserved for a call that does not say how many it will take; a stream takes more as it flows. */
  outputTokensDefault: bounded(1, 1_000_000, 1024),
  /** Decisions kept for the admin view. */
  decisionsKeptMax: bounded(1, 100_000, 1000),
});

/** A sidecar's configuration file. Sizes are bytes, times are milliseconds. */
export const sidecarConfigSchema = z
  .strictObject({
    /** Shown in traces as `<name>-sidecar`. */
    name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'expected lower case letters, digits and hyphens'),
    identity,
    /** mTLS towards the network, plaintext towards the app. */
    inbound: z.strictObject({ listen: address, app: address }).optional(),
    /** Plaintext from the app, mTLS towards upstreams. */
    egress: z
      .strictObject({
        listen: localAddress('whoever reaches it calls with this identity'),
      })
      .optional(),
    upstreams: z.array(upstream).max(1024, 'expected at most 1024 upstreams').default([]),
    /** For upstreams with `service`. */
    kubernetes: kubernetes.prefault({}),
    /** The policy document; required with `inbound`. */
    policyFile: file.optional(),
    /** A policy document that decides beside it and does not act: its differences are counted and recorded. */
    shadowPolicyFile: file.optional(),
    /** A JWKS: only policy documents signed by one of its keys are taken (`gatehouse policy sign`). */
    policySigners: file.optional(),
    contract: z
      .strictObject({
        /** A FileDescriptorSet. Default: Gatehouse's own contracts. */
        descriptorSetFile: file.optional(),
        /** Classify methods and fields of foreign descriptors. */
        overlayFiles: z.array(file).default([]),
      })
      .prefault({}),
    telemetry,
    audit: audit.optional(),
    sharedLimits: sharedLimits.optional(),
    protection: protection.prefault({}),
    admin: z.strictObject({ listen: localAddress('the admin port has no authentication') }),
    limits: limits.prefault({}),
    log: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).prefault({}),
  })
  .superRefine((config, context) => {
    if (!config.inbound && !config.egress) {
      context.addIssue({
        code: 'custom',
        path: [],
        input: undefined,
        message: 'expected inbound, egress or both',
      });
    }
    if (config.inbound && !config.policyFile) {
      context.addIssue({
        code: 'custom',
        path: ['policyFile'],
        input: config.policyFile,
        message: 'expected a policy file: inbound calls are denied without one',
      });
    }
    const seen = new Set<unknown>();
    const upstreams: unknown[] = Array.isArray(config.upstreams) ? config.upstreams : [];
    upstreams.forEach((each, index) => {
      const { name } = (each ?? {}) as { name?: unknown };
      if (name !== undefined && seen.has(name)) {
        context.addIssue({
          code: 'custom',
          path: ['upstreams', index, 'name'],
          input: name,
          message: 'expected a name that no other upstream has',
        });
      }
      seen.add(name);
    });
  }, ALWAYS);

export type SidecarConfig = z.output<typeof sidecarConfigSchema>;

function isInRange(at: string): boolean {
  return at.startsWith('unix:')
    ? Buffer.byteLength(at.slice('unix:'.length)) <= SOCKET_PATH_BYTES_MAX
    : Number(at.slice(at.lastIndexOf(':') + 1)) <= PORT_MAX;
}

function localAddress(because: string) {
  return address.refine(
    (at) => /^(unix:|127\.\d+\.\d+\.\d+:|localhost:|\[::1\]:)/.test(at),
    `expected a Unix socket or a loopback address: ${because}`,
  );
}

/** The schema of the file, for editors (JSON Schema 2020-12). */
export function sidecarConfigJsonSchema(): object {
  return z.toJSONSchema(sidecarConfigSchema, { io: 'input' });
}
