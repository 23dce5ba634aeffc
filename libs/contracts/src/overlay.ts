import { formatProblem, readDocument } from '@gatehouse/documents';
import { z } from 'zod';
import { CONTRACT_VERSION_PATTERN } from './contract-version.ts';
import {
  FieldRole,
  fieldRoleFromJSON,
  Sensitivity,
  sensitivityFromJSON,
} from './gen/gatehouse/policy/v1/annotations.ts';

export type CostUnit = 'requests' | 'tokens';

/** What an overlay says of a method. A key that is absent leaves what the method's own options say. */
export interface MethodOverlay {
  readonly permission?: string;
  readonly costUnit?: CostUnit;
  readonly deadlineMsDefault?: number;
  readonly deadlineMsMax?: number;
  readonly requestBytesMax?: number;
  readonly responseBytesMax?: number;
  readonly idempotent?: boolean;
}

/** What an overlay says of a field. A key that is absent leaves what the field's own options say. */
interface FieldOverlay {
  readonly role?: FieldRole;
  readonly sensitivity?: Sensitivity;
}

/** Classifies descriptors whose protos are not ours to annotate. */
export interface Overlay {
  readonly fileName: string;
  /** Whether entries that the descriptor set does not have are passed over; otherwise each is a problem. */
  readonly partial: boolean;
  /** The version of the contract; undefined leaves what the protos state. */
  readonly contractVersion?: string | undefined;
  /** By path, `/pkg.Service/Method`. */
  readonly methods: ReadonlyMap<string, MethodOverlay>;
  /** By full name, `pkg.Message.field`. */
  readonly fields: ReadonlyMap<string, FieldOverlay>;
}

/** The shape that permissions have: `area.verb`. */
export const PERMISSION_PATTERN = /^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+$/;
const METHOD_PATTERN = /^\/?((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*\/[A-Za-z_]\w*)$/;
const FIELD_PATTERN = /^(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*$/;
const DURATION_PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/;
const MS_PER_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const DURATION_MS_MAX = 7 * 24 * 3_600_000;
const MESSAGE_BYTES_MAX = 0xffff_ffff;

const DURATION_FORM = 'expected a duration such as `500ms`, `5s` or `10m`, at most 168h';
const duration = z
  .string(DURATION_FORM)
  .transform(toMs)
  .refine((ms) => ms >= 1 && ms <= DURATION_MS_MAX, DURATION_FORM)
  .optional();

const BYTES_FORM = `expected a whole number of bytes from 1 to ${MESSAGE_BYTES_MAX}`;
const bytes = z.int(BYTES_FORM).min(1, BYTES_FORM).max(MESSAGE_BYTES_MAX, BYTES_FORM).optional();

const methodSchema = z
  .strictObject({
    permission: z
      .string()
      .regex(PERMISSION_PATTERN, 'expected a permission such as `inference.generate`')
      .optional(),
    costUnit: z.enum(['requests', 'tokens'], 'expected `requests` or `tokens`').optional(),
    deadlineDefault: duration,
    deadlineMax: duration,
    requestBytesMax: bytes,
    responseBytesMax: bytes,
    idempotent: z.boolean().optional(),
  })
  .transform(({ deadlineDefault, deadlineMax, ...method }) =>
    withoutAbsent({ ...method, deadlineMsDefault: deadlineDefault, deadlineMsMax: deadlineMax }),
  );

const fieldSchema = z
  .strictObject({
    role: z
      .enum(
        namesOf(FieldRole, 'FIELD_ROLE_'),
        `expected one of ${namesOf(FieldRole, 'FIELD_ROLE_').join(', ')}`,
      )
      .optional(),
    sensitivity: z
      .enum(
        namesOf(Sensitivity, 'SENSITIVITY_'),
        `expected one of ${namesOf(Sensitivity, 'SENSITIVITY_').join(', ')}`,
      )
      .optional(),
  })
  .transform(({ role, sensitivity }) =>
    withoutAbsent({
      role: role === undefined ? role : fieldRoleFromJSON(`FIELD_ROLE_${role}`),
      sensitivity:
        sensitivity === undefined ? sensitivity : sensitivityFromJSON(`SENSITIVITY_${sensitivity}`),
    }),
  );

const overlaySchema = z.strictObject({
  partial: z.boolean().default(false),
  contractVersion: z
    .string('expected a version such as 1.4.0')
    .regex(CONTRACT_VERSION_PATTERN, 'expected a version such as 1.4.0')
    .optional(),
  methods: z
    .record(z.string().regex(METHOD_PATTERN, 'expected `pkg.Service/Method`'), methodSchema)
    .default({})
    .superRefine((methods, context) => {
      for (const name of Object.keys(methods)) {
        if (name.startsWith('/') && Object.hasOwn(methods, name.slice(1))) {
          context.addIssue({
            code: 'custom',
            path: [name],
            input: name,
            message: 'expected each method once',
          });
        }
      }
    }),
  fields: z.record(z.string().regex(FIELD_PATTERN, 'expected `pkg.Message.field`'), fieldSchema).default({}),
});

/**
 * Reads an overlay file. Problems are sentences that begin with `file:line:column:`, all of them at once.
 *
 * ```yaml
 * partial: false            # default
 * contractVersion: 1.4.0    # default: what the protos state
 * methods:
 *   pkg.Service/Method: { permission: area.verb, costUnit: requests, deadlineDefault: 5s, deadlineMax: 30s }
 * fields:
 *   pkg.Message.field: { role: MODEL, sensitivity: METADATA }
 * ```
 */
export function parseOverlay(text: string, fileName: string): { overlay: Overlay } | { problems: string[] } {
  const read = readDocument(overlaySchema, text, fileName);
  if ('problems' in read) return { problems: read.problems.map(formatProblem) };
  const { methods, fields, ...rest } = read.value;
  const paths = Object.entries(methods).map(
    ([name, method]) => [`/${name.replace(/^\//, '')}`, method] as const,
  );
  return { overlay: { fileName, ...rest, methods: new Map(paths), fields: new Map(Object.entries(fields)) } };
}

function toMs(text: string): number {
  const [, amount, unit = ''] = DURATION_PATTERN.exec(text) ?? [];
  return Math.round(Number(amount) * (MS_PER_UNIT[unit] ?? Number.NaN));
}

/** The names of an enum without their prefix, the unspecified one left out. */
function namesOf(values: Readonly<Record<string, number>>, prefix: string): string[] {
  return Object.entries(values)
    .filter(([, number]) => number > 0)
    .map(([name]) => name.slice(prefix.length));
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function withoutAbsent<T extends object>(values: T): Present<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Present<T>;
}
