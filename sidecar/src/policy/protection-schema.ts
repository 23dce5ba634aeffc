import type { Contract } from '@gatehouse/contracts';
import { z } from 'zod';
import { callMatchSchema } from './limit-schema.ts';
import { aboutEntry, entryId, enumSchema, NAMES_MAX } from './schema-parts.ts';

const WORDS_MAX = 10_000;
const PATTERN_CHARACTERS_MAX = 1024;
const MATCH_CHARACTERS_MAX = 512;

const detectorName = z
  .string()
  .regex(/^[A-Z][A-Z0-9_]{0,62}$/, 'expected upper case letters, digits and underscores');

export function protectionSchema(contract: Contract | undefined) {
  return z.strictObject({
    id: entryId,
    ...aboutEntry,
    match: callMatchSchema(contract).optional(),
    directions: z
      .array(enumSchema('DIRECTION_', ['REQUEST', 'RESPONSE']))
      .min(1, 'expected at least one direction; without the key both are looked at')
      .optional(),
    sensitivities: z
      .array(enumSchema('SENSITIVITY_', ['METADATA', 'PROMPT', 'COMPLETION', 'EMBEDDING_INPUT']))
      .min(1, 'expected at least one sensitivity')
      .optional(),
    detectors: z.array(detectorName).min(1, 'expected at least one detector').max(NAMES_MAX),
    action: enumSchema('PROTECTION_ACTION_', [
      'REDACT',
      'REFUSE',
      'PSEUDONYMISE',
      'PSEUDONYMISE_REVERSIBLY',
      'RECORD',
    ]),
    key: z.string().min(1, 'expected the name of a key').max(256).optional(),
  });
}

export function customDetectorSchema() {
  return z
    .strictObject({
      name: detectorName,
      pattern: z
        .string()
        .min(1, 'expected a regular expression')
        .max(PATTERN_CHARACTERS_MAX, `expected at most ${PATTERN_CHARACTERS_MAX} characters`)
        .optional(),
      dictionary: z
        .strictObject({
          words: z
            .array(z.string().min(1, 'expected a word').max(256, 'expected at most 256 characters'))
            .min(1, 'expected at least one word')
            .max(WORDS_MAX, `expected at most ${WORDS_MAX} words`),
        })
        .optional(),
      charactersMax: z
        .number()
        .multipleOf(1, 'expected a whole number')
        .min(1, 'expected at least 1')
        .max(MATCH_CHARACTERS_MAX, `expected at most ${MATCH_CHARACTERS_MAX}`)
        .optional(),
    })
    .refine(
      ({ pattern, dictionary }) => (pattern === undefined) !== (dictionary === undefined),
      'expected one of pattern and dictionary',
    );
}
