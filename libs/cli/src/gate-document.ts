import { type DocumentProblem, readDocument } from '@gatehouse/documents';
import { z } from 'zod';

/** How much worse than the baseline a canary may be, and how bad at most. */
export type Bounds = {
  readonly max?: number | undefined;
  /** Of shares of calls: the difference. */
  readonly aboveBaselineMax?: number | undefined;
  /** Of durations: the quotient. */
  readonly timesBaselineMax?: number | undefined;
};

const share = (form: string) => z.number(form).min(0, form).max(1, form).optional();
const SHARE = 'expected a share of calls from 0 to 1';
const DURATION = 'expected milliseconds above 0';
const QUOTIENT = 'expected a quotient of 1 or more';
const ONE_BOUND = 'expected at least one bound';

const shareBounds = z
  .strictObject({ max: share(SHARE), aboveBaselineMax: share(SHARE) })
  .refine((bounds) => Object.keys(bounds).length > 0, ONE_BOUND)
  .optional();
const durationBounds = z
  .strictObject({
    max: z.number(DURATION).positive(DURATION).optional(),
    timesBaselineMax: z.number(QUOTIENT).min(1, QUOTIENT).optional(),
  })
  .refine((bounds) => Object.keys(bounds).length > 0, ONE_BOUND)
  .optional();

const COUNT = 'expected a whole number of 1 or more';
const count = z.int(COUNT).min(1, COUNT);
const LABELS = 'expected label matchers such as `job="inference",track="canary"`';
const labels = z
  .string(LABELS)
  .regex(/^\w+(?:=|!=|=~|!~)"[^"\\]*"(?:, ?\w+(?:=|!=|=~|!~)"[^"\\]*")*$/, LABELS);
const LIMIT = 'expected a whole number of 0 or more';

const schema = z
  .strictObject({
    policy: z
      .strictObject({
        /** The candidate, relative to this document, as the folders are. */
        document: z.string('expected a file').min(1, 'expected a file'),
        audit: z
          .array(z.string().min(1, 'expected a folder'))
          .min(1, 'expected at least one folder')
          .max(100),
        decisionsMin: count.default(100),
        losesMax: z.int(LIMIT).min(0, LIMIT).default(0),
        gainsMax: z.int(LIMIT).min(0, LIMIT).default(0),
      })
      .optional(),
    slo: z
      .strictObject({
        baseline: labels.optional(),
        canary: labels.optional(),
        window: z
          .string()
          .regex(/^[1-9]\d{0,4}[smh]$/, 'expected a duration such as 10m')
          .default('10m'),
        callsMin: count.default(100),
        errorRatio: shareBounds,
        refusalRatio: shareBounds,
        latencyP99Ms: durationBounds,
        firstTokenP99Ms: durationBounds,
      })
      .refine(
        (slo) => slo.errorRatio ?? slo.refusalRatio ?? slo.latencyP99Ms ?? slo.firstTokenP99Ms,
        'expected at least one of errorRatio, refusalRatio, latencyP99Ms and firstTokenP99Ms',
      )
      .optional(),
  })
  .refine(
    ({ policy, slo }) => policy ?? slo,
    'expected policy or slo: a gate that looks at nothing lets all pass',
  );

/** What a rollout has to show before it goes on. */
export type GateDocument = z.infer<typeof schema>;
export type PolicyGate = NonNullable<GateDocument['policy']>;
export type SloGate = NonNullable<GateDocument['slo']>;

export function readGate(
  text: string,
  file: string,
): { readonly value: GateDocument } | { readonly problems: readonly DocumentProblem[] } {
  return readDocument(schema, text, file);
}

/** What was measured of one version over a time. Null: nothing was there to measure. */
export type Measures = {
  readonly calls: number | null;
  /** Shares of the calls. */
  readonly errorRatio: number | null;
  readonly refusalRatio: number | null;
  readonly latencyP99Ms: number | null;
  readonly firstTokenP99Ms: number | null;
};

const AMOUNT = 'expected a number of 0 or more';
const amount = z.number(AMOUNT).min(0, AMOUNT).nullable().default(null);
const measuresSchema = z.strictObject({
  calls: amount,
  errorRatio: amount,
  refusalRatio: amount,
  latencyP99Ms: amount,
  firstTokenP99Ms: amount,
});

/** Reads what was measured elsewhere, as `gatehouse gate --json` writes it. */
export function readMeasures(
  text: string,
  file: string,
): { readonly value: Measures } | { readonly problems: readonly DocumentProblem[] } {
  return readDocument(measuresSchema, text, file);
}
