import type { Contract } from '@gatehouse/contracts';
import { z } from 'zod';
import {
  ALWAYS,
  aboutEntry,
  entryId,
  enumSchema,
  identitiesSchema,
  methodSchema,
  modelsSchema,
  NAMES_MAX,
  permissionSchema,
} from './schema-parts.ts';

const PER_MAX = 4;
const RATE_MAX = 1_000_000;
const COUNT_MAX = 1_000_000;
/** Up to here numbers are exact, and the stores count in them. */
const TOKENS_MAX = 1e15;

const NUMBERS = ['requests', 'concurrentCalls', 'tokensPerMinute', 'tokensPerDay'] as const;

/** The calls that a limit or a protection concerns. */
export function callMatchSchema(contract: Contract | undefined) {
  return z.strictObject({
    identities: identitiesSchema.optional(),
    methods: z.array(methodSchema(contract)).min(1).max(NAMES_MAX).optional(),
    permissions: z.array(permissionSchema(contract)).min(1).max(NAMES_MAX).optional(),
    models: modelsSchema.optional(),
  });
}

export function limitSchema(contract: Contract | undefined) {
  return z
    .strictObject({
      id: entryId,
      ...aboutEntry,
      match: callMatchSchema(contract).optional(),
      per: z
        .array(
          z.string().regex(/^(identity|model|claim:.{1,256})$/, 'expected identity, model or claim:NAME'),
        )
        .max(PER_MAX, `expected at most ${PER_MAX} parts`)
        .refine((parts) => new Set(parts).size === parts.length, 'expected each part once')
        .optional(),
      requests: z
        .strictObject({
          perSecond: z.number().gt(0, 'expected more than 0').max(RATE_MAX, `expected at most ${RATE_MAX}`),
          burst: whole(1, COUNT_MAX).optional(),
        })
        .optional(),
      concurrentCalls: whole(1, COUNT_MAX).optional(),
      tokensPerMinute: whole(1, TOKENS_MAX).optional(),
      tokensPerDay: whole(1, TOKENS_MAX).optional(),
      whenShort: enumSchema('WHEN_SHORT_', ['REFUSE', 'SHRINK']).optional(),
      store: enumSchema('LIMIT_STORE_', ['MEMORY', 'SHARED']).optional(),
      onStoreFailure: enumSchema('STORE_FAILURE_', ['REFUSE', 'LOCAL']).optional(),
    })
    .superRefine((limit, context) => {
      if (NUMBERS.every((key) => limit[key] === undefined)) {
        const message = `expected at least one of ${NUMBERS.join(', ')}`;
        context.addIssue({ code: 'custom', message, input: undefined });
      }
    }, ALWAYS);
}

function whole(min: number, max: number) {
  const form = `expected a whole number from ${min} to ${max}`;
  return z.number(form).multipleOf(1, form).min(min, form).max(max, form);
}
