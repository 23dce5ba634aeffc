import type { Contract } from '@gatehouse/contracts';
import { z } from 'zod';
import {
  ALWAYS,
  aboutEntry,
  entryId,
  enumSchema,
  identitiesSchema,
  listOf,
  methodSchema,
  modelsSchema,
  NAMES_MAX,
  pathsOf,
  permissionSchema,
} from './schema-parts.ts';

export function ruleSchema(contract: Contract | undefined) {
  return z
    .strictObject({
      id: entryId,
      ...aboutEntry,
      effect: enumSchema('EFFECT_', ['ALLOW', 'DENY']),
      identities: identitiesSchema,
      methods: z.array(methodSchema(contract)).max(NAMES_MAX).optional(),
      permissions: z.array(permissionSchema(contract)).max(NAMES_MAX).optional(),
      models: modelsSchema.optional(),
      token: z
        .strictObject({
          issuer: z.string(),
          claims: z
            .array(
              z.strictObject({
                name: z.string().min(1, 'expected the name of a claim').max(256),
                values: z.array(z.string().max(2048)).min(1, 'expected at least one value').max(NAMES_MAX),
              }),
            )
            .min(1, 'expected at least one claim; without the key none is asked for')
            .max(64, 'expected at most 64 claims')
            .optional(),
        })
        .optional(),
      condition: z.string().min(1, 'expected a CEL expression').max(4096).optional(),
      shadow: z.boolean().optional(),
    })
    .superRefine((rule, context) => {
      if (listOf(rule.methods).length + listOf(rule.permissions).length === 0) {
        context.addIssue({ code: 'custom', message: 'expected methods or permissions', input: undefined });
      } else if (contract !== undefined) reportUselessModels(rule, contract, context);
    }, ALWAYS);
}

type RuleInput = z.infer<ReturnType<typeof ruleSchema>>;

function reportUselessModels(rule: RuleInput, contract: Contract, context: z.RefinementCtx): void {
  if (listOf(rule.models).length === 0) return;
  const paths = pathsOf({ methods: listOf(rule.methods), permissions: listOf(rule.permissions) }, contract);
  const isKnown = paths.some((path) => contract.methods.get(path)?.requestFields?.readsModel);
  if (isKnown || paths.length === 0) return;
  const message =
    'expected no models: no method of this rule has a model in its request, so the rule could never match';
  context.addIssue({ code: 'custom', path: ['models'], message, input: rule.models });
}
